//! The journal: the durable record of every release, switch and refusal, and of where the host stands.
//!
//! One thread owns the SQLite file and writes in the order it is asked; nobody else waits for the disk unless they want
//! to. Each record is one transaction with full sync: after `kill -9` a record is whole or not there. What cannot be
//! written waits in memory, and what was written last is known without the disk.
//!
//! Every entry and every receipt is a link of a chain of hashes, see [`chain`]. Beside the file lies a copy of where the
//! host stands, see `copy`, for the day on which the file is not readable.

mod file;
mod writer;
mod rows;
pub mod chain;
mod copy;
mod bounds;
mod known;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

pub use self::bounds::{Bounds, ENTRIES_MAX};
use self::known::Known;
pub use self::known::{Kept, KnownCall, Stand};
use self::writer::{Write, Writer};
use crate::digest::Digest;
use crate::spec::Spec;
use crate::switch::standing::{Gist, Standing};

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
    #[error("journal {0} was written by a newer switchback (layout {1}, this one reads {READS})", READS = file::LAYOUT)]
    Newer(PathBuf, u32),
    /// SQLite's own check of the file.
    #[error("journal: the file is damaged: {0}")]
    Damaged(String),
    /// It is gone, or empty, and was not before.
    #[error("journal: the file is gone or empty, and was not before")]
    Lost,
    /// The file cannot be opened for writing for now.
    #[error("journal: {0}")]
    Away(String),
    /// The disk does not answer.
    #[error("journal: the disk did not answer within {0:?}")]
    Slow(Duration),
    /// There is no such entry.
    #[error("entry {0} is not kept")]
    NoSuchEntry(u64),
    /// Pins are kept whatever the bounds.
    #[error("expected at most {0} pinned entries; unpin others first")]
    TooManyPins(u64),
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
    /// The journal itself was damaged, and set aside.
    Damage,
}

impl Kind {
    /// Whether what serves is another after it.
    pub fn switches(self) -> bool {
        matches!(self, Self::Activate | Self::Back | Self::Forward | Self::Canary)
    }
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
    /// Rises with every entry, maybe by more than one; zero before the journal has it.
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
    /// The digest of the release that was current, once the entry is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_digest: Option<Digest>,
    /// The digest of the release that became current, once the entry is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_digest: Option<Digest>,
    /// The call that it was asked for with, where that has a key.
    #[serde(skip)]
    pub call: Option<Call>,
}

/// A call that can be repeated: asked for again with the same key, it is not done again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The caller's word for it.
    pub key: String,
    /// The digest of what is asked.
    pub request: Digest,
}

/// What a door last read under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// A call that changed nothing, and its receipt.
    pub unchanged: Option<(Call, String)>,
    /// A call that was journalled, and then came to nothing: it may be asked for again.
    pub undone: Option<Call>,
}

/// What was found at start.
#[derive(Clone, Default)]
pub struct Recovered {
    /// Where the host stood.
    pub standing: Option<Standing>,
    /// What the releases on its trail are.
    pub gists: BTreeMap<u64, Gist>,
    /// The highest release number ever given.
    pub last_number: u64,
    /// What the doors had read.
    pub seen: Vec<Seen>,
}

type Job = Box<dyn FnOnce(&mut Writer) + Send>;

/// How long reading waits for the disk. After that it answers with what is known without it.
const READ_PATIENCE: Duration = Duration::from_millis(500);

/// How long nothing must be asked before the thread looks after the file: what is switched next goes first.
const TIDY_AFTER: Duration = Duration::from_millis(20);

/// How a journal is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opening {
    /// How large it may grow.
    pub bounds: Bounds,
    /// Whether another process still writes it: then nothing of it is mended or set aside.
    pub shared: bool,
}

/// The journal, from outside its thread.
#[derive(Clone)]
pub struct Journal {
    /// Locked while an id is given and its record sent: ids rise in the order of writing.
    jobs: Arc<Mutex<mpsc::Sender<Job>>>,
    known: Arc<Known>,
    path: Arc<PathBuf>,
}

