//! What the thread is asked for beside writing.

use rusqlite::{Connection, OptionalExtension};

use super::Writer;
use crate::digest::Digest;
use crate::spec::Spec;
use crate::store::journal::bounds::{self, PINS_MAX};
use crate::store::journal::known::{KNOWN_MAX, Kept};
use crate::store::journal::rows::{SELECT, content_of, kept};
use crate::store::journal::{Call, Entry, JournalError, from_json};
use crate::switch::standing::Standing;

impl Writer {
    pub(in crate::store::journal) fn readable(&self) -> Result<&Connection, JournalError> {
        let file = self.file.as_ref().or(self.reader.as_ref());
        file.ok_or_else(|| JournalError::Away("it cannot be opened".into()))
    }

    pub(in crate::store::journal) fn history(&self, limit: usize) -> Result<Vec<Entry>, JournalError> {
        let mut select = self.readable()?.prepare_cached(&format!("{SELECT} ORDER BY id DESC LIMIT ?1"))?;
        let rows = select.query_map([limit], |row| Ok(kept(row)?.map(|kept| kept.entry)))?;
        Ok(rows.filter_map(Result::transpose).collect::<Result<_, _>>()?)
    }

    /// An entry; one that waits for the disk is known without it.
    pub(in crate::store::journal) fn entry(&self, id: u64) -> Result<Option<Kept>, JournalError> {
        let mut select = self.readable()?.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
        Ok(select.query_row([id], kept).optional()?.flatten())
    }

    pub(in crate::store::journal) fn newest(&self) -> Result<Vec<Kept>, JournalError> {
        let mut select = self.readable()?.prepare(&format!("{SELECT} ORDER BY id DESC LIMIT ?1"))?;
        let rows = select.query_map([KNOWN_MAX], kept)?;
        Ok(rows.filter_map(Result::transpose).collect::<Result<_, _>>()?)
    }

    #[expect(clippy::type_complexity, reason = "what is in a row, for one caller")]
    pub(in crate::store::journal) fn calls(&self) -> Result<Vec<(Call, Option<u64>, Option<String>)>, JournalError> {
        let Ok(mut select) = self.readable()?.prepare("SELECT key, request, entry, receipt FROM calls ORDER BY rowid")
        else {
            // A file of an earlier version that cannot be written.
            return Ok(Vec::new());
        };
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get(3)?)))?;
        let rows: Vec<(String, String, _, _)> = rows.collect::<Result<_, _>>()?;
        let call = |(key, request, entry, receipt): (_, String, _, _)| {
            Some((Call { key, request: request.parse().ok()? }, entry, receipt))
        };
        Ok(rows.into_iter().filter_map(call).collect())
    }

    pub(in crate::store::journal) fn release(&self, number: u64) -> Result<Option<Spec>, JournalError> {
        let read = self.readable().and_then(|file| content_of(file, number));
        // Without the disk there is still the copy, with the releases that are next.
        let text = match (read, self.copy.releases.get(&number)) {
            (Err(_), Some(text)) => Some(text.clone()),
            (read, _) => read?,
        };
        text.map(|text| from_json("a release", &text)).transpose()
    }

    pub(in crate::store::journal) fn pin(&mut self, entry: u64, pinned: bool) -> Result<(), JournalError> {
        self.catch_up()?;
        let file = self.file.as_ref().ok_or_else(|| JournalError::Away("it is not open for writing".into()))?;
        let is_there = file.query_row("SELECT 1 FROM entries WHERE id = ?1", [entry], |_| Ok(())).optional()?;
        if is_there.is_none() {
            return Err(JournalError::NoSuchEntry(entry));
        }
        if !pinned {
            file.execute("DELETE FROM pins WHERE entry = ?1", [entry])?;
            self.grown = true;
            return Ok(());
        }
        let pins: u64 = file.query_row("SELECT COUNT(*) FROM pins WHERE entry != ?1", [entry], |row| row.get(0))?;
        if pins >= PINS_MAX {
            return Err(JournalError::TooManyPins(PINS_MAX));
        }
        file.execute("INSERT OR IGNORE INTO pins (entry) VALUES (?1)", [entry])?;
        Ok(())
    }

    pub(in crate::store::journal) fn prune(&mut self, standing: &Standing) -> Result<Vec<Digest>, JournalError> {
        let file = self.file.as_ref().ok_or_else(|| JournalError::Away("it is not open for writing".into()))?;
        bounds::drop_releases(file, Some(standing), self.opening.bounds.releases_max)?;
        bounds::builds(file, &mut self.named)
    }
}
