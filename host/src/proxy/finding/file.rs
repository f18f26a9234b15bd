//! Members that a file lists, which something else keeps: one on each line, `10.0.0.1:8080 weight=3 zone=a`.
//!
//! Read again whenever it changes, by being written or by another taking its place. A file that cannot be read, or in
//! which anything is wrong, changes nothing.

pub mod text;

use std::fs;
use std::io::{self, Read};
use std::iter;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{Event, EventKind, ModifyKind};
use tokio::time::Instant;

use self::text::{WrongFile, parse};
use super::Finding;
use crate::watch::Watch;

/// How long the file must be the same: editors, and programs, write in several steps.
const SETTLE: Duration = Duration::from_millis(50);

/// How long to wait for that at most: one that is never the same would never be read.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// How often the file is looked at without being told to: events can be lost, and folders come later.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Bytes of the file at most: as many members as there may be, with room for comments.
const BYTES_MAX: u64 = 2 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("`{path}` cannot be read")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("expected {BYTES_MAX} bytes at most in `{0}`")]
    TooLarge(PathBuf),
    #[error("{path}:{wrong}")]
    Wrong { path: PathBuf, wrong: WrongFile },
}

/// Follows what this file says, for as long as somebody listens.
pub async fn follow(path: PathBuf, mut finding: Finding) {
    let mut source = Source { path, watch: None, watched: None, last: None };
    loop {
        source.take_in(&mut finding).await;
        tokio::select! {
            () = source.changes() => {}
            () = finding.unheard() => return,
        }
    }
}

struct Source {
    path: PathBuf,
    watch: Option<Watch>,
    /// The folder that is watched, by its device and number.
    watched: Option<(u64, u64)>,
    /// What was last read and told of, or why it could not be read.
    last: Option<Result<Vec<u8>, io::ErrorKind>>,
}

impl Source {
    async fn take_in(&mut self, finding: &mut Finding) {
        // Before it is read, or what happens in between would be seen late.
        self.watch();
        let text = match self.read() {
            // The same as ever is read once, not twice.
            Ok(text) if !self.is_last(&Ok(&text)) => self.settled(text).await,
            read => read,
        };
        let seen = text.as_ref().map(Vec::as_slice).map_err(io::Error::kind);
        if self.is_last(&seen) {
            return;
        }
        self.last = Some(seen.map(<[u8]>::to_vec));
        let path = || self.path.clone();
        let members = text.map_err(|source| Unusable::Unreadable { path: path(), source }).and_then(|text| {
            if text.len() as u64 > BYTES_MAX {
                return Err(Unusable::TooLarge(path()));
            }
            parse(&text).map_err(|wrong| Unusable::Wrong { path: path(), wrong })
        });
        match members {
            Ok(members) => finding.tell(members),
            Err(unusable) => finding.keep(&unusable),
        }
    }

    fn is_last(&self, seen: &Result<&[u8], io::ErrorKind>) -> bool {
        self.last.as_ref().is_some_and(|last| last.as_ref().map(Vec::as_slice).map_err(|kind| *kind) == *seen)
    }

    fn watch(&mut self) {
        let folder = self.folder();
        let now = fs::metadata(folder).ok().map(|folder| (folder.dev(), folder.ino()));
        if self.watch.is_none() || self.watched != now {
            // What cannot be watched is looked at all the same.
            (self.watch, self.watched) = (Watch::folder(folder).ok(), now);
        }
    }

    /// What is watched: a new file is put in the old one's place, and a watch of the file would stay with the old.
    fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Until the file should be looked at.
    async fn changes(&mut self) {
        let deadline = Instant::now() + LOOK_AGAIN;
        let Some(mut watch) = self.watch.take() else { return tokio::time::sleep_until(deadline).await };
        let mut is_gone = false;
        if let Ok(first) = tokio::time::timeout_at(deadline, watch.next()).await {
            // Of all that happens in a while, one look tells; other files in the folder may never be still.
            tokio::time::sleep(SETTLE).await;
            let others = iter::from_fn(|| watch.try_next());
            is_gone = iter::once(first).chain(others).fold(false, |is_gone, event| is_gone | self.ends_watch(event));
        }
        self.watch = Some(watch).filter(|_| !is_gone);
    }

    /// Whether nothing more is told of a folder of this name: the watch has gone with the old one.
    fn ends_watch(&self, event: notify::Result<Event>) -> bool {
        let Ok(event) = event else { return true };
        let moves = matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
        moves && event.paths.iter().any(|path| path == self.folder())
    }

    /// The file once it has been the same for a while.
    async fn settled(&self, mut text: Vec<u8>) -> io::Result<Vec<u8>> {
        let latest = Instant::now() + SETTLE_MAX;
        loop {
            tokio::time::sleep(SETTLE).await;
            let again = self.read()?;
            if again == text || Instant::now() >= latest {
                return Ok(again);
            }
            text = again;
        }
    }

    /// Up to one byte more than we take.
    fn read(&self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        fs::File::open(&self.path)?.take(BYTES_MAX + 1).read_to_end(&mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
