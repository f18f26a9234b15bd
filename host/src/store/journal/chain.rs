//! The chain: every entry and every receipt is a link, and each link's hash is made with that of the one before.
//!
//! ```text
//! hash = SHA-256(hash of the link before, in hex  +  a line feed  +  the link as canonical JSON)
//! ```
//!
//! Canonical means: keys in their order by bytes, no spaces. The first link follows [`BEGINNING`]. Entries name releases by
//! the digests of their contents, so the chain holds those as well.
//!
//! It has no key: whoever can write the file can write a whole new chain. What that cannot do is lead to a head that was
//! noted elsewhere before. Without a noted head, the chain shows accidents and careless hands; with one, it proves all that
//! is before it. What the bounds have dropped is gone: the hash before each stretch that is kept is kept with it.

mod verify;

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde_json::Value;

pub(super) use self::verify::verify;
pub use self::verify::{Broken, Verified, What};
use super::JournalError;
use crate::digest::Digest;

/// What the first link follows.
pub const BEGINNING: Digest = Digest::ZERO;

/// An entry.
pub(super) const ENTRY: &str = "entry";
/// An entry's receipt.
pub(super) const RECEIPT: &str = "receipt";
/// An entry that a version without a chain wrote, chained when the file was next opened.
pub(super) const LATE_ENTRY: &str = "late-entry";
/// A receipt of such a version.
pub(super) const LATE_RECEIPT: &str = "late-receipt";
/// What it was is gone by the bounds; the link after it needs its hash.
pub(super) const DROPPED: &str = "dropped";

/// The last link and its hash.
pub(super) fn last(connection: &Connection) -> Result<(u64, Digest), JournalError> {
    let select = "SELECT link, hash FROM links ORDER BY link DESC LIMIT 1";
    let last = connection.prepare_cached(select)?.query_row([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)));
    Ok(last.optional()?.map_or((0, BEGINNING), |(link, hash)| (link, hash.parse().unwrap_or(BEGINNING))))
}

/// Adds a link for what stands in the entry's row.
pub(super) fn add(connection: &Connection, what: &str, entry: u64) -> Result<(u64, Digest), JournalError> {
    let (last, before) = last(connection)?;
    let link = last + 1;
    let Some(content) = content(connection, what, link, entry)? else { return Ok((last, before)) };
    let hash = hash(before, &content);
    let insert = "INSERT INTO links (link, entry, what, hash) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(insert)?.execute(params![link, entry, what, hash.to_string()])?;
    Ok((link, hash))
}

/// Chains what a version without a chain has written.
pub(super) fn add_late(connection: &Connection) -> Result<(), JournalError> {
    let unlinked = |select: &str| -> Result<Vec<u64>, JournalError> {
        Ok(connection.prepare(select)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
    };
    for entry in unlinked(UNLINKED_ENTRIES)? {
        add(connection, LATE_ENTRY, entry)?;
    }
    for entry in unlinked(UNLINKED_RECEIPTS)? {
        add(connection, LATE_RECEIPT, entry)?;
    }
    Ok(())
}

const UNLINKED_ENTRIES: &str = "SELECT id FROM entries WHERE NOT EXISTS
    (SELECT 1 FROM links WHERE links.entry = entries.id AND what IN ('entry', 'late-entry')) ORDER BY id";

const UNLINKED_RECEIPTS: &str = "SELECT id FROM entries WHERE receipt IS NOT NULL AND NOT EXISTS
    (SELECT 1 FROM links WHERE links.entry = entries.id AND what IN ('receipt', 'late-receipt')) ORDER BY id";

fn hash(before: Digest, content: &str) -> Digest {
    Digest::of(format!("{before}\n{content}").as_bytes())
}

/// A link as it is hashed; none where its row, or its receipt, is not there.
fn content(connection: &Connection, what: &str, link: u64, entry: u64) -> Result<Option<String>, JournalError> {
    if [RECEIPT, LATE_RECEIPT].contains(&what) {
        let mut select = connection.prepare_cached("SELECT receipt FROM entries WHERE id = ?1")?;
        let receipt: Option<Option<String>> = select.query_row([entry], |row| row.get(0)).optional()?;
        // As it is written: receipts are canonical when they are attached.
        return Ok(receipt
            .flatten()
            .map(|receipt| format!("{{\"id\":{entry},\"link\":{link},\"receipt\":{receipt},\"what\":\"{what}\"}}")));
    }
    let mut select = connection.prepare_cached(
        "SELECT at, door, from_release, from_digest, kind, to_release, to_digest, who, why FROM entries WHERE id = ?1",
    )?;
    let content = select.query_row([entry], |row| {
        Ok(EntryLink {
            at: row.get(0)?,
            door: row.get(1)?,
            from: row.get(2)?,
            from_digest: row.get(3)?,
            id: entry,
            kind: row.get(4)?,
            link,
            to: row.get(5)?,
            to_digest: row.get(6)?,
            what,
            who: row.get(7)?,
            why: row.get(8)?,
        })
    });
    Ok(content.optional()?.map(|content| super::to_json(&content)))
}

/// An entry as it is hashed. The fields are in their order by bytes.
#[derive(Serialize)]
struct EntryLink<'a> {
    at: String,
    door: String,
    from: Option<u64>,
    from_digest: Option<String>,
    id: u64,
    kind: String,
    link: u64,
    to: Option<u64>,
    to_digest: Option<String>,
    what: &'a str,
    who: String,
    why: String,
}

