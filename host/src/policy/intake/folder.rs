//! The policy folder: a file `NAME.wasm` is the policy NAME. Dropping one in, or over another, is a change.
//!
//! The kernel says when something happened; what happened is read from the folder itself, so that a missed or doubled
//! event, a rename, or a swapped symbolic link (as Kubernetes mounts do) all come to the same. A file is read when its
//! writer closed it, or when it has been still for a while; a file that is gone keeps serving, as nothing replaced it.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::digest::Digest;
use crate::policy::admit::admit;
use crate::policy::validate::{Candidate, POLICY_BYTES_MAX};
use crate::store::journal::{Door, Seen};
use crate::switch::Switch;
use crate::switch::activate::with_causes;
use crate::switch::change::Change;
use crate::switch::receipt::Origin;

/// What a policy's file is called.
const SUFFIX: &str = ".wasm";

/// How long a file that just appeared is given to be written to. Hard links and `mv` from elsewhere write nothing more.
const AFTER_CREATE: Duration = Duration::from_millis(40);

/// How long a file that is being written must be still when nobody says that it was closed (some network file systems).
const AFTER_WRITE: Duration = Duration::from_secs(1);

/// How often the folder is looked at without being told to: events can be lost.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The folder, and what was taken in from it. A build that was refused is not: copied in again, it is tried again.
pub struct PolicyFolder {
    path: PathBuf,
    switch: Arc<Switch>,
    /// The digest last taken in under each name, this life and those before. What was gone back from is among them, and
    /// does not come in again by itself.
    read: BTreeMap<String, Digest>,
    /// Which file that was, so that an unchanged one is not read again.
    files: HashMap<String, FileState>,
    /// Files that are being written: look at them then.
    due: HashMap<PathBuf, Instant>,
}

/// Tells a file from what it was before.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileState {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A policy's file whose content is new.
pub struct Arrived {
    /// The policy.
    pub name: String,
    /// The content.
    pub bytes: Bytes,
}

impl PolicyFolder {
    /// A folder, of which `read` was read before.
    pub fn new(path: PathBuf, switch: Arc<Switch>, read: BTreeMap<String, Digest>) -> Self {
        Self { path, switch, read, files: HashMap::new(), due: HashMap::new() }
    }

