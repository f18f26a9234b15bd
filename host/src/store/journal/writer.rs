//! The journal's thread: owns the file, writes in the order it is asked, and keeps what the disk does not take.

mod recovery;
mod reading;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior, params};
use tokio::time::Instant;

use super::bounds;
use super::copy::Copy;
use super::known::Known;
use super::rows::{content_of, write_entry, write_record};
use super::{Entry, Gist, JournalError, Opening, Record, chain, to_json};
use crate::switch::KEPT_READY;

/// Records that could not be written wait for the disk to come back, up to this many.
pub(super) const PENDING_MAX: usize = 10_000;

/// How long the copy may be behind while there is always something else to write.
const COPY_BEHIND_MAX: Duration = Duration::from_secs(1);

/// How often a file that could not be opened is tried again.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

type Gists = BTreeMap<u64, Gist>;

/// Something to be written.
#[derive(Clone)]
pub(super) enum Write {
    Record(Box<Record>),
    Receipt { entry: u64, text: String },
}

pub(super) struct Writer {
    path: PathBuf,
    opening: Opening,
    /// None while it cannot be opened for writing.
    file: Option<Connection>,
    /// To read, while that is so.
    reader: Option<Connection>,
    /// Of what has happened, for a disk that is not there.
    pending: VecDeque<Write>,
    /// Entries that got another id than was said, as another process had taken it.
    renumbered: HashMap<u64, u64>,
    /// Where the host stands, with all that is pending.
    copy: Copy,
    /// Since when the copy on the disk is behind.
    behind: Option<Instant>,
    /// Whether the host stands where the copy said, and the file may say otherwise.
    from_copy: bool,
    /// Whether something was written since the bounds were looked at.
    grown: bool,
    entries: u64,
    named: bounds::Named,
    opened: Instant,
    known: Arc<Known>,
}

impl Writer {
    /// Writes; what cannot be written is kept where `keep` says so. Answers the entry's id.
    pub(super) fn take(&mut self, write: Write, keep: bool) -> Result<u64, JournalError> {
        if keep {
            // It has happened, whatever the disk says.
            self.copy_of(&write);
        }
        let written = self.catch_up().and_then(|()| self.write(&write));
        match &written {
            Ok(_) => {
                self.known.settled();
                if !keep {
                    self.copy_of(&write);
                }
            }
            Err(_) if keep => {
                // The newest say where the host stands.
                if self.pending.len() == PENDING_MAX {
                    self.pending.pop_front();
                    self.known.settled();
                    tracing::warn!("the journal cannot be written, and the oldest of what waits for it is dropped");
                }
                self.pending.push_back(write);
            }
            Err(_) => self.known.settled(),
        }
        if self.behind.is_some_and(|behind| behind.elapsed() > COPY_BEHIND_MAX) {
            self.keep_copy();
        }
        written
    }

    /// Writes what could not be written before.
    pub(super) fn catch_up(&mut self) -> Result<(), JournalError> {
        if self.file.is_none() {
            self.open_again()?;
        }
        while let Some(write) = self.pending.pop_front() {
            if let Err(error) = self.write(&write) {
                self.pending.push_front(write);
                return Err(error);
            }
            self.known.settled();
        }
        Ok(())
    }

    pub(super) fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Writes in one transaction.
    fn write(&mut self, write: &Write) -> Result<u64, JournalError> {
        let written = self.try_write(write);
        let written = match written {
            Err(error) if self.may_mend(&error) => self.mend(&error).and_then(|()| self.try_write(write)),
            written => written,
        };
        match &written {
            Ok(_) => self.tell_stand(None),
            Err(error) => {
                self.make_room();
                self.known.change_stand(|stand| stand.failures += 1);
                self.tell_stand(Some(error));
            }
        }
        written
    }

