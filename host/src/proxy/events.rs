//! What became of members, as people want to know it: an event with its reason, in the log and to be asked for.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::address::Address;

/// Events that are kept.
const EVENTS_MAX: usize = 1000;

/// The last events.
#[derive(Default)]
pub struct Events(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    number: u64,
    events: VecDeque<Event>,
}

/// Something changed that requests depend on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Rises with every event.
    pub number: u64,
    /// Wall time, RFC 3339.
    pub at: String,
    /// What changed.
    pub kind: EventKind,
    /// The pool it was seen in; none where it is the same in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The member; none where it is of the whole pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Address>,
    /// Why.
    pub reason: String,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// Checks find a member fit.
    Healthy,
    /// Checks find a member unfit.
    Sick,
    /// A member is left alone for what it did to requests.
    LeftAlone,
    /// It is not any more.
    CameBack,
    /// Too few members of a pool are fit: all are used.
    Panic,
    /// Enough are again.
    Calm,
    /// Other members of a pool were found than before.
    Found,
    /// A release is watched after its activation, or has been.
    Watched,
    /// A release does worse than the one before.
    Worse,
    /// It does, but so do vips that the change has nothing to do with.
    Excused,
    /// The host went back by itself, and waits for a person.
    WentBack,
    /// `back` could be pressed, and would serve at once.
    BackReady,
    /// It could not, or there is nowhere to go.
    BackNotReady,
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::Sick => "sick",
            Self::LeftAlone => "left alone",
            Self::CameBack => "came back",
            Self::Panic => "panic",
            Self::Calm => "calm",
            Self::Found => "found",
            Self::Watched => "watched",
            Self::Worse => "worse",
            Self::Excused => "excused",
            Self::WentBack => "went back",
            Self::BackReady => "back ready",
            Self::BackNotReady => "back not ready",
        })
    }
}

impl Events {
    /// Tells of a change.
    pub fn tell(&self, kind: EventKind, pool: Option<&str>, member: Option<&Address>, reason: String) {
        match kind {
            EventKind::Healthy
            | EventKind::BackReady
            | EventKind::CameBack
            | EventKind::Calm
            | EventKind::Found
            | EventKind::Watched => {
                tracing::info!(?kind, pool, member = member.map(tracing::field::display), "{reason}");
            }
            _ => tracing::warn!(?kind, pool, member = member.map(tracing::field::display), "{reason}"),
        }
        let mut kept = self.kept();
        kept.number += 1;
        if kept.events.len() == EVENTS_MAX {
            kept.events.pop_front();
        }
        let (number, at, pool) = (kept.number, crate::time::rfc3339_now(), pool.map(Into::into));
        kept.events.push_back(Event { number, at, kind, pool, member: member.cloned(), reason });
    }

    /// The last events, newest first.
    pub fn last(&self, limit: usize) -> Vec<Event> {
        self.kept().events.iter().rev().take(limit).cloned().collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
