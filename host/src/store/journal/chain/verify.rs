//! Goes through the chain, and names the first link that does not hold.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::{BEGINNING, DROPPED, LATE_ENTRY, LATE_RECEIPT, UNLINKED_ENTRIES, UNLINKED_RECEIPTS, content, hash};
use crate::digest::Digest;
use crate::spec::Spec;
use crate::store::journal::JournalError;

/// What was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verified {
    /// Whether everything that is kept holds.
    pub whole: bool,
    /// The first link that does not, or what else is wrong.
    pub broken: Option<Broken>,
    /// The number of the last link.
    pub links: u64,
    /// Its hash.
    pub head: Digest,
    /// Links whose content is kept, and was hashed again.
    pub checked: u64,
    /// Links up to this one may have been dropped by the bounds; zero where none was.
    pub dropped_up_to: u64,
    /// Links of entries that a version without a chain wrote: chained when the file was next opened.
    pub late: u64,
    /// Releases whose content is what their digest says.
    pub releases: u64,
    /// The link that the head is of which was noted elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noted: Option<u64>,
    /// Records that are not on the disk yet, and so in no link.
    pub waiting: usize,
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// In what way.
    pub what: What,
    /// The link.
    pub link: Option<u64>,
    /// Its entry.
    pub entry: Option<u64>,
    /// In a sentence.
    pub message: String,
}

/// In what way a chain is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It says something else than when it was chained.
    Changed,
    /// It is not there.
    Missing,
    /// It stands in another's place.
    Reordered,
    /// The end is not there.
    CutOff,
    /// It is in no link.
    NotChained,
    /// A release's content is not what its digest says.
    Release,
}

struct Row {
    link: u64,
    entry: u64,
    what: String,
    hash: String,
}

/// `known` are links that must be there, as this host has seen them; `noted` is a head that somebody noted.
pub(in crate::store::journal) fn verify(
    connection: &Connection,
    known: &[(u64, Digest)],
    noted: Option<Digest>,
) -> Result<Verified, JournalError> {
    // One look at one state of the file, whatever is written meanwhile.
    connection.execute_batch("BEGIN")?;
    let floor: u64 = connection.query_row("SELECT floor FROM chain", [], |row| row.get(0))?;
    let mut select = connection.prepare("SELECT link, entry, what, hash FROM links ORDER BY link")?;
    let rows = select
        .query_map([], |row| Ok(Row { link: row.get(0)?, entry: row.get(1)?, what: row.get(2)?, hash: row.get(3)? }))?;
    let rows: Vec<Row> = rows.collect::<Result<_, _>>()?;
    let hashes: BTreeMap<u64, Digest> =
        rows.iter().filter_map(|row| Some((row.link, row.hash.parse().ok()?))).collect();
    let (links, head) = hashes.last_key_value().map_or((0, BEGINNING), |(link, hash)| (*link, *hash));
    let late = rows.iter().filter(|row| [LATE_ENTRY, LATE_RECEIPT].contains(&&*row.what)).count() as u64;
    let noted_link = noted.and_then(|noted| {
        let is_it = |(link, hash): (&u64, &Digest)| (*hash == noted).then_some(*link);
        hashes.iter().find_map(is_it).or_else(|| (noted == BEGINNING && floor == 0).then_some(0))
    });
    let (mut checked, mut releases) = (0, 0);
    let broken = match walk(connection, &rows, floor, &mut checked)? {
        Some(broken) => Some(broken),
        None => {
            let ends = known.iter().find_map(|(link, hash)| ends(&hashes, links, *link, *hash));
            let noted = noted.filter(|_| noted_link.is_none()).map(|noted| unknown_head(noted, links, floor));
            let broken = ends.or(noted);
            let broken = broken.map_or_else(|| not_chained(connection), |broken| Ok(Some(broken)))?;
            broken.map_or_else(|| contents(connection, &mut releases), |broken| Ok(Some(broken)))?
        }
    };
    let whole = broken.is_none();
    Ok(Verified {
        whole,
        broken,
        links,
        head,
        checked,
        dropped_up_to: floor,
        late,
        releases,
        noted: noted_link,
        waiting: 0,
    })
}

