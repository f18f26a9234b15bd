//! How large the journal may grow, and what goes first.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};

use super::chain::DROPPED;
use super::rows::content_of;
use super::{JournalError, from_json};
use crate::digest::Digest;
use crate::switch::standing::{Policies, Standing};

/// How large the journal may grow. What the trail names, what is pinned and what pinned entries name comes on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Entries kept; older ones are dropped, some at a time.
    pub entries_max: u64,
    /// Bytes of the file that are used. Free ones are given back in pieces, when nothing else is to be written.
    pub bytes_max: u64,
    /// Releases kept beyond those on the trail.
    pub releases_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        // Contents of a hundred kilobytes each for all of the releases, twice over.
        Self { entries_max: ENTRIES_MAX as u64, bytes_max: 64 * 1024 * 1024, releases_max: 200 }
    }
}

/// The builds that releases name, by their numbers and digests. By both: in a file that was edited the one alone may be that
/// of another, and what is not named is removed.
pub(super) type Named = BTreeMap<(u64, String), Vec<Digest>>;

/// Entries that are kept unless told otherwise: some months of switches.
pub const ENTRIES_MAX: usize = 10_000;

/// Pins that there can be: whoever pins everything has no bounds.
pub(super) const PINS_MAX: u64 = 1_000;

/// Entries that stay even where the bytes are not enough for them: what happened last.
const ENTRIES_MIN: u64 = 50;

/// Pages that are given back at a time.
const PAGES_AT_ONCE: u32 = 256;

/// Free pages from which on a file that cannot give them back in pieces is made anew.
const PAGES_FREE_MAX: u64 = 2_048;

impl Bounds {
    /// Drops some of what is beyond; answers whether there is more to do. Each step is one transaction.
    pub(super) fn trim(self, file: &mut Connection, standing: Option<&Standing>) -> Result<bool, JournalError> {
        let entries: u64 = file.query_row("SELECT COUNT(*) FROM entries", [], |row| row.get(0))?;
        let pinned: u64 = file.query_row("SELECT COUNT(*) FROM pins", [], |row| row.get(0))?;
        let free_to_go = entries.saturating_sub(pinned);
        // A part more than is needed, so that it is not done for each entry.
        if free_to_go > self.entries_max {
            drop_entries(file, free_to_go - self.entries_max + self.entries_max / 16)?;
            return Ok(true);
        }
        if used_bytes(file)? > self.bytes_max {
            let releases = drop_releases(file, standing, self.releases_max.min(count_releases(file)? * 7 / 8))?;
            let entries = free_to_go.saturating_sub(ENTRIES_MIN).min(free_to_go / 8 + 1);
            drop_entries(file, entries)?;
            if releases > 0 || entries > 0 {
                return Ok(true);
            }
        }
        give_back(file)
    }
}

/// Bytes of the file that hold something.
pub(super) fn used_bytes(file: &Connection) -> Result<u64, JournalError> {
    let pragma = |name: &str| file.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    Ok((pragma("page_count")?.saturating_sub(pragma("freelist_count")?)) * pragma("page_size")?)
}

fn count_releases(file: &Connection) -> Result<u64, JournalError> {
    Ok(file.query_row("SELECT COUNT(*) FROM releases", [], |row| row.get(0))?)
}

/// Drops the oldest that are not pinned, with their receipts. Of their links, the hash stays that a later one follows.
fn drop_entries(file: &mut Connection, number: u64) -> Result<(), JournalError> {
    if number == 0 {
        return Ok(());
    }
    let transaction = file.transaction()?;
    let oldest = "SELECT id FROM entries WHERE id NOT IN (SELECT entry FROM pins) ORDER BY id LIMIT 1 OFFSET ?1";
    let up_to: u64 = transaction.query_row(oldest, [number - 1], |row| row.get(0))?;
    let dropped = "entry IN (SELECT id FROM entries WHERE id <= ?1 AND id NOT IN (SELECT entry FROM pins))";
    let update = "UPDATE chain SET floor = MAX(floor, (SELECT COALESCE(MAX(link), 0) FROM links WHERE ";
    transaction.execute(&format!("{update} {dropped}))"), [up_to])?;
    transaction.execute(&format!("UPDATE links SET what = ?2 WHERE {dropped}"), params![up_to, DROPPED])?;
    transaction.execute("DELETE FROM entries WHERE id <= ?1 AND id NOT IN (SELECT entry FROM pins)", [up_to])?;
    transaction.execute(
        "DELETE FROM links WHERE what = ?1 AND link < (SELECT MAX(link) FROM links)
         AND NOT EXISTS (SELECT 1 FROM links AS next WHERE next.link = links.link + 1 AND next.what != ?1)",
        [DROPPED],
    )?;
    transaction.commit()?;
    Ok(())
}

/// Drops releases beyond the newest `keep` that nobody needs; answers how many.
pub(super) fn drop_releases(file: &Connection, standing: Option<&Standing>, keep: u64) -> Result<usize, JournalError> {
    // Where it is not known what the host stands on, nothing can be spared.
    let Some(standing) = standing else { return Ok(0) };
    let needed: BTreeSet<String> = standing.releases().map(|number| number.to_string()).collect();
    let needed = needed.into_iter().collect::<Vec<_>>().join(",");
    // Numbers, joined by us: there is nothing to escape. The newest stays: it says which number comes next.
    let dropped = file.execute(
        &format!(
            "DELETE FROM releases WHERE number NOT IN (SELECT number FROM releases ORDER BY number DESC LIMIT MAX(?1, 1))
             AND number NOT IN ({needed}) AND number NOT IN
             (SELECT from_release FROM entries JOIN pins ON entry = id WHERE from_release IS NOT NULL
              UNION SELECT to_release FROM entries JOIN pins ON entry = id WHERE to_release IS NOT NULL)"
        ),
        [keep],
    )?;
    Ok(dropped)
}

/// The builds that the kept releases name. What each names is read once: all of them, after each switch that lets go of
/// one, would be megabytes of text.
pub(super) fn builds(file: &Connection, named: &mut Named) -> Result<Vec<Digest>, JournalError> {
    let mut select = file.prepare_cached("SELECT number, digest FROM releases")?;
    let kept: BTreeSet<(u64, String)> =
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    named.retain(|release, _| kept.contains(release));
    for release in kept {
        if let Entry::Vacant(new) = named.entry(release)
            && let Some(text) = content_of(file, new.key().0)?
        {
            let Policies { policies } = from_json("a release", &text)?;
            new.insert(policies.into_values().filter_map(|policy| policy.digest).collect());
        }
    }
    Ok(named.values().flatten().copied().collect())
}

/// Gives free pages back to the disk, some at a time; answers whether there are more. What is killed in between has
/// given back what it has.
fn give_back(file: &Connection) -> Result<bool, JournalError> {
    let pragma = |name: &str| file.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    let free = pragma("freelist_count")?;
    if pragma("auto_vacuum")? == 0 {
        // Made by a version that did not ask for it. Once, and whole.
        if free > PAGES_FREE_MAX {
            file.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; VACUUM")?;
        }
        return Ok(false);
    }
    if free <= u64::from(PAGES_AT_ONCE) {
        return Ok(false);
    }
    let mut give_back = file.prepare(&format!("PRAGMA incremental_vacuum({PAGES_AT_ONCE})"))?;
    let mut rows = give_back.query([])?;
    while rows.next()?.is_some() {}
    Ok(true)
}
