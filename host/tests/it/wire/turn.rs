//! What may come of a case: alternatives, each one turn after another.

use std::fmt;

use super::seen::{Gets, Seen};

/// All that may come of a case: alternatives, each one turn after another.
#[derive(Clone)]
pub(super) struct Then(pub(super) Vec<Vec<Turn>>);

/// What comes of one request.
#[derive(Clone)]
pub(super) enum Turn {
    /// The member gets this, and the client gets the member's answer to it.
    Served(Seen),
    /// One of these statuses, then the end; the member sees nothing at all.
    Refused(&'static [u16]),
    /// As refused, but the member may see a beginning, never an end.
    Cut(&'static [u16]),
    /// The end without an answer; the member may see a beginning, never an end.
    Closed,
    /// One of these statuses, by us; the member sees nothing, and the connection may go on.
    Answered(&'static [u16]),
    /// The member's answer arrives like this.
    Relayed(Gets),
    /// One of these statuses, by us, in place of the member's answer. Its connection is not used again.
    Failed(&'static [u16]),
    /// The beginning of an answer with some of this content, and an end that is no end. Likewise.
    Aborted(&'static [u8]),
    /// The end without an answer, though the member was asked. Likewise.
    Dropped,
}

pub(super) fn refused(statuses: &'static [u16]) -> Then {
    Turn::Refused(statuses).into()
}

pub(super) fn cut(statuses: &'static [u16]) -> Then {
    Turn::Cut(statuses).into()
}

pub(super) fn answered(statuses: &'static [u16]) -> Then {
    Turn::Answered(statuses).into()
}

pub(super) fn closed() -> Then {
    Turn::Closed.into()
}

/// Nothing that could be read was sent whole: an error for who still listens, or the end.
pub(super) fn incomplete() -> Then {
    cut(&[400, 408]).or(closed())
}

/// The member's answer never counts as one, whether or not some of it was on its way.
pub(super) fn broken(content: &'static [u8]) -> Then {
    failed().or(Turn::Aborted(content)).or(Turn::Dropped)
}

pub(super) fn failed() -> Then {
    Turn::Failed(&[502]).into()
}

impl Then {
    /// Or this instead.
    pub(super) fn or(mut self, other: impl Into<Self>) -> Self {
        self.0.extend(other.into().0);
        self
    }

    /// And this after it, on the same connection.
    pub(super) fn next(self, other: impl Into<Self>) -> Self {
        let other = other.into();
        let rows = self.0.iter().flat_map(|row| other.0.iter().map(|next| [&row[..], next].concat()));
        Self(rows.collect())
    }
}

impl From<Turn> for Then {
    fn from(turn: Turn) -> Self {
        Self(vec![vec![turn]])
    }
}

impl From<Seen> for Then {
    fn from(seen: Seen) -> Self {
        Turn::Served(seen).into()
    }
}

impl From<Gets> for Then {
    fn from(gets: Gets) -> Self {
        Turn::Relayed(gets).into()
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Served(seen) => write!(f, "{} {} served", seen.method, seen.target),
            Self::Refused(statuses) => write!(f, "{statuses:?}, nothing at the member, and the end"),
            Self::Cut(statuses) => write!(f, "{statuses:?}, nothing whole at the member, and the end"),
            Self::Closed => write!(f, "the end"),
            Self::Answered(statuses) => write!(f, "{statuses:?} by us"),
            Self::Relayed(gets) => write!(f, "{} and its content", gets.status),
            Self::Failed(statuses) => write!(f, "{statuses:?} in place of the member's answer"),
            Self::Aborted(_) => write!(f, "an answer that breaks off"),
            Self::Dropped => write!(f, "no answer, and the end"),
        }
    }
}
