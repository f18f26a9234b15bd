//! Opening the file: whatever state it is in, the host is to go on from the best that there is.

use std::path::Path;
use std::sync::Arc;

use rusqlite::OptionalExtension;
use tokio::time::Instant;

use super::{Gists, OPEN_AGAIN, Write, Writer};
use crate::store::journal::copy::Copy;
use crate::store::journal::file::{self, Found};
use crate::store::journal::known::Known;
use crate::store::journal::rows::{begin, late};
use crate::store::journal::{Door, Entry, JournalError, Kind, Opening, Record, Recovered};

impl Writer {
    pub(in crate::store::journal) fn open(
        path: &Path,
        opening: Opening,
        known: Arc<Known>,
    ) -> Result<(Self, Recovered), JournalError> {
        let mut writer = Self {
            path: path.to_owned(),
            opening,
            file: None,
            reader: None,
            pending: Default::default(),
            renumbered: Default::default(),
            copy: Copy::read(path).unwrap_or_default(),
            behind: None,
            from_copy: false,
            grown: true,
            entries: 0,
            named: Default::default(),
            opened: Instant::now(),
            known,
        };
        let at_rest = writer.copy.clone();
        let gists = match writer.open_file() {
            Ok(found) => Some(writer.found(found)?),
            Err(error) if error.is_damage() && !opening.shared => match writer.mend(&error) {
                Err(error) if error.is_of_disk() => writer.go_on_from_copy(error)?,
                mended => mended.map(|()| None)?,
            },
            Err(error) if error.is_of_disk() && !opening.shared => writer.open_to_read(error)?,
            Err(error) => return Err(error),
        };
        writer.compare(&at_rest);
        let recovered = writer.copy.recovered();
        Ok((writer, Recovered { gists: gists.unwrap_or_else(|| recovered.gists.clone()), ..recovered }))
    }

    /// Compares the file with what the copy knew before. One that was put back to an earlier time does not know of numbers
    /// that were given since, nor does its chain lead to the copy's head.
    pub(in crate::store::journal) fn compare(&mut self, at_rest: &Copy) {
        self.copy.last_number = self.copy.last_number.max(at_rest.last_number);
        self.known.given(at_rest.last_id);
        let Ok(file) = self.readable() else { return };
        let select = "SELECT hash FROM links WHERE link = ?1";
        let hash: Option<String> = file.query_row(select, [at_rest.links], |row| row.get(0)).optional().ok().flatten();
        let is_dropped = at_rest.links < self.copy.links && hash.is_none();
        let is_there = hash.is_some_and(|hash| hash == at_rest.head.to_string());
        if at_rest.links == 0 || is_there || is_dropped {
            return;
        }
        self.copy.missed = Some((at_rest.links, at_rest.head));
        let said = format!(
            "journal.db ends before link {}, which standing.json knows, or has another in its place",
            at_rest.links
        );
        tracing::error!("{said}: it was cut off, or put back from an earlier time");
        self.known.change_stand(|stand| stand.damage = Some(said));
    }

    /// Opens the file for writing.
    pub(in crate::store::journal) fn open_file(&mut self) -> Result<Found, JournalError> {
        self.opened = Instant::now();
        let (mut file, found) = file::open(&self.path)?;
        if found.recovered.standing.is_none() && self.copy.standing.is_some() {
            return Err(JournalError::Lost);
        }
        let found = if self.opening.shared { found } else { late(&mut file, found)? };
        self.reader = None;
        self.file = Some(file);
        Ok(found)
    }

    /// Takes up what a file says; answers what the releases of the trail are.
    pub(in crate::store::journal) fn found(&mut self, found: Found) -> Result<Gists, JournalError> {
        let Found { recovered: Recovered { standing, gists, last_number, seen }, last_id, links, head } = found;
        self.copy = Copy { standing, last_number, seen, last_id, links, head, ..std::mem::take(&mut self.copy) };
        self.known.given(last_id);
        let (newest, calls) = (self.newest()?, self.calls()?);
        newest.into_iter().for_each(|kept| self.known.recall(kept));
        calls.into_iter().for_each(|(call, entry, receipt)| self.known.remember_call(&call, entry, receipt));
        self.behind.get_or_insert_with(Instant::now);
        self.count();
        self.tell_stand(None);
        Ok(gists)
    }

