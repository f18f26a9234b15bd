mod bounds;

use rusqlite::Connection;

use super::chain::What;
use super::*;
use crate::switch::trail::Trail;

fn entry(why: &str) -> Entry {
    let (who, why, at) = ("test".into(), why.into(), crate::time::rfc3339_now());
    Entry {
        id: 0,
        at,
        kind: Kind::Refuse,
        door: Door::Api,
        who,
        why,
        from: Some(1),
        to: None,
        from_digest: None,
        to_digest: None,
        call: None,
    }
}

fn noted(why: &str) -> Record {
    Record { entry: Some(entry(why)), ..Record::default() }
}

/// A release becomes current.
fn switched(number: u64) -> Record {
    let entry = Entry { kind: Kind::Activate, from: Some(number - 1), to: Some(number), ..entry("switched") };
    let standing = Some(Standing::at(Trail::starting_at(number)));
    Record { entry: Some(entry), release: Some((number, Spec::default())), standing, ..Record::default() }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("journal.db")
    }

    fn open(&self) -> (Journal, Recovered) {
        Journal::open(&self.path()).unwrap()
    }

    fn bounded(&self, bounds: Bounds) -> Journal {
        Journal::open_as(&self.path(), Opening { bounds, shared: false }).unwrap().0
    }

    /// Somebody at the file.
    fn edit(&self, statements: &str) {
        Connection::open(self.path()).unwrap().execute_batch(statements).unwrap();
    }

    /// Names of files that were set aside.
    fn aside(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.0.path()).unwrap().map(|file| file.unwrap().file_name());
        names
            .map(|name| name.into_string().unwrap())
            .filter(|name| name.contains(".damaged-") && name.ends_with('Z'))
            .collect()
    }

    /// Five switches with receipts, and the head then.
    async fn with_switches(&self) -> Digest {
        let (journal, _) = self.open();
        for number in 1..=5 {
            let id = journal.write(switched(number)).await.unwrap().unwrap();
            journal.attach(id, format!(r#"{{"to":{number},"id":{id}}}"#));
        }
        assert_eq!(journal.catch_up().await, 0);
        journal.stand().head
    }

    async fn verify(&self, head: Option<Digest>) -> chain::Verified {
        self.open().0.verify(head).await.unwrap()
    }

    async fn broken(&self, statements: &str) -> (What, String) {
        self.edit(statements);
        let broken = self.verify(None).await.broken.expect("it is broken");
        (broken.what, broken.message)
    }
}

/// Until the journal's thread has nothing left to tidy.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(tokio::time::Instant::now() < end, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_is_written_is_there_after_a_restart() {
    let folder = Folder::new();
    let seen = Seen { door: Door::Folder, name: "shop".into(), content: "abc".into() };
    {
        let (journal, recovered) = folder.open();
        assert!(recovered.standing.is_none());
        let record = Record {
            release: Some((7, Spec::default())),
            standing: Some(Standing::at(Trail::starting_at(7))),
            seen: vec![seen.clone()],
            ..noted("first")
        };
        let written = journal.write(record);
        assert_eq!((written.id, written.await.unwrap().unwrap()), (1, 1));
    }
    let (journal, recovered) = folder.open();
    assert_eq!((recovered.standing.unwrap().trail.current(), recovered.last_number), (7, 7));
    assert_eq!(recovered.seen, [seen]);
    let history = journal.history(10).await;
    assert_eq!((history.len(), &*history[0].why, history[0].kind), (1, "first", Kind::Refuse));
    assert_eq!(journal.release(7).await.unwrap(), Some(Spec::default()));
    assert_eq!(journal.release(8).await.unwrap(), None);
    assert_eq!(journal.write_after(noted("second")).id, 2);
}

#[tokio::test]
async fn a_journal_of_a_newer_version_is_left_alone() {
    let folder = Folder::new();
    folder.edit("PRAGMA user_version = 99");
    assert!(matches!(Journal::open(&folder.path()), Err(JournalError::Newer(_, 99))));
    assert!(folder.aside().is_empty());
}

#[tokio::test]
async fn the_chain_holds_over_restarts_and_ends_at_the_head() {
    let folder = Folder::new();
    let head = folder.with_switches().await;
    let verified = folder.verify(Some(head)).await;
    assert!(verified.whole, "{verified:?}");
    assert_eq!((verified.links, verified.checked, verified.releases, verified.noted), (10, 10, 5, Some(10)));
    assert_eq!(verified.head, head);
}

