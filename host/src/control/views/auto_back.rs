//! What the host does by itself, and whether it may.

use serde::{Deserialize, Serialize};

use crate::switch::Switch;
use crate::switch::judge::Watching;
use crate::switch::latch::Latch;

/// The judge and the latch as they stand.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct AutoBackView {
    /// The release that is being watched after its activation.
    #[serde(default)]
    pub watching: Option<Watching>,
    /// Set once the host has gone back by itself, until a person switches.
    #[serde(default)]
    pub latch: Option<Latch>,
}

/// As they stand.
pub fn view(switch: &Switch) -> AutoBackView {
    AutoBackView { watching: switch.docket.watching(), latch: switch.standing().latch }
}
