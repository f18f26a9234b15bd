//! The ends that a case may come to, and when each of them is reached.

use std::fmt;

use super::ledger::Ledger;
use super::wire::NO_ERROR;

/// Whether GOAWAY may have another error code than the RFC names, if the connection is closed after it. Libraries
/// say PROTOCOL_ERROR of every frame and header block that they cannot read, and black-box testers let that pass:
/// no client can make anything of the difference. Without this, each code must be the exact one.
const ANY_CODE: bool = true;

/// One end that a case may come to.
pub(crate) enum Outcome {
    /// GOAWAY with one of these codes (see [`ANY_CODE`]), or the connection is closed without a word.
    ConnectionError(&'static [u32]),
    /// RST_STREAM with one of these codes; a connection error is allowed in its place.
    StreamError(u32, &'static [u32]),
    /// An answer to its end, on a connection that lives on.
    Answered(u32, u16),
    /// The connection lives on and this holds.
    Holds(&'static str, fn(&Ledger) -> bool),
}

impl Outcome {
    /// Whether it is reached, given whether the connection has shown that it lives on.
    pub(crate) fn is_reached(&self, seen: &Ledger, alive: bool) -> bool {
        let failed = |codes: &[u32]| match seen.goaways.last() {
            Some(code) => codes.contains(code) || (seen.closed && *code != NO_ERROR && ANY_CODE),
            None => seen.closed,
        };
        match self {
            Self::ConnectionError(codes) => failed(codes),
            Self::StreamError(stream, codes) => {
                failed(codes)
                    || seen
                        .answers
                        .get(stream)
                        .and_then(|answer| answer.reset)
                        .is_some_and(|code| codes.contains(&code))
            }
            Self::Answered(stream, status) => {
                let answer = seen.answers.get(stream);
                alive
                    && seen.goaways.is_empty()
                    && answer.is_some_and(|answer| answer.ended && answer.status == Some(*status))
            }
            Self::Holds(_, holds) => alive && seen.goaways.is_empty() && holds(seen),
        }
    }

    /// Whether it can no longer be reached on a connection that has shown that it lives on.
    pub(crate) fn is_missed(&self, seen: &Ledger) -> bool {
        match self {
            Self::ConnectionError(_) => true,
            Self::StreamError(stream, _) => seen.answer(*stream).is_over(),
            Self::Answered(stream, status) => {
                let answer = seen.answer(*stream);
                answer.is_over() || answer.status.is_some_and(|seen| seen != *status)
            }
            Self::Holds(..) => false,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectionError(codes) => write!(f, "GOAWAY {codes:x?} or closed"),
            Self::StreamError(stream, codes) => write!(f, "RST_STREAM {codes:x?} on {stream} or GOAWAY or closed"),
            Self::Answered(stream, status) => write!(f, "{status} on stream {stream}"),
            Self::Holds(what, _) => f.write_str(what),
        }
    }
}
