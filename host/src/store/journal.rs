//! The journal: the durable record of every release, switch and refusal, and of where the host stands.
//!
//! One thread owns the SQLite file and writes in the order it is asked; nobody else waits for the disk unless they want
//! to. Each record is one transaction with full sync: after `kill -9` a record is whole or not there.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::digest::Digest;
use crate::spec::Spec;
use crate::switch::standing::{Known, Standing};

/// Entries kept; older ones are dropped, some at a time.
const ENTRIES_MAX: u64 = 10_000;

/// Releases kept beyond those on the trail.
const RELEASES_MAX: u64 = 200;

/// Records that could not be written wait for the disk to come back, up to this many.
const PENDING_MAX: usize = 10_000;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS releases (number INTEGER PRIMARY KEY, digest TEXT NOT NULL, spec TEXT NOT NULL, at TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS entries (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, kind TEXT NOT NULL, door TEXT NOT NULL, who TEXT NOT NULL,
        why TEXT NOT NULL, from_release INTEGER, to_release INTEGER, receipt TEXT);
    CREATE TABLE IF NOT EXISTS trail (id INTEGER PRIMARY KEY CHECK (id = 1), trail TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS seen (door TEXT NOT NULL, name TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (door, name));
";

/// Layout of the tables; a file of a newer layout is left alone. A process that takes over opens the file while the running
/// one may yet go on with it: what a later layout changes must not be in the way of the one before.
const SCHEMA_VERSION: u32 = 1;

/// Why the journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// SQLite says no; full disks end up here.
    #[error("journal: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// What is stored is not what we store.
    #[error("journal: {0} is not readable: {1}")]
    Content(&'static str, #[source] serde_json::Error),
    /// Made by a later version.
    #[error("journal {0} was written by a newer switchback (layout {1}, this one reads {SCHEMA_VERSION})")]
    Newer(PathBuf, u32),
    /// The journal's thread is gone.
    #[error("journal: closed")]
    Closed,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A release was made current.
    Activate,
    /// The release before was made current again.
    Back,
    /// The release after was made current again.
    Forward,
    /// A release is tried out beside the current one, or has another share of it.
    Canary,
    /// A change was refused; what serves did not change.
    Refuse,
    /// A release became a point of no return.
    Fence,
    /// It is none any more.
    Unfence,
    /// Somebody confirmed a release.
    Confirm,
    /// A digest was let out of quarantine.
    Unquarantine,
    /// A policy failed on a request; an earlier rung of the ladder answered.
    Fall,
}

/// Through which door a change came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Door {
    /// The configuration file.
    File,
    /// The policy folder.
    Folder,
    /// The control API.
    Api,
    /// The host itself: the ladder, the automatic back.
    Host,
}

/// One line of the history.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Rises with every entry; zero before it is written.
    pub id: u64,
    /// Wall time, RFC 3339.
    pub at: String,
    /// What happened.
    pub kind: Kind,
    /// Where it came from.
    pub door: Door,
    /// Who asked for it.
    pub who: String,
    /// Why, or what was wrong.
    pub why: String,
    /// The release that was current.
    pub from: Option<u64>,
    /// The release that became current.
    pub to: Option<u64>,
}

/// What a door last read under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The door.
    pub door: Door,
    /// A policy's name, or the file's.
    pub name: String,
    /// What was read; compared as a whole.
    pub content: String,
}

/// One transaction.
#[derive(Clone, Default)]
pub struct Record {
    /// A line of history.
    pub entry: Option<Entry>,
    /// A release that is new.
    pub release: Option<(u64, Spec)>,
    /// Where the host stands after it.
    pub standing: Option<Standing>,
    /// What a door has read.
    pub seen: Vec<Seen>,
}

/// What was found at start.
#[derive(Default)]
pub struct Recovered {
    /// Where the host stood.
    pub standing: Option<Standing>,
    /// What the releases on its trail are.
    pub known: BTreeMap<u64, Known>,
    /// The highest release number ever given.
    pub last_number: u64,
    /// What the doors had read.
    pub seen: Vec<Seen>,
}

type Job = Box<dyn FnOnce(&mut Writer) + Send>;