/// A record that was handed over; resolves when it is on the disk, or cannot be put there.
#[derive(Debug)]
pub struct Written {
    /// Its entry's id; zero where it has none.
    pub id: u64,
    done: oneshot::Receiver<Result<u64, JournalError>>,
}

impl Future for Written {
    type Output = Result<Result<u64, JournalError>, oneshot::error::RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.done).poll(cx)
    }
}

impl Journal {
    /// Opens the file, or makes it, and starts the journal's thread.
    ///
    /// # Errors
    /// As [`Journal::open_as`].
    pub fn open(path: &Path) -> Result<(Self, Recovered), JournalError> {
        Self::open_as(path, Opening::default())
    }

    /// Opens the file, or makes it, and starts the journal's thread. One that is damaged is set aside under a name that
    /// says so, and the copy beside it is where the host goes on from; one that cannot be written now is read, and
    /// written later.
    ///
    /// # Errors
    /// When there is nothing to go on from that we can use.
    pub fn open_as(path: &Path, opening: Opening) -> Result<(Self, Recovered), JournalError> {
        let known = Arc::new(Known::default());
        let (mut writer, recovered) = Writer::open(path, opening, known.clone())?;
        let (jobs, received) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name("journal".into())
            .spawn(move || {
                loop {
                    match received.recv_timeout(TIDY_AFTER) {
                        Ok(job) => job(&mut writer),
                        Err(mpsc::RecvTimeoutError::Disconnected) => return writer.keep_copy(),
                        Err(mpsc::RecvTimeoutError::Timeout) if writer.tidy() => {}
                        // All is tidy: nothing to wake up for.
                        Err(mpsc::RecvTimeoutError::Timeout) => match received.recv() {
                            Ok(job) => job(&mut writer),
                            Err(mpsc::RecvError) => return writer.keep_copy(),
                        },
                    }
                }
            })
            .expect("a thread can be started while the host starts");
        Ok((Self { jobs: Arc::new(Mutex::new(jobs)), known, path: Arc::new(path.to_owned()) }, recovered))
    }

    /// Writes a record; the answer comes when it is on the disk. The order of calls is the order of writes.
    ///
    /// A record that cannot be written is forgotten: its caller does not act on it. Its id is not given again.
    pub fn write(&self, record: Record) -> Written {
        self.hand_over(record, false)
    }

    /// Writes a record of something that has happened already. One that cannot be written now is kept, and written
    /// before anything else once the disk is back.
    pub fn write_after(&self, record: Record) -> Written {
        self.hand_over(record, true)
    }

    fn hand_over(&self, mut record: Record, keep: bool) -> Written {
        let (answer, done) = oneshot::channel();
        let jobs = self.jobs();
        let id = record.entry.as_mut().map_or(0, |entry| {
            entry.id = self.known.next_id();
            entry.id
        });
        if let (true, Some(entry)) = (keep, &record.entry) {
            self.known.remember(entry.clone(), false);
        }
        if let (true, Some((call, receipt))) = (keep, &record.unchanged) {
            self.known.remember_call(call, None, Some(receipt.clone()));
        }
        if let Some(call) = &record.undone {
            self.known.forget_call(call);
        }
        self.known.handed_over();
        let job: Job = Box::new(move |writer| drop(answer.send(writer.take(Write::Record(record.into()), keep))));
        let _ = jobs.send(job);
        Written { id, done }
    }

    /// Writes what could not be written before, and the copy; answers how many records still wait.
    pub async fn catch_up(&self) -> usize {
        self.run(|writer| {
            let _ = writer.catch_up();
            writer.keep_copy();
            writer.waiting()
        })
        .await
        .unwrap_or(0)
    }

