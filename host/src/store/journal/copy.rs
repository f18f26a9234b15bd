//! `standing.json`: the last good copy of where the host stands, for the day on which the journal is not readable.
//!
//! Written whole and atomically by the journal's thread, a moment after each switch. It holds what a start needs: where the
//! host stood, what the doors had read, the numbers that were given, the chain's head, and the contents of the current
//! release and of those that `back` goes to, the nearest first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::chain::BEGINNING;
use super::{Recovered, Seen, from_json, to_json};
use crate::digest::Digest;
use crate::store::write_whole;
use crate::switch::standing::{Gist, Standing};

/// Bytes of releases' contents that are copied beside the current one: thousands of members, some steps back.
const CONTENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How far numbers and ids jump where the copy may be older than what is lost: none is to be given twice.
const JUMP: u64 = 100;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Copy {
    /// When it was made.
    pub(super) at: String,
    pub(super) standing: Option<Standing>,
    pub(super) seen: Vec<Seen>,
    pub(super) last_number: u64,
    pub(super) last_id: u64,
    pub(super) links: u64,
    pub(super) head: Digest,
    /// A link, and its hash, that the journal did not have any more at a start.
    #[serde(default)]
    pub(super) missed: Option<(u64, Digest)>,
    /// Contents by number, as JSON in text.
    pub(super) releases: BTreeMap<u64, String>,
}

impl Default for Copy {
    fn default() -> Self {
        Self {
            at: String::new(),
            standing: None,
            seen: Vec::new(),
            last_number: 0,
            last_id: 0,
            links: 0,
            head: BEGINNING,
            missed: None,
            releases: BTreeMap::new(),
        }
    }
}

impl Copy {
    /// The one beside the journal, if there is one that can be read and says where the host stood.
    pub(super) fn read(journal: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path(journal)).ok()?;
        from_json("the copy", &text).ok().filter(|copy: &Self| copy.standing.is_some())
    }

    pub(super) fn write(&self, journal: &Path) -> std::io::Result<()> {
        write_whole(&path(journal), to_json(self).as_bytes())
    }

    /// What a start goes on from. None of the numbers that it may not know of is given again.
    pub(super) fn recovered(&self) -> Recovered {
        let gists = self.releases.iter().filter_map(|(number, text)| Some((*number, Gist::read(text)?))).collect();
        Recovered { standing: self.standing.clone(), gists, last_number: self.last_number, seen: self.seen.clone() }
    }

    /// Skips numbers and ids that may have been given after it was written.
    pub(super) fn jump(&mut self, (number, id): (u64, u64)) {
        self.last_number = self.last_number.max(number) + JUMP;
        self.last_id = self.last_id.max(id) + JUMP;
    }

    pub(super) fn note_seen(&mut self, seen: &Seen) {
        match self.seen.iter_mut().find(|known| (known.door, &known.name) == (seen.door, &seen.name)) {
            Some(known) => known.clone_from(seen),
            None => self.seen.push(seen.clone()),
        }
    }

    /// Takes the contents that it needs from what it has and from `content`, and leaves out what is beyond its size.
    pub(super) fn gather(&mut self, reach: usize, content: impl Fn(u64) -> Option<String>) {
        let Some(standing) = &self.standing else { return };
        let mut left = CONTENT_BYTES_MAX;
        let mut gathered = BTreeMap::new();
        for (steps, number) in standing.reach(reach).into_iter().enumerate() {
            let Some(text) = self.releases.remove(&number).or_else(|| content(number)) else { continue };
            if steps == 0 || text.len() <= left {
                left = left.saturating_sub(text.len());
                gathered.insert(number, text);
            }
        }
        self.releases = gathered;
    }
}

/// Links that the copy knows of, and their hashes: the last, and one that was missed at a start.
pub(super) fn links(journal: &Path) -> Vec<(u64, Digest)> {
    Copy::read(journal)
        .map(|copy| copy.missed.into_iter().chain([(copy.links, copy.head)]).collect())
        .unwrap_or_default()
}

fn path(journal: &Path) -> PathBuf {
    journal.with_file_name("standing.json")
}
