use super::*;
use crate::spec::PolicySpec;

/// A release that names a build.
fn naming(number: u64, build: Digest) -> Record {
    let policy = PolicySpec { digest: Some(build), ..PolicySpec::default() };
    let spec = Spec { policies: [("shop".into(), policy)].into(), ..Spec::default() };
    Record { release: Some((number, spec)), ..Record::default() }
}

#[tokio::test]
async fn releases_on_the_trail_are_never_pruned() {
    let folder = Folder::new();
    let (journal, _) = folder.open();
    for number in 1..=Bounds::default().releases_max + 2 {
        drop(journal.write(Record { release: Some((number, Spec::default())), ..Record::default() }));
    }
    journal.prune(Standing::at(Trail::starting_at(1))).await.unwrap();
    assert!(journal.release(1).await.unwrap().is_some());
    assert!(journal.release(2).await.unwrap().is_none());
    assert!(journal.release(3).await.unwrap().is_some());
}

#[tokio::test]
async fn builds_are_needed_as_long_as_a_kept_release_names_them() {
    let folder = Folder::new();
    let journal = folder.bounded(Bounds { releases_max: 2, ..Bounds::default() });
    let build = |number: u64| Digest::of(&number.to_le_bytes());
    for (number, needed) in [(1, vec![1]), (2, vec![1, 2]), (3, vec![2, 3]), (4, vec![3, 4]), (3, vec![3, 4])] {
        drop(journal.write(naming(number, build(number))));
        let mut found = journal.prune(Standing::at(Trail::starting_at(number))).await.unwrap();
        found.sort();
        let mut expected: Vec<_> = needed.into_iter().map(build).collect();
        expected.sort();
        assert_eq!(found, expected, "{number}");
    }
}

#[tokio::test]
async fn builds_are_needed_whatever_was_made_of_their_releases_digests() {
    let folder = Folder::new();
    let (journal, _) = folder.open();
    let mut builds = [1, 2].map(|number: u64| Digest::of(&number.to_le_bytes()));
    for (number, build) in (1..).zip(builds) {
        journal.write(naming(number, build)).await.unwrap().unwrap();
    }
    folder.edit("UPDATE releases SET digest = '00'");
    let mut found = journal.prune(Standing::at(Trail::starting_at(2))).await.unwrap();
    found.sort();
    builds.sort();
    assert_eq!(found, builds);
}

#[tokio::test]
async fn the_oldest_go_first_and_what_is_pinned_stays() {
    let folder = Folder::new();
    let journal = folder.bounded(Bounds { entries_max: 20, ..Bounds::default() });
    let head_of_pinned = {
        for number in 1..=10 {
            let id = journal.write(switched(number)).await.unwrap().unwrap();
            journal.attach(id, r#"{"how":"well"}"#.into());
        }
        journal.pin(4, true).await.unwrap();
        journal.stand().head
    };
    for _ in 0..50 {
        drop(journal.write_after(noted("more")));
    }
    until("the journal is trimmed", || journal.stand().waiting == 0 && journal.stand().entries <= 21).await;
    let kept = journal.entry(4).await.unwrap().unwrap();
    assert!(kept.receipt.is_some() && kept.entry.to == Some(4));
    let verified = journal.verify(None).await.unwrap();
    assert!(verified.whole && verified.dropped_up_to > 20 && verified.noted.is_none(), "{verified:?}");
    // A link that was dropped can no longer be shown.
    assert!(!journal.verify(Some(head_of_pinned)).await.unwrap().whole);
    folder.edit("UPDATE entries SET why = 'other' WHERE id = 4");
    assert_eq!(journal.verify(None).await.unwrap().broken.unwrap().entry, Some(4));
    assert!(matches!(journal.pin(5, true).await, Err(JournalError::NoSuchEntry(5))));
}

#[tokio::test]
async fn bytes_are_bounded_and_given_back_to_the_disk() {
    let folder = Folder::new();
    let bounds = Bounds { bytes_max: 400_000, ..Bounds::default() };
    let journal = folder.bounded(bounds);
    journal.write(switched(1)).await.unwrap().unwrap();
    for _ in 0..1_000 {
        drop(journal.write_after(noted(&"long ".repeat(1_000))));
    }
    until("the journal is small", || {
        let stand = journal.stand();
        stand.waiting == 0 && stand.bytes <= bounds.bytes_max
    })
    .await;
    let size = || std::fs::metadata(folder.path()).unwrap().len();
    until("the file is small", || {
        let _ = Connection::open(folder.path()).unwrap().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        size() < 2 * 1_048_576 + bounds.bytes_max
    })
    .await;
    assert!(journal.verify(None).await.unwrap().whole);
    assert!(journal.release(1).await.unwrap().is_some(), "the host stands on it");
}
