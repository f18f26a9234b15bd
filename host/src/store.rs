//! The state folder: what must survive a restart. Only this module writes there.
//!
//! ```text
//! journal.db        every release, switch and refusal (SQLite; anyone can open it)
//! journal.db.damaged-TIME   one that could not be read, as it was found
//! standing.json     the last good copy of where the host stands, for that day
//! blobs/DIGEST      the bytes of every policy that some kept release names
//! compiled/...      native code, a cache: may be deleted at any time
//! crashes/ID.json   why policies failed, the last few times
//! control.token     what the control API asks for before it changes anything
//! admin.token       what it asks for before it goes over a point of no return
//! sticky.key        what signs the cookies that bind clients to members
//! control.sock      the control API's Unix socket, while running
//! take_over.sock    where a new process asks for the place of the running one
//! lock              held while a host uses the folder
//! ```

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;

use crate::digest::Digest;

pub mod journal;
pub mod crashes;

/// The state folder, locked for this process.
#[derive(Clone)]
pub struct Store {
    root: Arc<PathBuf>,
    lock: Arc<Mutex<Option<File>>>,
}

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another host is running on it.
    #[error("state folder {0} is in use by another switchback")]
    InUse(PathBuf),
    /// The file system says no.
    #[error("cannot use {1}")]
    Io(#[source] io::Error, PathBuf),
    /// Others could put native code there, which we would run.
    #[error("state folder {0} is not ours alone to write: it must belong to the user that runs switchback, mode 0700")]
    NotOurs(PathBuf),
    /// A blob's content is not what its name says.
    #[error("{0} is damaged: its content is not what its name says")]
    Damaged(PathBuf),
}