/// The journal, from outside its thread.
#[derive(Clone)]
pub struct Journal {
    jobs: mpsc::Sender<Job>,
}

impl Journal {
    /// Opens the file, or makes it, and starts the journal's thread.
    ///
    /// # Errors
    /// When it is not a journal we can use.
    pub fn open(path: &Path) -> Result<(Self, Recovered), JournalError> {
        let connection = Connection::open(path)?;
        // It holds what policies are told. Best effort: the folder is closed to others anyway.
        let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600));
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version > SCHEMA_VERSION {
            return Err(JournalError::Newer(path.to_owned(), version));
        }
        connection.execute_batch(SCHEMA)?;
        connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        let recovered = recover(&connection)?;

        let (jobs, received) = mpsc::channel::<Job>();
        let mut writer = Writer { connection, pending: VecDeque::new() };
        thread::Builder::new()
            .name("journal".into())
            .spawn(move || received.into_iter().for_each(|job| job(&mut writer)))
            .expect("a thread can be started while the host starts");
        Ok((Self { jobs }, recovered))
    }

    /// Writes a record; the answer comes when it is on the disk. The order of calls is the order of writes.
    ///
    /// A record that cannot be written is forgotten: its caller does not act on it.
    pub fn write(&self, record: Record) -> oneshot::Receiver<Result<u64, JournalError>> {
        self.run(move |writer| writer.catch_up().and_then(|()| writer.write(&record)))
    }

    /// Writes a record of something that has happened already. One that cannot be written now is kept, and written
    /// before anything else once the disk is back.
    pub fn write_after(&self, record: Record) -> oneshot::Receiver<Result<u64, JournalError>> {
        self.run(move |writer| {
            let written = writer.catch_up().and_then(|()| writer.write(&record));
            if written.is_err() {
                // The newest say where the host stands.
                if writer.pending.len() == PENDING_MAX {
                    writer.pending.pop_front();
                    tracing::warn!("the journal cannot be written, and the oldest of what waits for it is dropped");
                }
                writer.pending.push_back(record);
            }
            written
        })
    }

    /// Writes what could not be written before; answers how many records still wait.
    pub async fn catch_up(&self) -> usize {
        self.run(|writer| writer.catch_up().map_or_else(|_| writer.pending.len(), |()| 0)).await.unwrap_or(0)
    }

    /// Adds a switch's receipt to its entry.
    pub fn attach(&self, entry: u64, receipt: String) {
        drop(self.run(move |writer| {
            let update = "UPDATE entries SET receipt = ?2 WHERE id = ?1";
            if let Err(error) = writer.connection.execute(update, params![entry, receipt]) {
                tracing::warn!(entry, %error, "a receipt was not kept");
            }
        }));
    }

    /// The newest entries, newest first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn history(&self, limit: usize) -> Result<Vec<Entry>, JournalError> {
        self.run(move |writer| writer.history(limit)).await.unwrap_or(Err(JournalError::Closed))
    }

    /// A release's content, where it is kept.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn release(&self, number: u64) -> Result<Option<Spec>, JournalError> {
        self.run(move |writer| writer.release(number)).await.unwrap_or(Err(JournalError::Closed))
    }

    /// Drops what is beyond the limits; answers the builds that the kept releases name.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub async fn prune(&self, standing: Standing) -> Result<Vec<Digest>, JournalError> {
        self.run(move |writer| writer.prune(&standing)).await.unwrap_or(Err(JournalError::Closed))
    }

    fn run<T: Send + 'static>(&self, job: impl FnOnce(&mut Writer) -> T + Send + 'static) -> oneshot::Receiver<T> {
        let (answer, receiver) = oneshot::channel();
        let _ = self.jobs.send(Box::new(move |writer| {
            let _ = answer.send(job(writer));
        }));
        receiver
    }
}

struct Writer {
    connection: Connection,
    /// Records of what has happened, for a disk that was not there.
    pending: VecDeque<Record>,
}

impl Writer {
    fn catch_up(&mut self) -> Result<(), JournalError> {
        while let Some(record) = self.pending.front().cloned() {
            self.write(&record)?;
            self.pending.pop_front();
        }
        Ok(())
    }

