//! The latch: after the host has gone back by itself, it does no more of that until a person has switched.
//!
//! Whatever made the release before look better may have passed by now, or may be the same for both: going back and forth,
//! or further and further back, would only add to it.

use serde::{Deserialize, Serialize};

use super::Switch;
use super::receipt::{Origin, Receipt};
use super::standing::Standing;
use crate::store::journal::{Door, Record};

/// That the host has gone back by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latch {
    /// The release that it left.
    pub release: u64,
    /// Wall time, RFC 3339.
    pub at: String,
    /// Why.
    pub why: String,
}

impl Standing {
    /// Somebody has switched: if that was not the host, the latch is open again.
    pub(super) fn switched_by(&mut self, origin: &Origin) {
        if origin.door != Door::Host {
            self.latch = None;
        }
    }
}

impl Switch {
    /// Whether the host is to leave it to people to switch.
    pub fn is_latched(&self) -> bool {
        self.state().standing.latch.is_some()
    }

    /// The host has gone back by itself, and waits for a person from now on; unless one has switched meanwhile.
    pub(super) fn latch(&self, went: &Receipt) {
        let mut state = self.state();
        if state.standing.trail.current() != went.to.number {
            return;
        }
        let latch = Latch { release: went.from.number, at: went.at.clone(), why: went.why.clone() };
        state.standing.latch = Some(latch);
        // Told under the lock, as with switches.
        let standing = Some(state.standing.clone());
        drop(self.journal.write_after(Record { standing, ..Record::default() }));
    }
}