    /// The write-ahead log may take what the next try needs.
    fn make_room(&self) {
        if let Some(file) = &self.file {
            let _ = file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }

    /// A file that is found damaged right after it was made is the disk's fault: another one would be no better.
    fn may_mend(&self, error: &JournalError) -> bool {
        error.is_damage() && !self.opening.shared && self.opened.elapsed() > OPEN_AGAIN
    }

    fn try_write(&mut self, write: &Write) -> Result<u64, JournalError> {
        let Some(file) = &mut self.file else { return Err(JournalError::Away("it is not open for writing".into())) };
        let transaction = file.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut written = None;
        let id = match write {
            Write::Record(record) => {
                write_record(&transaction, record)?;
                match &record.entry {
                    Some(entry) => {
                        let entry = write_entry(&transaction, entry.clone())?;
                        let id = entry.id;
                        written = Some(entry);
                        id
                    }
                    None => 0,
                }
            }
            Write::Receipt { entry, text } => {
                let entry = *self.renumbered.get(entry).unwrap_or(entry);
                let update = "UPDATE entries SET receipt = ?2 WHERE id = ?1";
                transaction.prepare_cached(update)?.execute(params![entry, chain::canonical(text)])?;
                chain::add(&transaction, chain::RECEIPT, entry)?;
                entry
            }
        };
        let last = chain::last(&transaction)?;
        transaction.commit()?;
        (self.copy.links, self.copy.head) = last;
        self.grown = true;
        if let Some(entry) = written {
            self.now_written(write, entry);
        }
        if let Write::Record(record) = write
            && let Some((call, receipt)) = &record.unchanged
        {
            self.known.remember_call(call, None, Some(receipt.clone()));
        }
        Ok(id)
    }

    fn now_written(&mut self, write: &Write, entry: Entry) {
        let Write::Record(record) = write else { return };
        let said = record.entry.as_ref().map_or(0, |entry| entry.id);
        if said != entry.id {
            self.renumbered.insert(said, entry.id);
            self.known.renumbered(said, entry.id);
        }
        self.known.given(entry.id);
        self.copy.last_id = self.copy.last_id.max(entry.id);
        self.entries += 1;
        self.known.remember(entry, true);
    }

    /// Has the copy say what a record says.
    fn copy_of(&mut self, write: &Write) {
        let Write::Record(record) = write else { return };
        if let Some((number, spec)) = &record.release {
            self.copy.last_number = self.copy.last_number.max(*number);
            self.copy.releases.insert(*number, to_json(spec));
        }
        if let Some(standing) = &record.standing {
            self.copy.standing = Some(standing.clone());
        }
        record.seen.iter().for_each(|seen| self.copy.note_seen(seen));
        if record.standing.is_some() || !record.seen.is_empty() {
            self.behind.get_or_insert_with(Instant::now);
        }
    }

    /// Looks after the file while there is nothing else to do; answers whether there is more.
    pub(super) fn tidy(&mut self) -> bool {
        self.keep_copy();
        // What waits is tried again when somebody asks for it, once a second.
        if !self.grown || !self.pending.is_empty() || self.opening.shared {
            return false;
        }
        let Some(file) = &mut self.file else { return false };
        let trimmed = self.opening.bounds.trim(file, self.copy.standing.as_ref());
        self.grown = match trimmed {
            Ok(more) => more,
            Err(error) => {
                tracing::warn!(%error, "the journal could not be made smaller");
                false
            }
        };
        self.count();
        self.tell_stand(None);
        self.grown
    }

    /// Writes the copy, where it is behind.
    pub(super) fn keep_copy(&mut self) {
        if self.behind.is_none() || self.opening.shared {
            return;
        }
        self.copy.at = crate::time::rfc3339_now();
        let file = self.file.as_ref().or(self.reader.as_ref());
        self.copy.gather(KEPT_READY, |number| file.and_then(|file| content_of(file, number).ok().flatten()));
        match self.copy.write(&self.path) {
            Ok(()) => self.behind = None,
            // It is tried again after the next switch, and every second.
            Err(error) => {
                self.behind = Some(Instant::now());
                tracing::debug!(%error, "the copy of where the host stands was not written");
            }
        }
    }

    fn count(&mut self) {
        let counted =
            self.readable().and_then(|file| Ok(file.query_row("SELECT COUNT(*) FROM entries", [], |row| row.get(0))?));
        self.entries = counted.unwrap_or(self.entries);
    }

    /// Has SQLite find the disk full at so many pages.
    #[cfg(test)]
    pub(super) fn set_pages_max(&self, pages: u32) {
        let file = self.file.as_ref().expect("it is open");
        file.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    }

    fn tell_stand(&self, trouble: Option<&JournalError>) {
        let bytes = self.file.as_ref().or(self.reader.as_ref()).map(bounds::used_bytes);
        let (entries, links, head) = (self.entries, self.copy.links, self.copy.head);
        self.known.change_stand(|stand| {
            stand.entries = entries;
            stand.bytes = bytes.and_then(Result::ok).unwrap_or(stand.bytes);
            (stand.links, stand.head) = (links, head);
            stand.trouble = trouble.map(ToString::to_string);
        });
    }
}
