//! The policy folder: a file `NAME.wasm` is the policy NAME. Dropping one in, or over another, is a change.
//!
//! The kernel says when something happened; what happened is read from the folder itself, so that a missed or doubled
//! event, a rename, or a swapped symbolic link (as Kubernetes mounts do) all come to the same. A file is read when its
//! writer closed it, or when it has been still for a while; a file that is gone keeps serving, as nothing replaced it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use notify::Event;
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use tokio::time::Instant;

use crate::causes::with_causes;
use crate::digest::Digest;
use crate::policy::admit::admit;
use crate::policy::validate::{Candidate, POLICY_BYTES_MAX};
use crate::store::journal::{Door, Seen};
use crate::switch::Switch;
use crate::switch::change::Change;
use crate::switch::receipt::Origin;
use crate::watch::Watch;

/// What a policy's file is called.
const SUFFIX: &str = ".wasm";

/// How long a file must not have been written to before it is read without its writer having closed it: it may have
/// been there when we started, or be on a file system that tells us nothing.
const STILL: Duration = Duration::from_secs(1);

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
    /// Files that were closed by a writer, or renamed into place, and not read since.
    closed: HashSet<PathBuf>,
    /// When a file will have been still for long enough.
    due: Option<Instant>,
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
struct Arrived {
    name: String,
    bytes: Bytes,
}

impl PolicyFolder {
    /// A folder, of which `read` was read before.
    pub fn new(path: PathBuf, switch: Arc<Switch>, read: BTreeMap<String, Digest>) -> Self {
        // What was there before us is taken for whole. If it is not, it is refused, and read again when it is.
        let closed = fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        Self { path, switch, read, files: HashMap::new(), closed, due: None }
    }

    /// Watches the folder for ever. Changes are taken in one at a time.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub fn watch(mut self) -> notify::Result<impl Future<Output = ()>> {
        let mut watch = Watch::folder(&self.path)?;
        Ok(async move {
            loop {
                self.take_in().await;
                let again = Instant::now() + LOOK_AGAIN;
                let next = self.due.take().map_or(again, |due| due.min(again));
                if let Ok(event) = tokio::time::timeout_at(next, watch.next()).await {
                    self.note(event);
                }
                while let Some(event) = watch.try_next() {
                    self.note(event);
                }
            }
        })
    }

    /// Admits whatever is new, and makes a release with each.
    async fn take_in(&mut self) {
        for path in self.paths() {
            let Some(Arrived { name, bytes }) = self.look(&path) else { continue };
            let digest = Digest::of(&bytes);
            match self.take_in_one(&name, bytes, digest).await {
                Ok(()) => drop(self.read.insert(name, digest)),
                // The host could not look, for now: as if the file had not been seen.
                Err(Again(true)) => drop(self.files.remove(&name)),
                Err(Again(false)) => {}
            }
        }
    }

    async fn take_in_one(&self, name: &str, bytes: Bytes, digest: Digest) -> Result<(), Again> {
        let origin = origin(name);
        let candidate = Candidate { name: name.to_owned(), bytes };
        match admit(candidate, &self.switch.compiler, &self.switch.store).await {
            Ok(compiled) => {
                self.switch.admitted(compiled);
                let change = Change::Build { name: name.to_owned(), digest, config: None };
                let activated = self.switch.activate(change, &origin, vec![seen(name, digest)]).await;
                activated.map(drop).map_err(|refusal| Again(refusal.is_passing()))
            }
            Err(rejection) => {
                self.switch.refuse(&origin, &format!("policy `{name}` {}", with_causes(&rejection)));
                Err(Again(rejection.is_ours()))
            }
        }
    }

    /// Admits everything that is there, for the first release.
    pub async fn admit_all(&mut self) -> Vec<(String, Digest)> {
        let mut admitted = Vec::new();
        for path in self.paths() {
            let Some(Arrived { name, bytes }) = self.look(&path) else { continue };
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

    /// The files that are there. Each is read when its turn comes: hundreds of them at once would be much memory.
    fn paths(&self) -> Vec<PathBuf> {
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
    }

    /// Reads a file whose content differs from what was last read under its name.
    fn look(&mut self, path: &Path) -> Option<Arrived> {
        let name = policy_name(path)?;
        let closed = self.closed.remove(path);
        let (state, bytes) = match read_file(path, self.files.get(name), closed) {
            Ok(Look::Read(state, bytes)) => (state, bytes),
            Ok(Look::Nothing) => return None,
            Ok(Look::StillFor(age)) => {
                let due = Instant::now() + STILL.saturating_sub(age);
                self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
                return None;
            }
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "a policy's file cannot be read");
                return None;
            }
        };
        // Empty is what a file is before its content comes.
        if bytes.is_empty() {
            return None;
        }
        let seen_before = self.files.insert(name.to_owned(), state).is_some();
        let digest = Digest::of(&bytes);
        self.switch.shows(Door::Folder, name, digest);
        // What was let out of quarantine may come in again, though it was here before.
        if self.read.get(name) != Some(&digest) || seen_before && self.switch.was_let_out(digest) {
            return Some(Arrived { name: name.to_owned(), bytes });
        }
        if seen_before {
            self.explain_if_not_serving(name, digest);
        }
        None
    }

    /// Somebody copied a build in again that was taken in before. Where another serves since, they will wonder.
    fn explain_if_not_serving(&self, name: &str, digest: Digest) {
        let serves = self.switch.current.pin().release.spec.policies.get(name).and_then(|policy| policy.digest);
        if serves != Some(digest) {
            let why = format!(
                "policy `{name}` ({}) was taken in before and then left; `switchback forward`, `activate` or `push` brings \
                 it back, the folder does not",
                digest.short()
            );
            self.switch.refuse(&origin(name), &why);
        }
    }

    /// Notes which file is whole. That something else happened is reason enough to look.
    fn note(&mut self, event: notify::Result<Event>) {
        match event {
            Ok(Event {
                kind:
                    EventKind::Access(AccessKind::Close(AccessMode::Write))
                    | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)),
                paths,
                ..
            }) => self.closed.extend(paths.into_iter().filter(|path| policy_name(path).is_some())),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the policy folder's events are not whole; looking at everything"),
        }
    }
}

