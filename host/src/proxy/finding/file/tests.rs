use std::fs;

use tempfile::TempDir;
use tokio::sync::watch;

use super::super::{List, Looks};
use super::*;

/// A file that is followed.
struct Followed {
    folder: TempDir,
    path: PathBuf,
    list: watch::Receiver<List>,
    looks: std::sync::Arc<Looks>,
}

impl Followed {
    fn new(text: Option<&str>, below: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(below).join("blue.members");
        if let Some(text) = text {
            fs::write(&path, text).unwrap();
        }
        let (finding, list) = Finding::new("blue.members");
        let looks = finding.looks();
        tokio::spawn(follow(path.clone(), finding));
        Self { folder, path, list, looks }
    }

    /// The next list's addresses.
    async fn next(&mut self) -> Vec<String> {
        let changed = tokio::time::timeout(Duration::from_secs(60), self.list.changed());
        changed.await.expect("a new list in time").unwrap();
        let list = self.list.borrow_and_update().clone().unwrap();
        list.iter().map(|member| member.address.to_string()).collect()
    }

    /// Until so many looks have found nothing they could use.
    async fn unanswered(&self, looks: u64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.looks.unanswered() < looks {
            assert!(Instant::now() < deadline, "{:?}", self.looks);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

// Where the clock is paused it leaps to the next look whether the kernel tells of a change or not: events may be lost.

#[tokio::test(start_paused = true)]
async fn a_file_is_read_when_it_is_written_and_when_another_takes_its_place() {
    let mut file = Followed::new(Some("10.0.0.1:80\n"), "");
    assert_eq!(file.next().await, ["10.0.0.1:80"]);
    fs::write(&file.path, "10.0.0.2:80\n10.0.0.1:80\n").unwrap();
    assert_eq!(file.next().await, ["10.0.0.1:80", "10.0.0.2:80"]);
    let other = file.folder.path().join("other");
    fs::write(&other, "10.0.0.3:80\n").unwrap();
    fs::rename(&other, &file.path).unwrap();
    assert_eq!(file.next().await, ["10.0.0.3:80"]);
}

#[tokio::test]
async fn the_kernel_tells_of_a_change_before_we_would_look() {
    let mut file = Followed::new(Some("10.0.0.1:80"), "");
    file.next().await;
    let began = Instant::now();
    // More than once: the first could be a look that was due.
    for member in ["10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"] {
        fs::write(&file.path, member).unwrap();
        assert_eq!(file.next().await, [member]);
    }
    assert!(began.elapsed() < LOOK_AGAIN * 2, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_wrong_changes_nothing() {
    let mut file = Followed::new(Some("10.0.0.1:80"), "");
    file.next().await;
    let wrongs = ["10.0.0.2:80\nblue:80", "", "10.0.0.2:80 weight=a", &"#".repeat(2 * 1024 * 1024 + 1)];
    for (looks, wrong) in (1..).zip(wrongs) {
        fs::write(&file.path, wrong).unwrap();
        file.unanswered(looks).await;
    }
    fs::remove_file(&file.path).unwrap();
    file.unanswered(5).await;
    assert!(!file.list.has_changed().unwrap());
    fs::write(&file.path, "10.0.0.2:80").unwrap();
    assert_eq!(file.next().await, ["10.0.0.2:80"]);
}

#[tokio::test(start_paused = true)]
async fn a_half_written_file_is_left_to_settle() {
    let mut file = Followed::new(Some("10.0.0.1:80\n10.0.0."), "");
    let path = file.path.clone();
    tokio::spawn(async move {
        for text in ["10.0.0.1:80\n10.0.0.2:80\n10", "10.0.0.1:80\n10.0.0.2:80\n10.0.0.3:80\n"] {
            tokio::time::sleep(SETTLE - Duration::from_millis(10)).await;
            fs::write(&path, text).unwrap();
        }
    });
    assert_eq!(file.next().await, ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]);
    assert_eq!(file.looks.unanswered(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_file_in_a_folder_that_comes_later_is_found() {
    let mut file = Followed::new(None, "later");
    file.unanswered(1).await;
    for member in ["10.0.0.1:80", "10.0.0.2:80"] {
        fs::create_dir(file.path.parent().unwrap()).unwrap();
        fs::write(&file.path, member).unwrap();
        assert_eq!(file.next().await, [member]);
        fs::remove_dir_all(file.path.parent().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn a_folder_that_was_replaced_is_watched_as_the_old_one_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blue").join("members");
    let mut source = Source { path: path.clone(), watch: None, watched: None, last: None };
    fs::create_dir(source.folder()).unwrap();
    source.watch();
    let began = Instant::now();
    for _ in 0..3 {
        fs::remove_dir_all(source.folder()).unwrap();
        source.changes().await;
        // Often with the number of the one that went.
        fs::create_dir(source.folder()).unwrap();
        source.watch();
        fs::write(&path, "10.0.0.1:80").unwrap();
        source.changes().await;
    }
    assert!(began.elapsed() < LOOK_AGAIN, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_stays_the_same_is_not_told_again() {
    let mut file = Followed::new(Some("10.0.0.1:80 weight=2"), "");
    file.next().await;
    fs::write(&file.path, "# said otherwise\n10.0.0.1:80   weight=2").unwrap();
    tokio::time::sleep(LOOK_AGAIN * 3).await;
    assert_eq!((file.looks.answered(), file.looks.changes()), (2, 1));
    assert!(!file.list.has_changed().unwrap());
}
