//! Everything that is timed and counted.

pub mod decision;
pub mod head;
pub mod headers;
pub mod router;
pub mod balancer;
pub mod exchange;

use crate::Planned;
use crate::ends::Carrier;

/// All of them that are counted: those over TCP depend on what the kernel does when.
pub fn all() -> Vec<Planned> {
    let mut all = exchange::pieces(Carrier::Unix);
    all.extend(decision::pieces());
    all.extend(head::pieces());
    all.extend(headers::pieces());
    all.extend(router::pieces());
    all.extend(balancer::pieces());
    all
}