/// The policy that a file's name means, if it means one.
pub fn policy_name(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    // Editors and copying programs keep their unfinished files under hidden names.
    (!name.is_empty() && !name.starts_with('.')).then_some(name)
}

fn origin(name: &str) -> Origin {
    let why = format!("{name}{SUFFIX} changed");
    Origin::through(Door::Folder, "policy folder", why)
}

/// A file that was not taken in, and whether to try it again as it is.
struct Again(bool);

/// What the journal is told of a file that was taken in.
pub fn seen(name: &str, digest: Digest) -> Seen {
    Seen { door: Door::Folder, name: name.to_owned(), content: digest.to_string() }
}

/// What came of looking at a file.
enum Look {
    /// It is new, and whole.
    Read(FileState, Bytes),
    /// There is nothing to read: no regular file, or the one that is known.
    Nothing,
    /// It was written to so shortly ago that it may not be whole.
    StillFor(Duration),
}

/// Reads a file, unless it is still the one that is `known`.
///
/// Only regular files, symbolic links followed: a FIFO or a device would keep us waiting, a folder has no content.
fn read_file(path: &Path, known: Option<&FileState>, closed: bool) -> io::Result<Look> {
    let looked_at = match fs::metadata(path) {
        Ok(metadata) => metadata,
        // Gone again, or a link to nothing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Look::Nothing),
        Err(error) => return Err(error),
    };
    if !looked_at.is_file() || known == Some(&FileState::of(&looked_at)) {
        return Ok(Look::Nothing);
    }
    // Whoever makes links has written before.
    let linked = looked_at.nlink() > 1 || fs::symlink_metadata(path)?.is_symlink();
    // A time in the future is no time to wait for.
    let age = looked_at.modified()?.elapsed().unwrap_or(STILL);
    if !closed && !linked && age < STILL {
        return Ok(Look::StillFor(age));
    }
    // Not to wait if it has become a FIFO since.
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("a flag of the kernel fits");
    let file: File = OpenOptions::new().read(true).custom_flags(nonblock).open(path)?;
    let state = FileState::of(&file.metadata()?);
    // Reading to the end asks for a little more than there is.
    let mut bytes = Vec::with_capacity(usize::try_from(state.size).unwrap_or(usize::MAX).min(POLICY_BYTES_MAX) + 64);
    // One byte more than is allowed, so that the check sees it.
    (&file).take(POLICY_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if FileState::of(&file.metadata()?) != state {
        // Written to while it was read.
        return Ok(Look::StillFor(Duration::ZERO));
    }
    Ok(Look::Read(state, bytes.into()))
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
