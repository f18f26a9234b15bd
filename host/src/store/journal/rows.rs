//! Rows of the tables: how records are written, and read again.

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use super::copy::Copy;
use super::file::Found;
use super::known::{CALLS_MAX, Kept};
use super::{Call, Entry, JournalError, Record, Seen, chain, from_json, from_word, to_json, word};
use crate::digest::Digest;
use crate::spec::Spec;
use crate::switch::standing::Standing;

/// Chains what an earlier version has written on the file.
pub(super) fn late(file: &mut Connection, found: Found) -> Result<Found, JournalError> {
    let transaction = file.transaction_with_behavior(TransactionBehavior::Immediate)?;
    chain::add_late(&transaction)?;
    let (links, head) = chain::last(&transaction)?;
    transaction.commit()?;
    Ok(Found { links, head, ..found })
}

/// Begins a new file where the copy ends: its chain goes on from the last head that is known.
pub(super) fn begin(file: &mut Connection, copy: &Copy) -> Result<(), JournalError> {
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

pub(super) fn write_record(file: &Connection, record: &Record) -> Result<(), JournalError> {
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
pub(super) fn write_entry(file: &Connection, mut entry: Entry) -> Result<Entry, JournalError> {
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

pub(super) fn content_of(file: &Connection, number: u64) -> Result<Option<String>, JournalError> {
    let mut select = file.prepare_cached("SELECT spec FROM releases WHERE number = ?1")?;
    Ok(select.query_row([number], |row| row.get(0)).optional()?)
}

pub(super) const SELECT: &str =
    "SELECT id, at, kind, door, who, why, from_release, to_release, from_digest, to_digest, receipt FROM entries";

/// A row as [`SELECT`] has it; none where a later version has written what this one has no word for.
pub(super) fn kept(row: &Row<'_>) -> rusqlite::Result<Option<Kept>> {
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