/// Hashes every link again; answers the first that does not hold.
fn walk(connection: &Connection, rows: &[Row], floor: u64, checked: &mut u64) -> Result<Option<Broken>, JournalError> {
    let broken = |what, row: &Row, message: String| {
        Ok(Some(Broken { what, link: Some(row.link), entry: Some(row.entry), message }))
    };
    let mut before = Some((0, BEGINNING));
    for row in rows {
        let Row { link, entry, what, hash: stated } = row;
        let follows = before.filter(|(before, _)| before + 1 == *link).map(|(_, hash)| hash);
        if follows.is_none() && link - 1 > floor {
            let missing = before.map_or(0, |(before, _)| before) + 1;
            let message = format!("link {missing} is missing: link {link} comes next");
            return Ok(Some(Broken { what: What::Missing, link: Some(missing), entry: None, message }));
        }
        let Ok(stated) = stated.parse::<Digest>() else {
            return broken(What::Changed, row, format!("the hash of link {link} (entry {entry}) is none"));
        };
        before = Some((*link, stated));
        if what == DROPPED {
            if *link > floor {
                let message = format!(
                    "entry {entry} (link {link}) is missing: it is said to be dropped, and is too young for that"
                );
                return broken(What::Missing, row, message);
            }
            continue;
        }
        let Some(content) = content(connection, what, *link, *entry)? else {
            return broken(What::Missing, row, format!("the {what} {entry} (link {link}) is missing"));
        };
        let Some(follows) = follows else {
            return broken(What::Missing, row, format!("link {} is missing, which link {link} needs", link - 1));
        };
        if hash(follows, &content) != stated {
            if let Some(place) = whose_place(connection, rows, row, follows)? {
                let message = format!("link {link} is out of order: what stands at link {place} was chained here");
                return broken(What::Reordered, row, message);
            }
            return broken(What::Changed, row, format!("the {what} {entry} (link {link}) was changed"));
        }
        *checked += 1;
    }
    Ok(None)
}

/// The link whose content was chained in the place of `row`, if there is one.
fn whose_place(connection: &Connection, rows: &[Row], row: &Row, follows: Digest) -> Result<Option<u64>, JournalError> {
    for other in rows.iter().filter(|other| other.link != row.link && other.what != DROPPED) {
        let content = content(connection, &other.what, row.link, other.entry)?;
        let fits = content.map(|content| hash(follows, &content).to_string());
        if fits.is_some_and(|fits| fits == other.hash || fits == row.hash) {
            return Ok(Some(other.link));
        }
    }
    Ok(None)
}

/// What is wrong with the end, as far as this host has seen it.
fn ends(hashes: &BTreeMap<u64, Digest>, links: u64, link: u64, hash: Digest) -> Option<Broken> {
    if link > links {
        let message = format!("cut off at the end: the last link is {links}, and there was a link {link}");
        return Some(Broken { what: What::CutOff, link: Some(links + 1), entry: None, message });
    }
    // Dropped since, or the same.
    let is_same = hashes.get(&link).is_none_or(|found| *found == hash);
    let message = || format!("link {link} is another than this host has written: the chain was written anew");
    (!is_same).then(|| Broken { what: What::Changed, link: Some(link), entry: None, message: message() })
}

fn unknown_head(noted: Digest, links: u64, floor: u64) -> Broken {
    let dropped =
        if floor == 0 { String::new() } else { format!(", or it is of one of the {floor} links that were dropped") };
    let message = format!(
        "no link has the hash {noted}: the journal was cut off before it, or written anew{dropped}; the last link is {links}"
    );
    Broken { what: What::CutOff, link: None, entry: None, message }
}

fn not_chained(connection: &Connection) -> Result<Option<Broken>, JournalError> {
    for (what, select) in [("entry", UNLINKED_ENTRIES), ("receipt", UNLINKED_RECEIPTS)] {
        let entry: Option<u64> = connection.query_row(select, [], |row| row.get(0)).optional()?;
        if let Some(entry) = entry {
            let message = format!("the {what} {entry} is in no link: an earlier version, or somebody else, wrote it");
            return Ok(Some(Broken { what: What::NotChained, link: None, entry: Some(entry), message }));
        }
    }
    Ok(None)
}

/// Checks the contents of releases against their digests, and those against what entries say of them.
fn contents(connection: &Connection, checked: &mut u64) -> Result<Option<Broken>, JournalError> {
    let broken = |message| Ok(Some(Broken { what: What::Release, link: None, entry: None, message }));
    let mut said: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    let mut select = connection.prepare(
        "SELECT from_release, from_digest FROM entries WHERE from_digest IS NOT NULL
         UNION SELECT to_release, to_digest FROM entries WHERE to_digest IS NOT NULL",
    )?;
    for row in select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))? {
        let (number, digest): (Option<u64>, String) = row?;
        said.entry(number.unwrap_or(0)).or_default().insert(digest);
    }
    let mut select = connection.prepare("SELECT number, digest, spec FROM releases ORDER BY number")?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    for row in rows {
        let (number, digest, spec): (u64, String, String) = row?;
        let is = serde_json::from_str::<Spec>(&spec).map(|spec| spec.digest().to_string());
        if is.as_ref().ok() != Some(&digest) {
            return broken(format!("the content of r{number} is not what its digest says"));
        }
        if let Some(other) = said.get(&number).and_then(|said| said.iter().find(|said| **said != digest)) {
            return broken(format!("r{number} is another release than the entries say: {other} was current"));
        }
        *checked += 1;
    }
    Ok(None)
}
