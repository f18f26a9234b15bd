//! How a vip's clients come from one release to the next, as data.
//!
//! What counts at a switch is what the release says that is left: its clients began under it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a vip is left by a switch that changes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionSpec {
    /// What becomes of its clients' next requests.
    pub mode: SessionMode,
    /// How long after the switch its tunnels may go on; `None` is for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgraded_limit: Option<Duration>,
}

/// What becomes of a vip's clients at a switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionMode {
    /// The new release decides their next requests.
    #[default]
    Cut,
    /// The release that they began with decides for them until this time is over.
    DrainSticky(Duration),
    /// Their next requests wait until those in flight have ended, for this time at most.
    Hold(Duration),
}

impl SessionMode {
    /// How long sessions are kept where they began, if they are.
    pub fn drains_for(self) -> Option<Duration> {
        if let Self::DrainSticky(limit) = self { Some(limit) } else { None }
    }

    /// How long new requests wait, if they do.
    pub fn holds_for(self) -> Option<Duration> {
        if let Self::Hold(max) = self { Some(max) } else { None }
    }
}
