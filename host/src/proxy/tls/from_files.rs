//! A value that is made of files, and made again when they change.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::hash::Hash;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, Guard};

use super::TlsError;
use crate::causes::with_causes;
use crate::digest::Digest;

/// Bytes of one file. The bundles of all public authorities have a quarter of a megabyte.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// For how long a file may change again without its times telling: file systems round them, to two seconds at worst.
const ROUNDED: Duration = Duration::from_secs(2);

/// Makes a value of its files' contents, or says what is wrong with them.
type Make<T> = fn(&[PathBuf], &[Vec<u8>]) -> Result<T, TlsError>;

/// A value made of files: always the last that was good.
pub(super) struct FromFiles<T> {
    files: Box<[PathBuf]>,
    make: Make<T>,
    made: ArcSwap<T>,
    seen: Mutex<Seen>,
}

impl<T> FromFiles<T> {
    /// Reads the files.
    pub(super) fn read(files: impl Into<Box<[PathBuf]>>, make: Make<T>) -> Result<Self, TlsError> {
        let files = files.into();
        let reading = Reading::new(&files)?;
        let made = ArcSwap::from_pointee(make(&files, &reading.contents)?);
        let (stamps, digest) = (Some(reading.stamps), reading.digest);
        Ok(Self { files, make, made, seen: Mutex::new(Seen { stamps, digest, trouble: None }) })
    }

    pub(super) fn get(&self) -> Guard<Arc<T>> {
        self.made.load()
    }

    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Takes in what has changed, if it is good; answers whether it did. What is wrong is logged, once for each change.
    pub(super) fn refresh(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.are_as_they_were(&self.files) {
            return false;
        }
        let reading = match Reading::new(&self.files) {
            Ok(reading) => reading,
            Err(error) => {
                seen.stamps = None;
                seen.warn(&error);
                return false;
            }
        };
        seen.stamps = Some(reading.stamps);
        if reading.digest == seen.digest {
            seen.trouble = None;
            return false;
        }
        seen.digest = reading.digest;
        // Between the writes of a certificate and of its key, they do not belong together. The second write is a change
        // as well.
        match (self.make)(&self.files, &reading.contents) {
            Ok(made) => {
                seen.trouble = None;
                self.made.store(Arc::new(made));
                tracing::info!(files = ?self.files, "taken in anew");
                true
            }
            Err(error) => {
                seen.trouble = None;
                seen.warn(&error);
                false
            }
        }
    }
}

/// The files as they were when they were last looked at.
struct Seen {
    /// `None` where they could not be read: they are read again.
    stamps: Option<Vec<Stamp>>,
    /// Of all that was last read, be it good or not.
    digest: Digest,
    /// What was last said to be wrong.
    trouble: Option<String>,
}

impl Seen {
    fn are_as_they_were(&self, files: &[PathBuf]) -> bool {
        let Some(stamps) = &self.stamps else { return false };
        let is_as_it_was = |(file, stamp): (&PathBuf, &Stamp)| {
            stamp.is_settled && std::fs::metadata(file).is_ok_and(|now| Stamp::new(&now) == *stamp)
        };
        files.iter().zip(stamps).all(is_as_it_was)
    }

    fn warn(&mut self, error: &TlsError) {
        let trouble = with_causes(error);
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!("{trouble}; what was read before goes on being used");
            self.trouble = Some(trouble);
        }
    }
}

/// What is read of a file without opening it.
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    /// Unlike the time of modification, nobody can set it.
    changed: (i64, i64),
    /// Whether a later change cannot have the same times.
    is_settled: bool,
}

impl Stamp {
    fn new(file: &Metadata) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::from_secs(file.ctime().try_into().unwrap_or_default());
        Self {
            device: file.dev(),
            inode: file.ino(),
            bytes: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
            is_settled: now.saturating_sub(changed) > ROUNDED,
        }
    }
}

impl PartialEq for Stamp {
    fn eq(&self, other: &Self) -> bool {
        let key = |stamp: &Self| (stamp.device, stamp.inode, stamp.bytes, stamp.modified, stamp.changed);
        key(self) == key(other)
    }
}

/// What files hold at one moment.
struct Reading {
    stamps: Vec<Stamp>,
    contents: Vec<Vec<u8>>,
    digest: Digest,
}

impl Reading {
    fn new(files: &[PathBuf]) -> Result<Self, TlsError> {
        let read = |file: &PathBuf| read(file).map_err(|error| TlsError::Read(file.clone(), error));
        let (stamps, contents): (Vec<_>, Vec<_>) =
            files.iter().map(read).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        let digests: String = contents.iter().map(|content: &Vec<u8>| Digest::of(content).to_string()).collect();
        Ok(Self { stamps, contents, digest: Digest::of(digests.as_bytes()) })
    }
}

fn read(path: &Path) -> io::Result<(Stamp, Vec<u8>)> {
    // Before it is opened: opening a pipe waits for somebody who writes.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "expected a file"));
    }
    let file = File::open(path)?;
    // Of the file that is read, and before it is read: what changes meanwhile is seen next time.
    let stamp = Stamp::new(&file.metadata()?);
    let mut content = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {FILE_BYTES_MAX} bytes")));
    }
    Ok((stamp, content))
}

/// What somebody still uses, by what it was made from.
pub(super) struct Known<K, V>(Mutex<HashMap<K, Weak<V>>>);

impl<K: Eq + Hash, V> Known<K, V> {
    /// What is known by this key, or what is made now.
    pub(super) fn get_or_make(
        &self,
        key: K,
        make: impl FnOnce() -> Result<Arc<V>, TlsError>,
    ) -> Result<Arc<V>, TlsError> {
        if let Some(known) = self.lock().get(&key).and_then(Weak::upgrade) {
            return Ok(known);
        }
        // Not under the lock: files are read, and a disk may hang.
        let made = make()?;
        let mut all = self.lock();
        if let Some(known) = all.get(&key).and_then(Weak::upgrade) {
            return Ok(known);
        }
        all.retain(|_, value| value.strong_count() > 0);
        all.insert(key, Arc::downgrade(&made));
        Ok(made)
    }

    /// All that is in use.
    pub(super) fn all(&self) -> Vec<Arc<V>> {
        self.lock().values().filter_map(Weak::upgrade).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Weak<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V> Default for Known<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
