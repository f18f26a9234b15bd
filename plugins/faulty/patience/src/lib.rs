//! How long a faulty policy behaves.
//!
//! Staging asks a policy a few probe requests. One that misbehaved at once would never see traffic; these wait, and
//! bite where it hurts. With `{ "after": 0 }` they are for staging to catch. Other settings are not looked at, so that
//! such a policy can take the place of any other, with the configuration written for that one.

use std::cell::Cell;

use serde::Deserialize;

/// The configuration of a policy that behaves for a while.
#[derive(Debug, Deserialize)]
pub struct Patience {
    /// How many decisions of an instance go well.
    #[serde(default = "more_than_probes")]
    after: u32,
    #[serde(skip)]
    decided: Cell<u32>,
}

impl Patience {
    /// Counts one decision, and says whether it is one that goes wrong.
    pub fn is_over(&self) -> bool {
        self.times_over().is_some()
    }

    /// Counts one decision, and says how many went wrong before it, if it is one that goes wrong.
    pub fn times_over(&self) -> Option<u32> {
        let decided = self.decided.get();
        self.decided.set(decided.wrapping_add(1));
        decided.checked_sub(self.after)
    }
}

/// Staging asks fewer than eight.
fn more_than_probes() -> u32 {
    16
}