#[tokio::test]
async fn the_export_is_enough_to_hash_the_chain_again() {
    let folder = Folder::new();
    let head = folder.with_switches().await;
    let (journal, _) = folder.open();
    let exported = journal.export(0, 100).await.unwrap();
    let mut links = BTreeMap::new();
    for line in exported.lines.lines() {
        // As bytes, between the names: this is all that a shell script needs.
        let (entry, rest) = line.strip_prefix(r#"{"entry":"#).unwrap().split_once(r#","hash":""#).unwrap();
        let (hash, rest) = rest.split_once(r#"","receipt":"#).unwrap();
        let (receipt, rest) = rest.split_once(r#","receipt_hash":""#).unwrap();
        for (link, hash) in [(entry, hash), (receipt, rest.strip_suffix("\"}").unwrap())] {
            let number = serde_json::from_str::<serde_json::Value>(link).unwrap()["link"].as_u64().unwrap();
            links.insert(number, (link.to_owned(), hash.to_owned()));
        }
    }
    let last = links.values().fold("0".repeat(64), |before, (link, hash)| {
        assert_eq!(Digest::of(format!("{before}\n{link}").as_bytes()).to_string(), *hash);
        hash.clone()
    });
    assert_eq!((links.len(), last), (10, head.to_string()));
    assert_eq!((exported.last, journal.export(5, 100).await.unwrap().last), (Some(5), None));
}

#[tokio::test]
async fn whatever_is_done_to_the_file_is_named() {
    let check = async |statements: &str, what: What, message: &str| {
        let folder = Folder::new();
        folder.with_switches().await;
        let (is, says) = folder.broken(statements).await;
        assert!(is == what && says.contains(message), "{statements}: {is:?}: {says}");
    };
    check("UPDATE entries SET who = 'eve' WHERE id = 3", What::Changed, "the entry 3 (link 5) was changed").await;
    check("UPDATE entries SET receipt = '{}' WHERE id = 3", What::Changed, "the receipt 3 (link 6) was changed").await;
    check("UPDATE entries SET to_digest = from_digest WHERE id = 1", What::Changed, "the entry 1 (link 1)").await;
    check("DELETE FROM entries WHERE id = 4", What::Missing, "the entry 4 (link 7) is missing").await;
    check("DELETE FROM links WHERE link = 7", What::Missing, "link 7 is missing: link 8 comes next").await;
    for swap in [
        "UPDATE links SET entry = 9 - entry WHERE link IN (7, 9)",
        "UPDATE links SET link = -link WHERE link IN (7, 9); UPDATE links SET link = 16 + link WHERE link < 0",
    ] {
        check(swap, What::Reordered, "link 7 is out of order: what stands at link 9 was chained here").await;
    }
    check(
        "DELETE FROM entries WHERE id > 3; DELETE FROM links WHERE link > 6",
        What::CutOff,
        "cut off at the end: the last link is 6, and there was a link 10",
    )
    .await;
    check("UPDATE releases SET spec = '{}' WHERE number = 2", What::Release, "the content of r2").await;
    check(
        "UPDATE releases SET digest = '00' WHERE number = 2; UPDATE releases SET spec = '' WHERE number = 2",
        What::Release,
        "r2",
    )
    .await;
}

#[tokio::test]
async fn a_chain_that_was_written_anew_does_not_lead_to_a_head_that_was_noted() {
    let folder = Folder::new();
    let head = folder.with_switches().await;
    std::fs::remove_file(folder.path()).unwrap();
    std::fs::remove_file(folder.0.path().join("standing.json")).unwrap();
    let forged = folder.with_switches().await;
    assert!(forged != head && folder.verify(None).await.whole);
    let broken = folder.verify(Some(head)).await.broken.unwrap();
    assert!(broken.what == What::CutOff && broken.message.contains("written anew"), "{broken:?}");
}

#[tokio::test]
async fn what_a_version_without_a_chain_writes_is_chained_later() {
    let folder = Folder::new();
    folder.with_switches().await;
    let insert =
        "INSERT INTO entries (at, kind, door, who, why, receipt) VALUES ('now', 'back', 'api', 'ann', 'old', '{}')";
    // While it runs beside us, and once it has ended.
    let (journal, _) = folder.open();
    folder.edit(insert);
    assert_eq!(journal.verify(None).await.unwrap().broken.unwrap().what, What::NotChained);
    assert_eq!(journal.write(noted("ours")).await.unwrap().unwrap(), 7, "the id was taken");
    drop(journal);
    let verified = folder.verify(None).await;
    assert!(verified.whole && verified.late == 2, "{verified:?}");
}

#[tokio::test]
async fn a_file_of_the_first_layout_is_taken_up_whole() {
    let folder = Folder::new();
    folder.edit(
        "PRAGMA journal_mode = WAL; PRAGMA user_version = 1;
         CREATE TABLE releases (number INTEGER PRIMARY KEY, digest TEXT NOT NULL, spec TEXT NOT NULL, at TEXT NOT NULL);
         CREATE TABLE entries (
             id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, kind TEXT NOT NULL, door TEXT NOT NULL, who TEXT NOT NULL,
             why TEXT NOT NULL, from_release INTEGER, to_release INTEGER, receipt TEXT);
         CREATE TABLE trail (id INTEGER PRIMARY KEY CHECK (id = 1), trail TEXT NOT NULL);
         CREATE TABLE seen (door TEXT NOT NULL, name TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (door, name));
         INSERT INTO trail VALUES (1, '{\"steps\":[1,2],\"at\":1}');
         INSERT INTO entries (at, kind, door, who, why, from_release, to_release, receipt) VALUES
             ('now', 'activate', 'file', 'ann', 'first', 0, 1, '{\"b\":1,\"a\":2}'), ('now', 'activate', 'api', 'ann', '', 1, 2, NULL)",
    );
    // Also while a process of that version still writes it.
    let (beside, _) = Journal::open_as(&folder.path(), Opening { shared: true, ..Opening::default() }).unwrap();
    folder.edit("INSERT INTO entries (at, kind, door, who, why) VALUES ('now', 'fall', 'host', 'switchback', 'late')");
    assert_eq!(beside.stand().links, 0, "nothing is written before the place is ours");
    beside.take_over().await.unwrap();
    assert_eq!(beside.write_after(noted("ours")).id, 4);
    let verified = beside.verify(None).await.unwrap();
    assert!(verified.whole && verified.late == 4 && verified.links == 5, "{verified:?}");
    drop(beside);
    let (journal, recovered) = folder.open();
    assert_eq!(recovered.standing.unwrap().trail.current(), 2);
    assert!(journal.entry(1).await.unwrap().unwrap().receipt.is_some());
}

/// No page more: a disk that is full.
fn fill(journal: &Journal) -> impl Future {
    journal.run(|writer| writer.set_pages_max(1))
}

#[tokio::test]
async fn a_full_disk_is_waited_for_and_nothing_is_lost() {
    let folder = Folder::new();
    let (journal, _) = folder.open();
    journal.write(switched(1)).await.unwrap().unwrap();
    fill(&journal).await;
    // Larger than what is free in the pages that there are.
    let long = "long ".repeat(10_000);
    let refused = journal.write(noted(&long));
    let refused = (refused.id, refused.await.unwrap().unwrap_err().to_string());
    assert!(refused.0 == 2 && refused.1.contains("full"), "{refused:?}");
    let after = journal.write_after(noted(&long));
    assert_eq!(after.id, 3, "the id is there at once");
    assert!(after.await.unwrap().is_err());
    journal.attach(3, r#"{"durable":false}"#.into());
    let kept = journal.entry(3).await.unwrap().unwrap();
    assert!(!kept.durable && kept.receipt.is_some());
    assert_eq!(journal.history(1).await[0].id, 3);
    assert!(journal.catch_up().await == 2 && journal.stand().trouble.unwrap().contains("full"));

    journal.run(|writer| writer.set_pages_max(1_000_000)).await.unwrap();
    assert_eq!(journal.catch_up().await, 0);
    assert!(journal.entry(3).await.unwrap().unwrap().durable);
    assert_eq!((journal.stand().trouble, journal.stand().waiting), (None, 0));
    drop(journal);
    let (journal, _) = folder.open();
    let ids: Vec<u64> = journal.history(10).await.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [3, 1], "what was forgotten leaves a gap");
    assert!(journal.verify(None).await.unwrap().whole);
}

/// What a journal recovers, whatever was done to its file.
async fn after(damage: impl FnOnce(&Path)) -> (Folder, Journal, Recovered) {
    let folder = Folder::new();
    folder.with_switches().await;
    // Its thread may still be at its last words.
    until("the journal is closed", || !folder.0.path().join("journal.db-wal").exists()).await;
    damage(&folder.path());
    let (journal, recovered) = folder.open();
    (folder, journal, recovered)
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_the_copy_goes_on() {
    let damages: [fn(&Path); 4] = [
        |path| std::fs::write(path, "this is no database, and never was one").unwrap(),
        |path| {
            let mut bytes = std::fs::read(path).unwrap();
            bytes[4096..].fill(0xa5);
            std::fs::write(path, bytes).unwrap();
        },
        |path| Connection::open(path).unwrap().execute_batch("UPDATE trail SET trail = 'nonsense'").unwrap(),
        |path| {
            std::fs::remove_file(path).unwrap();
            Connection::open(path).unwrap().execute_batch("CREATE TABLE entries (other TEXT)").unwrap();
        },
    ];
    for damage in damages {
        let (folder, journal, recovered) = after(damage).await;
        assert_eq!(recovered.standing.unwrap().trail.current(), 5);
        assert!(recovered.last_number > 5, "numbers go on rising");
        assert_eq!(folder.aside().len(), 1, "{:?}", folder.aside());
        assert_eq!(journal.release(5).await.unwrap(), Some(Spec::default()));
        let entry = &journal.history(1).await[0];
        assert!(entry.kind == Kind::Damage && entry.id > 5 && entry.why.contains(".damaged-"), "{entry:?}");
        assert!(journal.stand().damage.is_some());
        let verified = journal.verify(None).await.unwrap();
        assert!(verified.whole && verified.links == 11 && verified.dropped_up_to == 10, "{verified:?}");
        drop(journal);
        let (journal, again) = folder.open();
        assert!(again.last_number == recovered.last_number && journal.stand().damage.is_none());
    }
}

#[tokio::test]
async fn a_file_that_is_gone_is_made_again_from_the_copy() {
    let (folder, journal, recovered) = after(|path| std::fs::remove_file(path).unwrap()).await;
    assert_eq!(recovered.standing.unwrap().trail.current(), 5);
    assert!(folder.aside().is_empty() && journal.history(1).await[0].kind == Kind::Damage);
}

#[tokio::test]
async fn without_a_copy_a_damaged_file_begins_anew() {
    let (folder, _journal, recovered) = after(|path| {
        std::fs::write(path, "nonsense").unwrap();
        std::fs::remove_file(path.with_file_name("standing.json")).unwrap();
    })
    .await;
    assert!(recovered.standing.is_none() && folder.aside().len() == 1);
}

#[tokio::test]
async fn a_file_that_another_process_writes_is_not_set_aside() {
    let folder = Folder::new();
    folder.edit("CREATE TABLE entries (other TEXT)");
    let opening = Opening { shared: true, ..Opening::default() };
    assert!(Journal::open_as(&folder.path(), opening).is_err());
    assert!(folder.aside().is_empty());
}

#[tokio::test]
async fn damage_while_it_runs_is_mended_from_what_is_known() {
    let folder = Folder::new();
    folder.with_switches().await;
    let (journal, _) = folder.open();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    folder.edit("DROP TABLE links");
    let id = journal.write(switched(6)).await.unwrap().unwrap();
    assert!(id > 6 && !folder.aside().is_empty(), "{id}, {:?}", folder.aside());
    drop(journal);
    let (journal, recovered) = folder.open();
    assert_eq!(recovered.standing.unwrap().trail.current(), 6);
    assert!(journal.release(5).await.unwrap().is_some());
}

#[tokio::test]
async fn what_waits_is_written_once_and_in_order_where_damage_is_met() {
    let folder = Folder::new();
    folder.with_switches().await;
    let (journal, _) = folder.open();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    fill(&journal).await;
    for number in [6, 7, 8] {
        let mut record = switched(number);
        record.entry.as_mut().unwrap().why = format!("r{number} {}", "long ".repeat(10_000));
        assert!(journal.write_after(record).await.unwrap().is_err());
    }
    folder.edit("DROP TABLE links");
    journal.run(|writer| writer.set_pages_max(1_000_000)).await.unwrap();
    assert_eq!(journal.catch_up().await, 0);
    let why = |entry: Entry| entry.why.get(..2).unwrap_or_default().to_owned();
    let written: Vec<_> = journal.history(100).await.into_iter().filter(|entry| entry.why.ends_with("long ")).collect();
    assert_eq!(written.into_iter().map(why).collect::<Vec<_>>(), ["r8", "r7", "r6"]);
    drop(journal);
    assert_eq!(folder.open().1.standing.unwrap().trail.current(), 8);
}

#[tokio::test]
async fn a_repeated_call_is_known_after_a_restart() {
    let folder = Folder::new();
    let call = |key: &str| Call { key: key.into(), request: Digest::of(b"x") };
    {
        let (journal, _) = folder.open();
        let entry = Entry { call: Some(call("a")), kind: Kind::Activate, ..entry("") };
        journal.write(Record { entry: Some(entry), ..Record::default() }).await.unwrap().unwrap();
        let unchanged = Some((call("b"), "{}".to_owned()));
        journal.write(Record { unchanged, ..Record::default() }).await.unwrap().unwrap();
    }
    let (journal, _) = folder.open();
    assert_eq!(journal.call("a").unwrap().entry, Some(1));
    assert_eq!(journal.call("b").unwrap().receipt.as_deref(), Some("{}"));
    assert!(journal.call("c").is_none());
}
