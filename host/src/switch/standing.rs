//! Where the host stands: all of the switch that must survive a restart, but for the releases themselves.

use serde::{Deserialize, Serialize};

use super::latch::Latch;
use super::trail::Trail;

/// Written whole with every record that changes it: one row of the journal says where the host stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The way it has gone, and which release is current.
    #[serde(flatten)]
    pub trail: Trail,
    /// Whether it is up to people alone to switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latch: Option<Latch>,
}

impl Standing {
    /// At the first release of a trail.
    pub fn at(trail: Trail) -> Self {
        Self { trail, latch: None }
    }

    /// The same in everything but the way.
    #[must_use]
    pub fn on(&self, trail: Trail) -> Self {
        Self { trail, ..self.clone() }
    }
}
