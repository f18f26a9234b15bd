//! The journal's thread: owns the file, writes in the order it is asked, and keeps what the disk does not take.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use tokio::time::Instant;

use super::bounds::{self, PINS_MAX};
use super::copy::Copy;
use super::file::{self, Found};
use super::known::{CALLS_MAX, KNOWN_MAX, Kept, Known};
use super::{
    Call, Door, Entry, JournalError, Kind, KnownRelease, Opening, Record, Recovered, Seen, chain, from_json, from_word,
    to_json, word,
};
use crate::digest::Digest;
use crate::spec::Spec;
use crate::switch::KEPT_READY;
use crate::switch::standing::Standing;

/// Records that could not be written wait for the disk to come back, up to this many.
pub(super) const PENDING_MAX: usize = 10_000;

/// How long the copy may be behind while there is always something else to write.
const COPY_BEHIND_MAX: Duration = Duration::from_secs(1);

/// How often a file that could not be opened is tried again.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

type KnownReleases = BTreeMap<u64, KnownRelease>;

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
    /// Whether something was written since the bounds were looked at.
    grown: bool,
    entries: u64,
    opened: Instant,
    known: Arc<Known>,
}

impl Writer {
    pub(super) fn open(path: &Path, opening: Opening, known: Arc<Known>) -> Result<(Self, Recovered), JournalError> {
        let mut writer = Self {
            path: path.to_owned(),
            opening,
            file: None,
            reader: None,
            pending: VecDeque::new(),
            renumbered: HashMap::new(),
            copy: Copy::read(path).unwrap_or_default(),
            behind: None,
            grown: true,
            entries: 0,
            opened: Instant::now(),
            known,
        };
        let at_rest = writer.copy.clone();
        let known = match writer.open_file() {
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
        Ok((writer, Recovered { known: known.unwrap_or_else(|| recovered.known.clone()), ..recovered }))
    }

    /// Compares the file with what the copy knew before. One that was put back to an earlier time does not know of numbers
    /// that were given since, nor does its chain lead to the copy's head.
    fn compare(&mut self, at_rest: &Copy) {
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
    fn open_file(&mut self) -> Result<Found, JournalError> {
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
    fn found(&mut self, found: Found) -> Result<KnownReleases, JournalError> {
        let Found { recovered: Recovered { standing, known, last_number, seen }, last_id, links, head } = found;
        self.copy = Copy { standing, last_number, seen, last_id, links, head, ..std::mem::take(&mut self.copy) };
        self.known.given(last_id);
        let (newest, calls) = (self.newest()?, self.calls()?);
        newest.into_iter().for_each(|kept| self.known.recall(kept));
        calls.into_iter().for_each(|(call, entry, receipt)| self.known.remember_call(&call, entry, receipt));
        self.behind.get_or_insert_with(Instant::now);
        self.count();
        self.tell_stand(None);
        Ok(known)
    }

    /// A disk that takes nothing: goes on from what can be read, or from the copy, and keeps in memory what comes.
    fn open_to_read(&mut self, error: JournalError) -> Result<Option<KnownReleases>, JournalError> {
        let read = file::open_to_read(&self.path).and_then(|reader| {
            let found = file::find(&reader)?;
            Ok((reader, found))
        });
        match read {
            Ok((reader, found)) if found.recovered.standing.is_some() => {
                self.reader = Some(reader);
                let known = self.found(found)?;
                self.tell_away(&error);
                Ok(Some(known))
            }
            _ => self.go_on_from_copy(error),
        }
    }

    /// What is there is looked at when it can be written, and mended then.
    fn go_on_from_copy(&mut self, error: JournalError) -> Result<Option<KnownReleases>, JournalError> {
        if self.copy.standing.is_none() {
            return Err(error);
        }
        self.copy.jump((0, 0));
        self.known.given(self.copy.last_id);
        self.tell_away(&error);
        Ok(None)
    }

    fn tell_away(&self, error: &JournalError) {
        tracing::error!(%error, "the journal cannot be written: records are kept in memory until it can");
        self.tell_stand(Some(error));
    }

    /// Sets a damaged file aside, and goes on with a new one, from the copy.
    fn mend(&mut self, error: &JournalError) -> Result<(), JournalError> {
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
        let _ = self.take(Write::Record(Record { entry: Some(entry), ..Record::default() }.into()), true);
        Ok(())
    }

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
        while let Some(write) = self.pending.front().cloned() {
            self.write(&write)?;
            self.pending.pop_front();
            self.known.settled();
        }
        Ok(())
    }

    pub(super) fn waiting(&self) -> usize {
        self.pending.len()
    }

    fn open_again(&mut self) -> Result<(), JournalError> {
        if self.opened.elapsed() < OPEN_AGAIN {
            return Err(JournalError::Away("it could not be opened a moment ago".into()));
        }
        let opened = self.open_file();
        let opened = match opened {
            Ok(found) => {
                // Where the host stands is known better here.
                (self.copy.links, self.copy.head) = (found.links, found.head);
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

    /// Reads again what another process has written, and makes the file ours.
    pub(super) fn take_over(&mut self) -> Result<(), JournalError> {
        self.opening.shared = false;
        let Some(file) = &mut self.file else { return Err(JournalError::Away("it is not open for writing".into())) };
        let found = file::find(file)?;
        let found = late(file, found)?;
        self.found(found).map(drop)
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

    fn readable(&self) -> Result<&Connection, JournalError> {
        let file = self.file.as_ref().or(self.reader.as_ref());
        file.ok_or_else(|| JournalError::Away("it cannot be opened".into()))
    }

    pub(super) fn history(&self, limit: usize) -> Result<Vec<Entry>, JournalError> {
        let mut select = self.readable()?.prepare_cached(&format!("{SELECT} ORDER BY id DESC LIMIT ?1"))?;
        let rows = select.query_map([limit], |row| Ok(kept(row)?.map(|kept| kept.entry)))?;
        Ok(rows.filter_map(Result::transpose).collect::<Result<_, _>>()?)
    }

    /// An entry; one that waits for the disk is known without it.
    pub(super) fn entry(&self, id: u64) -> Result<Option<Kept>, JournalError> {
        let mut select = self.readable()?.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
        Ok(select.query_row([id], kept).optional()?.flatten())
    }

    fn newest(&self) -> Result<Vec<Kept>, JournalError> {
        let mut select = self.readable()?.prepare(&format!("{SELECT} ORDER BY id DESC LIMIT ?1"))?;
        let rows = select.query_map([KNOWN_MAX], kept)?;
        Ok(rows.filter_map(Result::transpose).collect::<Result<_, _>>()?)
    }

    #[expect(clippy::type_complexity, reason = "what is in a row, for one caller")]
    fn calls(&self) -> Result<Vec<(Call, Option<u64>, Option<String>)>, JournalError> {
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

    pub(super) fn release(&self, number: u64) -> Result<Option<Spec>, JournalError> {
        let read = self.readable().and_then(|file| content_of(file, number));
        // Without the disk there is still the copy, with the releases that are next.
        let text = match (read, self.copy.releases.get(&number)) {
            (Err(_), Some(text)) => Some(text.clone()),
            (read, _) => read?,
        };
        text.map(|text| from_json("a release", &text)).transpose()
    }

    pub(super) fn pin(&mut self, entry: u64, pinned: bool) -> Result<(), JournalError> {
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

    pub(super) fn prune(&self, standing: &Standing) -> Result<Vec<Digest>, JournalError> {
        let file = self.file.as_ref().ok_or_else(|| JournalError::Away("it is not open for writing".into()))?;
        bounds::drop_releases(file, Some(standing), self.opening.bounds.releases_max)?;
        bounds::builds(file)
    }
}

/// Chains what an earlier version has written on the file.
fn late(file: &mut Connection, found: Found) -> Result<Found, JournalError> {
    let transaction = file.transaction_with_behavior(TransactionBehavior::Immediate)?;
    chain::add_late(&transaction)?;
    let (links, head) = chain::last(&transaction)?;
    transaction.commit()?;
    Ok(Found { links, head, ..found })
}

/// Begins a new file where the copy ends: its chain goes on from the last head that is known.
fn begin(file: &mut Connection, copy: &Copy) -> Result<(), JournalError> {
    let transaction = file.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (number, text) in &copy.releases {
        write_release(&transaction, *number, &from_json("a release", text)?)?;
    }
    if let Some(standing) = &copy.standing {
        write_standing(&transaction, standing)?;
    }
    copy.seen.iter().try_for_each(|seen| write_seen(&transaction, seen))?;
    if copy.links > 0 {
        let insert = "INSERT OR REPLACE INTO links (link, entry, what, hash) VALUES (?1, 0, ?2, ?3)";
        transaction.execute(insert, params![copy.links, chain::DROPPED, copy.head.to_string()])?;
    }
    transaction.execute("UPDATE chain SET floor = ?1, last_number = ?2", params![copy.links, copy.last_number])?;
    transaction.commit()?;
    Ok(())
}

fn write_record(file: &Connection, record: &Record) -> Result<(), JournalError> {
    if let Some((number, spec)) = &record.release {
        write_release(file, *number, spec)?;
    }
    if let Some(standing) = &record.standing {
        write_standing(file, standing)?;
    }
    record.seen.iter().try_for_each(|seen| write_seen(file, seen))?;
    if let Some((call, receipt)) = &record.unchanged {
        write_call(file, call, None, Some(receipt))?;
    }
    Ok(())
}

fn write_release(file: &Connection, number: u64, spec: &Spec) -> Result<(), JournalError> {
    file.execute(
        "INSERT OR REPLACE INTO releases (number, digest, spec, at) VALUES (?1, ?2, ?3, ?4)",
        params![number, spec.digest().to_string(), to_json(spec), crate::time::rfc3339_now()],
    )?;
    Ok(())
}

fn write_standing(file: &Connection, standing: &Standing) -> Result<(), JournalError> {
    file.execute("INSERT OR REPLACE INTO trail (id, trail) VALUES (1, ?1)", [to_json(standing)])?;
    Ok(())
}

fn write_seen(file: &Connection, Seen { door, name, content }: &Seen) -> Result<(), JournalError> {
    let insert = "INSERT OR REPLACE INTO seen (door, name, content) VALUES (?1, ?2, ?3)";
    file.execute(insert, params![word(door), name, content])?;
    Ok(())
}

/// Writes an entry and its link; answers it as it is written.
fn write_entry(file: &Connection, mut entry: Entry) -> Result<Entry, JournalError> {
    let last: u64 = file.query_row("SELECT COALESCE(MAX(id), 0) FROM entries", [], |row| row.get(0))?;
    // Another process had the file after the id was given.
    entry.id = entry.id.max(last + 1);
    (entry.from_digest, entry.to_digest) = (digest_of(file, entry.from)?, digest_of(file, entry.to)?);
    let digest = |digest: Option<Digest>| digest.map(|digest| digest.to_string());
    let Entry { id, at, kind, door, who, why, from, to, from_digest, to_digest, call } = &entry;
    file.prepare_cached(
        "INSERT INTO entries (id, at, kind, door, who, why, from_release, to_release, from_digest, to_digest)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        id,
        at,
        word(kind),
        word(door),
        who,
        why,
        from,
        to,
        digest(*from_digest),
        digest(*to_digest)
    ])?;
    chain::add(file, chain::ENTRY, *id)?;
    if let Some(call) = call {
        write_call(file, call, Some(*id), None)?;
    }
    Ok(entry)
}

fn write_call(file: &Connection, call: &Call, entry: Option<u64>, receipt: Option<&str>) -> Result<(), JournalError> {
    let insert = "INSERT OR REPLACE INTO calls (key, request, entry, receipt) VALUES (?1, ?2, ?3, ?4)";
    file.execute(insert, params![call.key, call.request.to_string(), entry, receipt])?;
    file.execute("DELETE FROM calls WHERE rowid <= (SELECT MAX(rowid) FROM calls) - ?1", [CALLS_MAX])?;
    Ok(())
}

fn digest_of(file: &Connection, number: Option<u64>) -> Result<Option<Digest>, JournalError> {
    let Some(number) = number else { return Ok(None) };
    let mut select = file.prepare_cached("SELECT digest FROM releases WHERE number = ?1")?;
    let digest: Option<String> = select.query_row([number], |row| row.get(0)).optional()?;
    Ok(digest.and_then(|digest| digest.parse().ok()))
}

fn content_of(file: &Connection, number: u64) -> Result<Option<String>, JournalError> {
    let mut select = file.prepare_cached("SELECT spec FROM releases WHERE number = ?1")?;
    Ok(select.query_row([number], |row| row.get(0)).optional()?)
}

const SELECT: &str =
    "SELECT id, at, kind, door, who, why, from_release, to_release, from_digest, to_digest, receipt FROM entries";

/// A row as [`SELECT`] has it; none where a later version has written what this one has no word for.
fn kept(row: &Row<'_>) -> rusqlite::Result<Option<Kept>> {
    let (kind, door): (String, String) = (row.get(2)?, row.get(3)?);
    let (Some(kind), Some(door)) = (from_word(&kind), from_word(&door)) else { return Ok(None) };
    let digest = |digest: Option<String>| digest.and_then(|digest| digest.parse().ok());
    let entry = Entry {
        id: row.get(0)?,
        at: row.get(1)?,
        kind,
        door,
        who: row.get(4)?,
        why: row.get(5)?,
        from: row.get(6)?,
        to: row.get(7)?,
        from_digest: digest(row.get(8)?),
        to_digest: digest(row.get(9)?),
        call: None,
    };
    let receipt: Option<String> = row.get(10)?;
    let receipt = receipt.and_then(|receipt| serde_json::from_str(&receipt).ok());
    Ok(Some(Kept { entry, receipt, durable: true }))
}
