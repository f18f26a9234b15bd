//! What a switch answers: what was done, how fast, and whether the disk knows.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::release::Release;
use crate::store::journal::{Door, Entry, Kind};

/// Who wants a change, through which door, and why.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The door.
    pub door: Door,
    /// A person's or program's name, as it was given.
    pub who: String,
    /// The reason, as it was given.
    pub why: String,
    /// Whether it is wanted even if all members of a pool are sick.
    pub force: bool,
    /// Whether it may go back over a point of no return.
    pub over_fence: bool,
    /// Goes back by itself unless it is confirmed within this time.
    pub confirm_within: Option<std::time::Duration>,
    /// Why the release that it makes is a point of no return, if it is.
    pub fence: Option<String>,
}

impl Origin {
    /// The host itself.
    pub fn host(why: impl Into<String>) -> Self {
        Self::through(Door::Host, "switchback", why)
    }

    /// Through a door, and as usual in everything else.
    pub fn through(door: Door, who: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            door,
            who: who.into(),
            why: why.into(),
            force: false,
            over_fence: false,
            confirm_within: None,
            fence: None,
        }
    }

    pub(super) fn entry(&self, kind: Kind, from: Option<u64>, to: Option<u64>, why: String) -> Entry {
        Entry { id: 0, at: crate::time::rfc3339_now(), kind, door: self.door, who: self.who.clone(), why, from, to }
    }
}

/// Names a release to people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseName {
    /// Its number.
    pub number: u64,
    /// The digest of its content.
    pub digest: Digest,
}

impl From<&Release> for ReleaseName {
    fn from(release: &Release) -> Self {
        Self { number: release.number, digest: release.digest }
    }
}

/// The receipt of a switch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// The journal's entry; none while it is not durable.
    pub id: Option<u64>,
    /// What was done.
    pub action: Kind,
    /// The release that was current.
    pub from: ReleaseName,
    /// The release that is.
    pub to: ReleaseName,
    /// Whether anything changed: a change to what is there already makes no release.
    pub changed: bool,
    /// The door it came through.
    pub door: Door,
    /// Who asked.
    pub who: String,
    /// Why.
    pub why: String,
    /// Wall time of the receipt, RFC 3339.
    pub at: String,
    /// How it went.
    #[serde(flatten)]
    pub timing: Timing,
    /// Whether it would survive a crash.
    pub durable: bool,
}

/// How a switch went, counted from the swap.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Timing {
    /// Microseconds until every worker had switched.
    pub switched_in_micros: u64,
    /// Microseconds until the last decision by the old release; zero when none came after the swap.
    pub last_old_decision_micros: u64,
    /// Requests the old release decided that were still in flight then.
    pub in_flight_on_old: u32,
}

impl Receipt {
    pub(super) fn new(
        action: Kind,
        origin: &Origin,
        from: &Release,
        to: &Release,
        timing: Timing,
        entry: Option<u64>,
    ) -> Self {
        Self {
            id: entry,
            action,
            changed: from.number != to.number,
            from: from.into(),
            to: to.into(),
            door: origin.door,
            who: origin.who.clone(),
            why: origin.why.clone(),
            at: crate::time::rfc3339_now(),
            timing,
            durable: entry.is_some(),
        }
    }

    /// The receipt of a change that found everything as it wanted.
    pub(super) fn unchanged(origin: &Origin, current: &Release) -> Self {
        let mut receipt = Self::new(Kind::Activate, origin, current, current, Timing::default(), None);
        receipt.durable = true;
        receipt
    }
}
