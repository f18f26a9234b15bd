//! Writes the access log: takes what workers hand over, makes lines of it, and writes many at once.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use memchr::memchr_iter;
use tokio::sync::mpsc;

use super::{AccessLogSpec, Message};
use crate::telemetry::Telling;

/// How long the first line waits for others. A worker that hands over to a writer that sleeps for good has to wake it,
/// which costs as much as a tenth of a request: so it is woken once in this time at most.
const GATHER: Duration = Duration::from_millis(20);

/// Bytes that are gathered before they are written.
const BATCH_BYTES: usize = 256 * 1024;

/// How long to wait for a pipe that takes nothing and, as somebody has set it so, does not make us wait.
const AGAIN: Duration = Duration::from_millis(10);

/// What the writer's thread keeps.
pub struct Writer {
    spec: AccessLogSpec,
    file: File,
    queue: mpsc::Receiver<Message>,
    reopen: Arc<AtomicBool>,
    telling: Arc<Telling>,
    batch: Vec<u8>,
    /// Whether what is in the file ends in half of a line.
    is_torn: bool,
    /// Lines lost since writing last went well.
    lost: u64,
}

impl Writer {
    /// A writer that has its file.
    pub fn new(
        spec: AccessLogSpec,
        file: File,
        queue: mpsc::Receiver<Message>,
        reopen: Arc<AtomicBool>,
        telling: Arc<Telling>,
    ) -> Self {
        Self { spec, file, queue, reopen, telling, batch: Vec::new(), is_torn: false, lost: 0 }
    }

    /// Writes until nobody sends any more.
    pub fn run(mut self) {
        while let Some(message) = self.queue.blocking_recv() {
            self.take(message);
            sleep(GATHER);
            while let Ok(message) = self.queue.try_recv() {
                self.take(message);
            }
            self.write();
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Line(told) => {
                self.spec.format.write(&told, &mut self.batch);
                self.batch.push(b'\n');
            }
            // What ended before belongs into the file that was.
            Message::Wake => self.write(),
        }
        if self.batch.len() >= BATCH_BYTES {
            self.write();
        }
    }

    fn write(&mut self) {
        // Half of a line is ended first, as its rest was lost.
        let end_of_torn = u64::from(self.is_torn && !self.batch.is_empty());
        if end_of_torn > 0 {
            self.batch.insert(0, b'\n');
        }
        let (written, outcome) = write_all(&mut self.file, &self.batch);
        let (done, rest) = self.batch.split_at(written);
        // Lines hold no line ends but their own.
        let lines = |bytes: &[u8]| memchr_iter(b'\n', bytes).count() as u64;
        let (written, lost) = match lines(done) {
            0 => (0, lines(rest) - if done.is_empty() { end_of_torn } else { 0 }),
            written => (written - end_of_torn, lines(rest)),
        };
        self.telling.lines.fetch_add(written, Ordering::Relaxed);
        self.telling.lines_failed.fetch_add(lost, Ordering::Relaxed);
        match outcome {
            Ok(()) if self.lost > 0 && written > 0 => {
                tracing::info!(lost = self.lost, "the access log can be written again");
                self.lost = 0;
            }
            Ok(()) => {}
            Err(error) => {
                // Once, and not for each batch.
                if self.lost == 0 {
                    tracing::error!(%error, "the access log cannot be written; lines are lost");
                }
                self.lost += lost;
            }
        }
        if let Some(last) = done.last() {
            self.is_torn = *last != b'\n';
        }
        self.batch.clear();
        self.batch.shrink_to(BATCH_BYTES * 2);
        if self.reopen.swap(false, Ordering::Acquire) {
            self.open_anew();
        }
    }

    fn open_anew(&mut self) {
        match self.spec.sink.open() {
            Ok(file) => {
                (self.file, self.is_torn) = (file, false);
                tracing::info!("the access log is opened anew");
            }
            Err(error) => tracing::error!(%error, "the access log cannot be opened anew; the old file is written on"),
        }
    }
}

/// Writes as much as can be; answers how much that was.
fn write_all(file: &mut File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(AGAIN),
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}