impl Store {
    /// Opens the folder, and makes it where there is none. Only its owner may look inside.
    ///
    /// # Errors
    /// When it cannot be made or written, or another process holds it.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let lock = Self::prepare(root)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| StoreError::InUse(root.to_owned()))?;
        Ok(Self::locked(root, lock))
    }

    /// The folder of a running host that has handed us its lock. The lock is gone when both of us have let go of it.
    ///
    /// # Errors
    /// When the folder is not usable, or the lock is not of this folder.
    pub fn share(root: &Path, lock: File) -> Result<Self, StoreError> {
        let path = root.join("lock");
        let its = Self::prepare(root)?.metadata().map_err(|error| StoreError::Io(error, path.clone()))?;
        let ours = lock.metadata().map_err(|error| StoreError::Io(error, path))?;
        if (its.dev(), its.ino()) != (ours.dev(), ours.ino()) {
            return Err(StoreError::InUse(root.to_owned()));
        }
        Ok(Self::locked(root, lock))
    }

    /// The lock, for a process that is to share it.
    ///
    /// # Errors
    /// When it was let go of, or cannot be had twice.
    pub fn lock_to_share(&self) -> io::Result<File> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.as_ref().ok_or(io::ErrorKind::NotFound)?.try_clone()
    }

    /// Lets go of the folder: whoever shares the lock has it alone.
    pub fn let_go(&self) {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn locked(root: &Path, lock: File) -> Self {
        Self { root: Arc::new(root.to_owned()), lock: Arc::new(Mutex::new(Some(lock))) }
    }

    /// Makes the folder where there is none; answers the file that is locked.
    fn prepare(root: &Path) -> Result<File, StoreError> {
        for folder in [root.to_owned(), root.join("blobs"), root.join("compiled")] {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            let looked = made.and_then(|()| fs::metadata(&folder));
            let metadata = looked.map_err(|error| StoreError::Io(error, folder.clone()))?;
            if metadata.uid() != geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
                return Err(StoreError::NotOurs(folder));
            }
        }
        let path = root.join("lock");
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = match lock {
            // What serves was there before the disk took nothing any more: so was the lock.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(&path),
            lock => lock,
        };
        lock.map_err(|error| StoreError::Io(error, path))
    }

    /// The journal's file.
    pub fn journal_path(&self) -> PathBuf {
        self.root.join("journal.db")
    }

    /// Where the control API's Unix socket is.
    pub fn socket_path(&self) -> PathBuf {
        self.root.join(SOCKET_FILE)
    }

    /// Where a new process asks for the place of the running one.
    pub fn take_over_path(&self) -> PathBuf {
        self.root.join(TAKE_OVER_FILE)
    }

    /// The control API's token: the one in the folder, or a new one.
    ///
    /// # Errors
    /// When it can be neither read nor made.
    pub fn token(&self) -> Result<String, StoreError> {
        self.secret(TOKEN_FILE)
    }

    /// The stronger token: who has it may go over a point of no return.
    ///
    /// # Errors
    /// When it can be neither read nor made.
    pub fn admin_token(&self) -> Result<String, StoreError> {
        self.secret(ADMIN_TOKEN_FILE)
    }

    /// What signs the cookies that bind clients to members; made at the first start.
    ///
    /// # Errors
    /// When it can be neither read nor made.
    pub fn sticky_key(&self) -> Result<String, StoreError> {
        self.secret(STICKY_KEY_FILE)
    }

    fn secret(&self, file: &str) -> Result<String, StoreError> {
        let path = self.root.join(file);
        match fs::read_to_string(&path) {
            Ok(token) if !token.trim().is_empty() => return Ok(token.trim().to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::Io(error, path)),
        }
        let mut secret = [0; 24];
        getrandom::fill(&mut secret).expect("the system has randomness");
        let token: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        write_whole(&path, token.as_bytes()).map_err(|error| StoreError::Io(error, path))?;
        Ok(token)
    }

    /// Keeps a policy's bytes; durable when this returns.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn keep_blob(&self, digest: Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.blob_path(digest);
        if self.blob(digest).is_ok() {
            // As good as new: it may be about to be removed, see `keep_only`.
            let renewed =
                File::options().append(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
            return renewed.map_err(|error| StoreError::Io(error, path));
        }
        write_whole(&path, bytes).map_err(|error| StoreError::Io(error, path))
    }

    /// The bytes of a policy that was kept.
    ///
    /// # Errors
    /// When they are not there, or not what they were.
    pub fn blob(&self, digest: Digest) -> Result<Bytes, StoreError> {
        let path = self.blob_path(digest);
        let bytes = fs::read(&path).map_err(|error| StoreError::Io(error, path.clone()))?;
        if Digest::of(&bytes) == digest { Ok(bytes.into()) } else { Err(StoreError::Damaged(path)) }
    }

    /// Removes the blobs, and the code compiled from them, that `needed` does not name. What is younger than ten minutes
    /// stays: it may belong to a change under way, which no release names yet.
    pub fn keep_only(&self, needed: &std::collections::BTreeSet<Digest>) {
        let folders = ["blobs", "compiled"].map(|folder| fs::read_dir(self.root.join(folder)));
        for file in folders.into_iter().flatten().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            let digest = name.get(..64).and_then(|digest| digest.parse::<Digest>().ok());
            let age =
                file.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|time| time.elapsed().ok());
            // A time that cannot be told, or has not come yet by a clock that was set back, is no reason to remove it.
            let young = age.is_none_or(|age| age < YOUNG);
            if !young && digest.is_none_or(|digest| !needed.contains(&digest)) {
                let _ = fs::remove_file(file.path());
            }
        }
    }

    /// Native code from the cache; none where there is none or it is damaged.
    pub fn cached_code(&self, digest: Digest, fingerprint: &str) -> Option<Vec<u8>> {
        let mut file = File::open(self.code_path(digest, fingerprint)).ok()?;
        let mut sum = [0; 64];
        let mut code = Vec::new();
        file.read_exact(&mut sum).ok()?;
        file.read_to_end(&mut code).ok()?;
        // Code is run as it is: a bit that flipped on the disk must not reach the processor.
        (std::str::from_utf8(&sum).ok()? == checksum(digest, fingerprint, &code)).then_some(code)
    }

    /// Keeps native code. A failure costs a compilation later.
    pub fn cache_code(&self, digest: Digest, fingerprint: &str, code: &[u8]) {
        let mut content = checksum(digest, fingerprint, code).into_bytes();
        content.extend_from_slice(code);
        if let Err(error) = write_whole(&self.code_path(digest, fingerprint), &content) {
            tracing::warn!(%digest, %error, "compiled code was not kept");
        }
    }

    fn blob_path(&self, digest: Digest) -> PathBuf {
        self.root.join("blobs").join(digest.to_string())
    }

    fn code_path(&self, digest: Digest, fingerprint: &str) -> PathBuf {
        self.root.join("compiled").join(format!("{digest}-{fingerprint}"))
    }
}