    fn write(&mut self, record: &Record) -> Result<u64, JournalError> {
        let transaction = self.connection.transaction()?;
        if let Some((number, spec)) = &record.release {
            let content = to_json(spec);
            transaction.execute(
                "INSERT OR REPLACE INTO releases (number, digest, spec, at) VALUES (?1, ?2, ?3, ?4)",
                params![number, spec.digest().to_string(), content, crate::time::rfc3339_now()],
            )?;
        }
        let mut id = 0;
        if let Some(Entry { at, kind, door, who, why, from, to, .. }) = &record.entry {
            transaction.execute(
                "INSERT INTO entries (at, kind, door, who, why, from_release, to_release) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![at, word(kind), word(door), who, why, from, to],
            )?;
            id = u64::try_from(transaction.last_insert_rowid()).unwrap_or(0);
        }
        if let Some(standing) = &record.standing {
            transaction.execute("INSERT OR REPLACE INTO trail (id, trail) VALUES (1, ?1)", [to_json(standing)])?;
        }
        for Seen { door, name, content } in &record.seen {
            transaction.execute(
                "INSERT OR REPLACE INTO seen (door, name, content) VALUES (?1, ?2, ?3)",
                params![word(door), name, content],
            )?;
        }
        transaction.commit()?;
        Ok(id)
    }

