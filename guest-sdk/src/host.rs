//! What a policy may ask the proxy beside the request: the time, chance, and how busy a pool is.
//!
//! It must ask here, and not the standard library, whose clock does not run inside a policy: a decision can be made
//! again later only if all that went into it came from the proxy.

use std::time::Duration;

use crate::answerer;

/// How busy a pool is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Members the pool has.
    pub members: u32,
    /// Requests in flight to them, over the whole proxy.
    pub in_flight: u32,
}

/// The time since 1970-01-01 UTC when this decision began; the same for the whole of it.
pub fn now() -> Duration {
    Duration::from_nanos(answerer::now())
}

/// The next number of this decision's own random sequence.
pub fn random() -> u64 {
    answerer::random()
}