/// Ties code to what it was compiled from and for: a file that was renamed is as useless as one that was damaged.
fn checksum(digest: Digest, fingerprint: &str, code: &[u8]) -> String {
    let whole =
        [digest.to_string().as_bytes(), fingerprint.as_bytes(), Digest::of(code).to_string().as_bytes()].concat();
    Digest::of(&whole).to_string()
}

/// Far more than a change takes from its first byte to the journal.
const YOUNG: Duration = Duration::from_secs(600);

/// The token's file in a state folder.
pub const TOKEN_FILE: &str = "control.token";

/// The stronger token's file in a state folder.
pub const ADMIN_TOKEN_FILE: &str = "admin.token";

/// What signs the cookies that bind clients to members. Proxies that share clients share it.
const STICKY_KEY_FILE: &str = "sticky.key";

/// The control API's socket in a state folder.
pub const SOCKET_FILE: &str = "control.sock";

/// Where a new process asks, in a state folder.
pub const TAKE_OVER_FILE: &str = "take_over.sock";

/// Writes a file so that it is either whole or not there, whatever is killed in between.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut unique = [0; 8];
    getrandom::fill(&mut unique).expect("the system has randomness");
    let beside = path.with_extension(format!("{:016x}.new", u64::from_ne_bytes(unique)));
    let written = (|| {
        let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        // The name is durable once the folder is.
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_serves_one_host_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = Store::open(folder.path()).unwrap();
        assert!(matches!(Store::open(folder.path()), Err(StoreError::InUse(_))));
        drop(first);
        Store::open(folder.path()).unwrap();
    }

    #[test]
    fn damage_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let digest = Digest::of(b"policy");
        store.keep_blob(digest, b"policy").unwrap();
        store.cache_code(digest, "f", b"code");
        assert_eq!(store.cached_code(digest, "f").unwrap(), b"code");

        fs::write(store.blob_path(digest), b"polisy").unwrap();
        assert!(matches!(store.blob(digest), Err(StoreError::Damaged(_))));
        store.keep_blob(digest, b"policy").unwrap();
        assert_eq!(store.blob(digest).unwrap(), "policy");

        let mut content = fs::read(store.code_path(digest, "f")).unwrap();
        *content.last_mut().unwrap() ^= 1;
        fs::write(store.code_path(digest, "f"), content).unwrap();
        assert!(store.cached_code(digest, "f").is_none());
    }

    #[test]
    fn what_no_release_needs_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let [kept, gone, again, young] = [&b"kept"[..], b"gone", b"again", b"young"].map(|bytes| {
            store.keep_blob(Digest::of(bytes), bytes).unwrap();
            Digest::of(bytes)
        });
        for old in [kept, gone, again] {
            let file = File::options().append(true).open(store.blob_path(old)).unwrap();
            file.set_modified(SystemTime::now() - YOUNG).unwrap();
        }
        store.keep_blob(again, b"again").unwrap();
        store.keep_only(&[kept].into());
        assert_eq!([kept, gone, again, young].map(|digest| store.blob(digest).is_ok()), [true, false, true, true]);
    }

    #[test]
    fn a_token_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let token = store.token().unwrap();
        assert_eq!((token.len(), store.token().unwrap()), (48, token));
    }
}