    /// Watches the folder for ever. Changes are taken in one at a time.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub fn watch(mut self) -> notify::Result<impl Future<Output = ()>> {
        let (events, mut received) = mpsc::unbounded_channel();
        let mut watcher = notify::recommended_watcher(move |event| {
            let _ = events.send(event);
        })?;
        watcher.watch(&self.path, RecursiveMode::NonRecursive)?;
        Ok(async move {
            let _watcher: RecommendedWatcher = watcher;
            loop {
                self.take_in().await;
                let next = self.due.values().min().copied().unwrap_or_else(|| Instant::now() + LOOK_AGAIN);
                tokio::select! {
                    event = received.recv() => match event {
                        Some(event) => self.note(event),
                        None => return,
                    },
                    () = tokio::time::sleep_until(next) => {}
                }
                while let Ok(event) = received.try_recv() {
                    self.note(event);
                }
            }
        })
    }

    /// Admits whatever is new, and makes a release with each.
    async fn take_in(&mut self) {
        for Arrived { name, bytes } in self.arrived() {
            let digest = Digest::of(&bytes);
            let origin = origin(&name);
            let seen = seen(&name, digest);
            match admit(Candidate { name: name.clone(), bytes }, &self.switch.compiler, &self.switch.store).await {
                Ok(compiled) => {
                    self.switch.admitted(compiled);
                    let change = Change::Build { name: name.clone(), digest, config: None };
                    if self.switch.activate(change, &origin, vec![seen]).await.is_ok() {
                        self.read.insert(name, digest);
                    }
                }
                Err(rejection) => {
                    self.switch.refuse(&origin, &format!("policy `{name}` {}", with_causes(&rejection)));
                }
            }
        }
    }

    /// Admits everything that is there, for the first release.
    pub async fn admit_all(&mut self) -> Vec<(String, Digest)> {
        let mut admitted = Vec::new();
        for Arrived { name, bytes } in self.arrived() {
            match admit(Candidate { name: name.clone(), bytes }, &self.switch.compiler, &self.switch.store).await {
                Ok(compiled) => {
                    admitted.push((name, compiled.digest));
                    self.switch.admitted(compiled);
                }
                Err(rejection) => {
                    self.switch.refuse(&origin(&name), &format!("policy `{name}` {}", with_causes(&rejection)))
                }
            }
        }
        admitted
    }

    /// Remembers what was taken in.
    pub fn taken_in(&mut self, builds: &[(String, Digest)]) {
        self.read.extend(builds.iter().cloned());
    }

    /// Reads every file whose content differs from what was last read under its name.
    pub fn arrived(&mut self) -> Vec<Arrived> {
        let now = Instant::now();
        self.due.retain(|_, due| *due > now);
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(folder = %self.path.display(), %error, "the policy folder cannot be read");
                return Vec::new();
            }
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths
            .iter()
            .filter(|path| !self.due.contains_key(*path))
            .cloned()
            .collect::<Vec<_>>()
            .iter()
            .filter_map(|path| self.look(path))
            .collect()
    }

    fn look(&mut self, path: &Path) -> Option<Arrived> {
        let name = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
        // Editors and copying programs keep their unfinished files under such names.
        if name.is_empty() || name.starts_with('.') {
            return None;
        }
        let (state, bytes) = match read_file(path, self.files.get(name)) {
            Ok(read) => read?,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "a policy's file cannot be read");
                return None;
            }
        };
        // Empty is what a file is before its content comes.
        if bytes.is_empty() {
            return None;
        }
        self.files.insert(name.to_owned(), state);
        let digest = Digest::of(&bytes);
        (self.read.get(name) != Some(&digest)).then(|| Arrived { name: name.to_owned(), bytes })
    }

    /// Notes when to look at a file that something happened to.
    fn note(&mut self, event: notify::Result<Event>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, "the policy folder's events are not whole; looking at everything");
                return self.due.clear();
            }
        };
        let wait = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)) => Duration::ZERO,
            EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) => AFTER_WRITE,
            EventKind::Create(CreateKind::File | CreateKind::Any | CreateKind::Other) => AFTER_CREATE,
            _ => return,
        };
        for path in event.paths {
            if wait.is_zero() {
                self.due.remove(&path);
            } else {
                self.due.insert(path, Instant::now() + wait);
            }
        }
    }
}

fn origin(name: &str) -> Origin {
    Origin { door: Door::Folder, who: "policy folder".into(), why: format!("{name}{SUFFIX} changed") }
}

/// What the journal is told of a file that was taken in.
pub fn seen(name: &str, digest: Digest) -> Seen {
    Seen { door: Door::Folder, name: name.to_owned(), content: digest.to_string() }
}

/// Reads a file, unless it is still the one that is `known`.
///
/// Only regular files, symbolic links followed: a FIFO or a device would keep us waiting, a folder has no content.
fn read_file(path: &Path, known: Option<&FileState>) -> io::Result<Option<(FileState, Bytes)>> {
    let looked_at = match fs::metadata(path) {
        Ok(metadata) => metadata,
        // Gone again, or a link to nothing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !looked_at.is_file() || known == Some(&FileState::of(&looked_at)) {
        return Ok(None);
    }
    // Not to wait if it has become a FIFO since.
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("a flag of the kernel fits");
    let file: File = OpenOptions::new().read(true).custom_flags(nonblock).open(path)?;
    let state = FileState::of(&file.metadata()?);
    let mut bytes = Vec::new();
    // One byte more than is allowed, so that the check sees it.
    (&file).take(POLICY_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if FileState::of(&file.metadata()?) != state {
        // Written to while it was read: there will be another event, or another look.
        return Ok(None);
    }
    Ok(Some((state, bytes.into())))
}

impl FileState {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}
