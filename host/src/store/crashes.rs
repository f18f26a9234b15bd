//! `crashes/ID.json`: the last few bundles of failed policies. What is in them is the switch's business.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use super::{Store, StoreError, write_whole};

/// Bundles kept.
pub const CRASHES_MAX: usize = 20;

impl Store {
    /// Keeps a bundle, and lets go of the oldest beyond the limit. Only its owner may read it.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn keep_crash(&self, id: &str, content: &[u8]) -> Result<(), StoreError> {
        let folder = self.crashes_path();
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|error| StoreError::Io(error, folder.clone()))?;
        let path = folder.join(format!("{id}.json"));
        write_whole(&path, content).map_err(|error| StoreError::Io(error, path))?;
        for id in self.crashes()?.into_iter().skip(CRASHES_MAX) {
            // One that stays a while longer does no harm.
            let _ = fs::remove_file(folder.join(format!("{id}.json")));
        }
        Ok(())
    }

    /// The ids of the bundles, newest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn crashes(&self) -> Result<Vec<String>, StoreError> {
        let folder = self.crashes_path();
        let files = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.map_err(|error| StoreError::Io(error, folder))?,
        };
        let names = files.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
        let mut ids: Vec<String> = names.filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())).collect();
        ids.sort_unstable_by(|one, other| other.cmp(one));
        Ok(ids)
    }

    /// A bundle; none where there is no such id.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn crash(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        // What is asked for comes from outside, and is to name a file in this folder.
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            return Ok(None);
        }
        let path = self.crashes_path().join(format!("{id}.json"));
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            content => content.map(Some).map_err(|error| StoreError::Io(error, path)),
        }
    }

    fn crashes_path(&self) -> PathBuf {
        self.root.join("crashes")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_last_bundles_are_kept_and_nobody_else_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert!(store.crashes().unwrap().is_empty());
        for id in 100..130 {
            store.keep_crash(&id.to_string(), b"{}").unwrap();
        }
        let kept = store.crashes().unwrap();
        assert_eq!((kept.len(), &*kept[0], &*kept[CRASHES_MAX - 1]), (CRASHES_MAX, "129", "110"));
        assert_eq!(store.crash("129").unwrap().as_deref(), Some(&b"{}"[..]));
        assert!(["109", "", "../journal", "129.json"].iter().all(|id| store.crash(id).unwrap().is_none()));
        let mode = fs::metadata(folder.path().join("crashes/129.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