    /// A disk that takes nothing: goes on from what can be read, or from the copy, and keeps in memory what comes.
    pub(in crate::store::journal) fn open_to_read(
        &mut self,
        error: JournalError,
    ) -> Result<Option<Gists>, JournalError> {
        let read = file::open_to_read(&self.path).and_then(|reader| {
            let found = file::find(&reader)?;
            Ok((reader, found))
        });
        match read {
            Ok((reader, found)) if found.recovered.standing.is_some() => {
                self.reader = Some(reader);
                let gists = self.found(found)?;
                self.tell_away(&error);
                Ok(Some(gists))
            }
            _ => self.go_on_from_copy(error),
        }
    }

    /// What is there is looked at when it can be written, and mended then.
    pub(in crate::store::journal) fn go_on_from_copy(
        &mut self,
        error: JournalError,
    ) -> Result<Option<Gists>, JournalError> {
        if self.copy.standing.is_none() {
            return Err(error);
        }
        self.copy.jump((0, 0));
        self.known.given(self.copy.last_id);
        self.from_copy = true;
        self.tell_away(&error);
        Ok(None)
    }

    pub(in crate::store::journal) fn tell_away(&self, error: &JournalError) {
        tracing::error!(%error, "the journal cannot be written: records are kept in memory until it can");
        self.tell_stand(Some(error));
    }

    /// Sets a damaged file aside, and goes on with a new one, from the copy.
    pub(in crate::store::journal) fn mend(&mut self, error: &JournalError) -> Result<(), JournalError> {
        (self.file, self.reader) = (None, None);
        self.opened = Instant::now();
        let is_there = std::fs::metadata(&self.path).is_ok_and(|file| file.len() > 0);
        let lost = matches!(error, JournalError::Lost);
        let aside = if is_there && !lost {
            let aside = file::set_aside(&self.path);
            let aside =
                aside.map_err(|aside| JournalError::Away(format!("{error}, and cannot be set aside: {aside}")))?;
            self.copy.jump(file::salvage(&aside));
            format!(", is set aside as {}", aside.display())
        } else {
            self.copy.jump((0, 0));
            String::new()
        };
        let from = match &self.copy.standing {
            Some(standing) => format!("the copy of {}, at r{}", self.copy.at, standing.trail.current()),
            None => "the configuration file, as there is no copy".to_owned(),
        };
        let why = format!("journal.db is damaged ({error}){aside}; the host goes on from {from}");
        tracing::error!("{why}");
        self.known.given(self.copy.last_id);
        self.known.change_stand(|stand| stand.damage = Some(why.clone()));
        let (mut file, _) = file::open(&self.path)?;
        begin(&mut file, &self.copy)?;
        self.file = Some(file);
        self.count();
        let current = self.copy.standing.as_ref().map(|standing| standing.trail.current());
        let entry = Entry {
            id: self.known.next_id(),
            at: crate::time::rfc3339_now(),
            kind: Kind::Damage,
            door: Door::Host,
            who: "switchback".into(),
            why,
            from: current,
            to: None,
            from_digest: None,
            to_digest: None,
            call: None,
        };
        self.known.remember(entry.clone(), false);
        self.known.handed_over();
        let damage = Write::Record(Record { entry: Some(entry), ..Record::default() }.into());
        self.copy_of(&damage);
        // By itself: what waits may be in the middle of being written.
        match self.try_write(&damage) {
            Ok(_) => self.known.settled(),
            Err(_) => self.pending.push_front(damage),
        }
        Ok(())
    }

    pub(in crate::store::journal) fn open_again(&mut self) -> Result<(), JournalError> {
        if self.opened.elapsed() < OPEN_AGAIN {
            return Err(JournalError::Away("it could not be opened a moment ago".into()));
        }
        let opened = self.open_file();
        let opened = match opened {
            Ok(found) => {
                // Where the host stands is known better here.
                (self.copy.links, self.copy.head) = (found.links, found.head);
                if std::mem::take(&mut self.from_copy) {
                    let (standing, seen) = (self.copy.standing.clone(), self.copy.seen.clone());
                    self.known.handed_over();
                    let record = Record { standing, seen, ..Record::default() };
                    self.pending.push_front(Write::Record(record.into()));
                }
                self.count();
                Ok(())
            }
            Err(error) if error.is_damage() && !self.opening.shared => self.mend(&error),
            Err(error) => Err(error),
        };
        if let Err(error) = &opened {
            self.tell_stand(Some(error));
        }
        opened
    }

    /// Reads again what another process has written, and makes the file ours.
    pub(in crate::store::journal) fn take_over(&mut self) -> Result<(), JournalError> {
        self.opening.shared = false;
        let Some(file) = &mut self.file else { return Err(JournalError::Away("it is not open for writing".into())) };
        let found = file::find(file)?;
        let found = late(file, found)?;
        self.found(found).map(drop)
    }
}
