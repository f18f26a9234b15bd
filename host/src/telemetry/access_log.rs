//! The access log: a line for each exchange, written by a thread of its own.
//!
//! Workers hand over and go on. Where the disk, or whoever reads our output, is too slow, lines are dropped and counted.

pub mod format;
pub mod writer;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use self::format::Format;
use self::writer::Writer;
use super::Telling;
use super::told::Told;

/// Where lines go to, and how they look: `[access_log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLogSpec {
    /// Where to.
    pub sink: Sink,
    /// How.
    pub format: Format,
}

/// Where lines go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// A file, which lines are appended to.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

impl Sink {
    fn open(&self) -> io::Result<File> {
        match self {
            // For its group to read: lines say who asked for what.
            Self::File(path) => OpenOptions::new().append(true).create(true).mode(0o640).open(path),
            Self::Stdout => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        }
    }
}

/// Exchanges that wait to be written, at most: some 30 MB where all of them have the longest texts that are kept.
const WAITING_MAX: usize = 8192;

/// How long to wait for the file to open before the host starts without having it: a FIFO that nobody reads yet, or a
/// disk that hangs, is no reason not to serve.
const OPEN_PATIENCE: Duration = Duration::from_secs(1);

/// What workers send to the writer.
pub enum Message {
    /// An exchange.
    Line(Arc<Told>),
    /// Something else has changed: look.
    Wake,
}

/// The access log, from outside.
pub struct AccessLog {
    /// Where workers send to. Let go of it for the writer to end.
    pub lines: mpsc::Sender<Message>,
    /// Has it opened anew.
    pub reopen: Reopen,
    /// Resolves when the last line is written.
    pub written: oneshot::Receiver<()>,
}

/// Has the log's file opened anew, after it was renamed.
#[derive(Clone)]
pub struct Reopen {
    wanted: Arc<AtomicBool>,
    wake: mpsc::WeakSender<Message>,
}

impl Reopen {
    /// Lines of exchanges that end from now on are in the new file; none is lost, or in neither.
    pub fn reopen(&self) {
        self.wanted.store(true, Ordering::Release);
        // A writer whose queue is full is awake.
        if let Some(wake) = self.wake.upgrade() {
            let _ = wake.try_send(Message::Wake);
        }
    }
}

/// Starts the writer's thread.
///
/// # Errors
/// When the file cannot be opened.
pub async fn start(spec: AccessLogSpec, telling: Arc<Telling>) -> io::Result<AccessLog> {
    let (lines, queue) = mpsc::channel(WAITING_MAX);
    let (opened, is_open) = oneshot::channel();
    let (last, written) = oneshot::channel();
    let wanted = Arc::new(AtomicBool::new(false));
    let reopen = Reopen { wanted: wanted.clone(), wake: lines.downgrade() };
    let sink = spec.sink.clone();
    let write = move || {
        match spec.sink.open() {
            Ok(file) => {
                let _ = opened.send(Ok(()));
                Writer::new(spec, file, queue, wanted, telling).run();
            }
            Err(error) => {
                // Nobody waits any more: without a log the host serves on, and what it drops is counted.
                if let Err(Err(error)) = opened.send(Err(error)) {
                    tracing::error!(%error, "the access log cannot be opened");
                }
            }
        }
        let _ = last.send(());
    };
    std::thread::Builder::new().name("access-log".into()).spawn(write)?;
    match tokio::time::timeout(OPEN_PATIENCE, is_open).await {
        Ok(opened) => opened.unwrap_or_else(|_| Err(io::Error::other("the writer has ended")))?,
        Err(_) => tracing::warn!(?sink, "the access log does not open yet; lines are dropped until it does"),
    }
    Ok(AccessLog { lines, reopen, written })
}