    /// Takes up what another process has written, which has ended or writes no more: from here on the file is ours.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn take_over(&self) -> Result<(), JournalError> {
        self.run(Writer::take_over).await.unwrap_or(Err(JournalError::Closed))
    }

    /// Adds a switch's receipt to its entry: a link of its own.
    pub fn attach(&self, entry: u64, receipt: String) {
        self.known.attach(entry, &receipt);
        self.known.handed_over();
        drop(self.run(move |writer| writer.take(Write::Receipt { entry, text: receipt }, true)));
    }

    /// Keeps an entry, its receipt and the releases that it names whatever the bounds, or no longer.
    ///
    /// # Errors
    /// When there is no such entry, or it cannot be written.
    pub async fn pin(&self, entry: u64, pinned: bool) -> Result<(), JournalError> {
        self.run(move |writer| writer.pin(entry, pinned)).await.unwrap_or(Err(JournalError::Closed))
    }

    /// The newest entries, newest first. Where the disk does not answer, those that are known without it.
    pub async fn history(&self, limit: usize) -> Vec<Entry> {
        let read = self.run_in_time(move |writer| writer.history(limit)).await;
        self.known.newest(read.unwrap_or_default(), limit)
    }

    /// An entry, with its receipt if it has one.
    ///
    /// # Errors
    /// When it is not known, and the journal cannot be read.
    pub async fn entry(&self, id: u64) -> Result<Option<Kept>, JournalError> {
        match self.known.entry(id) {
            Some(kept) => Ok(Some(kept)),
            None => self.run_in_time(move |writer| writer.entry(id)).await,
        }
    }

    /// What was answered to a call, if there was one with this key.
    pub fn call(&self, key: &str) -> Option<KnownCall> {
        self.known.call(key)
    }

    /// A release's content, where it is kept.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn release(&self, number: u64) -> Result<Option<Spec>, JournalError> {
        self.run(move |writer| writer.release(number)).await.unwrap_or(Err(JournalError::Closed))
    }

    /// Entries after `since` as they are exported: a line of JSON each, and the last one's id.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn export(&self, since: u64, limit: usize) -> Result<chain::Exported, JournalError> {
        self.settled().await;
        let path = self.path.clone();
        // With a connection of its own: whoever reads all of it holds up no switch.
        let read = move || chain::export(&file::open_to_read(&path)?, since, limit);
        tokio::task::spawn_blocking(read).await.unwrap_or(Err(JournalError::Closed))
    }

    /// Goes through the whole chain. `head` is one that was noted elsewhere.
    ///
    /// # Errors
    /// When the journal cannot be read. That the chain is broken is an answer.
    pub async fn verify(&self, head: Option<Digest>) -> Result<chain::Verified, JournalError> {
        self.settled().await;
        // What this process has seen on the disk must be there.
        let (path, stand) = (self.path.clone(), self.known.stand());
        let verify = move || {
            let known = [vec![(stand.links, stand.head)], copy::links(&path)].concat();
            let verified = chain::verify(&file::open_to_read(&path)?, &known, head)?;
            Ok(chain::Verified { waiting: stand.waiting, ..verified })
        };
        tokio::task::spawn_blocking(verify).await.unwrap_or(Err(JournalError::Closed))
    }

    /// How the journal itself stands. Known without the disk.
    pub fn stand(&self) -> Stand {
        self.known.stand()
    }

    /// Drops releases beyond the limits; answers the builds that those which are kept name.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub async fn prune(&self, standing: Standing) -> Result<Vec<Digest>, JournalError> {
        self.run(move |writer| writer.prune(&standing)).await.unwrap_or(Err(JournalError::Closed))
    }

    fn run<T: Send + 'static>(&self, job: impl FnOnce(&mut Writer) -> T + Send + 'static) -> oneshot::Receiver<T> {
        let (answer, receiver) = oneshot::channel();
        let _ = self.jobs().send(Box::new(move |writer| {
            let _ = answer.send(job(writer));
        }));
        receiver
    }

    /// Waits until what was handed over before is written, or is known not to be.
    async fn settled(&self) {
        let _ = self.run_in_time(|_| Ok(())).await;
    }

    async fn run_in_time<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Writer) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let ran = tokio::time::timeout(READ_PATIENCE, self.run(job)).await;
        ran.map_err(|_| JournalError::Slow(READ_PATIENCE))?.unwrap_or(Err(JournalError::Closed))
    }

    fn jobs(&self) -> MutexGuard<'_, mpsc::Sender<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
