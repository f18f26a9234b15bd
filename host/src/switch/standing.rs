//! Where the host stands: all of the switch that must survive a restart, but for the releases themselves.

use serde::{Deserialize, Serialize};

use super::trail::Trail;

/// Written whole with every record that changes it: one row of the journal says where the host stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The way it has gone, and which release is current.
    #[serde(flatten)]
    pub trail: Trail,
}

impl Standing {
    /// At the first release of a trail.
    pub fn at(trail: Trail) -> Self {
        Self { trail }
    }

    /// The releases that it names: their contents are kept whatever the bounds.
    pub fn releases(&self) -> impl Iterator<Item = u64> {
        self.trail.steps().iter().copied()
    }

    /// The same in everything but the way.
    #[must_use]
    pub fn on(&self, trail: Trail) -> Self {
        Self { trail }
    }
}