/// JSON with the keys of its objects in their order by bytes, and no spaces.
pub(super) fn canonical(text: &str) -> String {
    fn write(value: &Value, out: &mut String) {
        match value {
            Value::Object(fields) => {
                // Sorted here: whether the map is depends on what other crates ask of it.
                let mut fields: Vec<_> = fields.iter().collect();
                fields.sort_by_key(|(key, _)| key.as_bytes());
                out.push('{');
                for (at, (key, value)) in fields.into_iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    out.push_str(&super::to_json(key));
                    out.push(':');
                    write(value, out);
                }
                out.push('}');
            }
            Value::Array(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    write(item, out);
                }
                out.push(']');
            }
            plain => out.push_str(&plain.to_string()),
        }
    }
    let Ok(value) = serde_json::from_str::<Value>(text) else { return super::to_json(&text) };
    let mut out = String::with_capacity(text.len());
    write(&value, &mut out);
    out
}

/// Some lines of the export.
pub struct Exported {
    /// A line of JSON for each entry, each with its line feed.
    pub lines: String,
    /// The last entry among them; none where there are no more.
    pub last: Option<u64>,
}

/// Entries after `since`: `entry` and `receipt` are links as they are hashed, byte for byte.
pub(super) fn export(connection: &Connection, since: u64, limit: usize) -> Result<Exported, JournalError> {
    let mut ids = connection.prepare("SELECT id FROM entries WHERE id > ?1 ORDER BY id LIMIT ?2")?;
    let ids: Vec<u64> = ids.query_map(params![since, limit], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut links = connection.prepare("SELECT link, what, hash FROM links WHERE entry = ?1 AND what != 'dropped'")?;
    let mut lines = String::new();
    for id in &ids {
        let [mut entry, mut receipt] = [const { None::<(String, String)> }; 2];
        for link in
            links.query_map([id], |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?)))?
        {
            let (link, what, hash) = link?;
            let Some(content) = content(connection, &what, link, *id)? else { continue };
            let which = if what.ends_with(RECEIPT) { &mut receipt } else { &mut entry };
            *which = Some((content, format!("\"{hash}\"")));
        }
        let null = || ("null".to_owned(), "null".to_owned());
        // Of an entry that is not chained yet, all but its link.
        let (entry, hash) = match entry {
            Some(entry) => entry,
            None => (content(connection, ENTRY, 0, *id)?.unwrap_or_else(|| "null".into()), "null".into()),
        };
        let (receipt, receipt_hash) = receipt.unwrap_or_else(null);
        lines +=
            &format!("{{\"entry\":{entry},\"hash\":{hash},\"receipt\":{receipt},\"receipt_hash\":{receipt_hash}}}\n");
    }
    Ok(Exported { lines, last: ids.last().copied() })
}