    fn history(&self, limit: usize) -> Result<Vec<Entry>, JournalError> {
        let mut select = self.connection.prepare_cached(
            "SELECT id, at, kind, door, who, why, from_release, to_release FROM entries ORDER BY id DESC LIMIT ?1",
        )?;
        let rows = select.query_map([limit], |row| {
            let unknown = |column, text: &str| {
                rusqlite::Error::FromSqlConversionFailure(
                    column,
                    rusqlite::types::Type::Text,
                    format!("unknown word `{text}`").into(),
                )
            };
            let (kind, door): (String, String) = (row.get(2)?, row.get(3)?);
            Ok(Entry {
                id: row.get(0)?,
                at: row.get(1)?,
                kind: from_word(&kind).ok_or_else(|| unknown(2, &kind))?,
                door: from_word(&door).ok_or_else(|| unknown(3, &door))?,
                who: row.get(4)?,
                why: row.get(5)?,
                from: row.get(6)?,
                to: row.get(7)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn release(&self, number: u64) -> Result<Option<Spec>, JournalError> {
        let select = "SELECT spec FROM releases WHERE number = ?1";
        let text: Option<String> = self.connection.query_row(select, [number], |row| row.get(0)).optional()?;
        text.map(|text| from_json("a release", &text)).transpose()
    }

    fn prune(&self, standing: &Standing) -> Result<Vec<Digest>, JournalError> {
        self.connection.execute("DELETE FROM entries WHERE id <= (SELECT MAX(id) FROM entries) - ?1", [ENTRIES_MAX])?;
        let steps = standing.releases().map(|number| number.to_string()).collect::<Vec<_>>().join(",");
        // Numbers, joined by us: there is nothing to escape.
        self.connection.execute(
            &format!("DELETE FROM releases WHERE number <= (SELECT MAX(number) FROM releases) - ?1 AND number NOT IN ({steps})"),
            [RELEASES_MAX],
        )?;
        let mut select = self.connection.prepare_cached("SELECT spec FROM releases")?;
        let mut digests = Vec::new();
        for text in select.query_map([], |row| row.get::<_, String>(0))? {
            let spec: Spec = from_json("a release", &text?)?;
            digests.extend(spec.policies.values().filter_map(|policy| policy.digest));
        }
        Ok(digests)
    }
}

fn recover(connection: &Connection) -> Result<Recovered, JournalError> {
    let standing: Option<String> =
        connection.query_row("SELECT trail FROM trail WHERE id = 1", [], |row| row.get(0)).optional()?;
    let standing = standing.map(|text| from_json("where the host stands", &text)).transpose()?;
    let last_number = connection.query_row("SELECT COALESCE(MAX(number), 0) FROM releases", [], |row| row.get(0))?;
    let mut select = connection.prepare("SELECT door, name, content FROM seen")?;
    let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?)))?;
    let mut seen = Vec::new();
    for row in rows {
        let (door, name, content) = row?;
        // A door of another version is none of ours.
        seen.extend(from_word(&door).map(|door| Seen { door, name, content }));
    }
    let known = standing.as_ref().map_or_else(|| Ok(BTreeMap::new()), |standing| known(connection, standing))?;
    Ok(Recovered { standing, known, last_number, seen })
}

/// What the releases of the trail are. Their contents may be long, and little of them is needed.
fn known(connection: &Connection, standing: &Standing) -> Result<BTreeMap<u64, Known>, JournalError> {
    #[derive(Deserialize)]
    struct Policies {
        policies: BTreeMap<String, Policy>,
    }
    #[derive(Deserialize)]
    struct Policy {
        digest: Option<Digest>,
    }
    let mut select = connection.prepare("SELECT digest, spec FROM releases WHERE number = ?1")?;
    let mut known = BTreeMap::new();
    for number in standing.trail.steps() {
        let row =
            select.query_row([number], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).optional()?;
        let Some((digest, text)) = row else { continue };
        let Ok(digest) = digest.parse() else { continue };
        let Policies { policies } = from_json("a release", &text)?;
        let plain = |name: String| crate::spec::one_vip::plain(&name).to_owned();
        let its = policies.into_iter().filter_map(|(name, policy)| Some((plain(name), policy.digest?)));
        known.insert(*number, Known { digest, builds: its.collect() });
    }
    Ok(known)
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what is journalled is plain data")
}

fn from_json<T: for<'a> Deserialize<'a>>(what: &'static str, text: &str) -> Result<T, JournalError> {
    serde_json::from_str(text).map_err(|error| JournalError::Content(what, error))
}

/// How a unit variant is written: the same word as in the API.
pub fn word(value: &impl Serialize) -> String {
    to_json(value).trim_matches('"').to_owned()
}

fn from_word<T: for<'a> Deserialize<'a>>(word: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switch::trail::Trail;

    fn entry(why: &str) -> Entry {
        let (who, why, at) = ("test".into(), why.into(), crate::time::rfc3339_now());
        Entry { id: 0, at, kind: Kind::Refuse, door: Door::Api, who, why, from: Some(1), to: None }
    }

    #[tokio::test]
    async fn what_is_written_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        let seen = Seen { door: Door::Folder, name: "shop".into(), content: "abc".into() };
        {
            let (journal, recovered) = Journal::open(&path).unwrap();
            assert!(recovered.standing.is_none());
            let record = Record {
                entry: Some(entry("first")),
                release: Some((7, Spec::default())),
                standing: Some(Standing::at(Trail::starting_at(7))),
                seen: vec![seen.clone()],
            };
            assert_eq!(journal.write(record).await.unwrap().unwrap(), 1);
        }
        let (journal, recovered) = Journal::open(&path).unwrap();
        assert_eq!((recovered.standing.unwrap().trail.current(), recovered.last_number), (7, 7));
        assert_eq!(recovered.seen, [seen]);
        let history = journal.history(10).await.unwrap();
        assert_eq!((history.len(), &*history[0].why, history[0].kind), (1, "first", Kind::Refuse));
        assert_eq!(journal.release(7).await.unwrap(), Some(Spec::default()));
        assert_eq!(journal.release(8).await.unwrap(), None);
    }

    #[tokio::test]
    async fn releases_on_the_trail_are_never_pruned() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(&folder.path().join("journal.db")).unwrap();
        for number in 1..=RELEASES_MAX + 2 {
            drop(journal.write(Record { release: Some((number, Spec::default())), ..Record::default() }));
        }
        journal.prune(Standing::at(Trail::starting_at(1))).await.unwrap();
        assert!(journal.release(1).await.unwrap().is_some());
        assert!(journal.release(2).await.unwrap().is_none());
        assert!(journal.release(3).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_journal_of_a_newer_version_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(Journal::open(&path), Err(JournalError::Newer(_, 99))));
    }
}
