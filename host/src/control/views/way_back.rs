//! Whether `back` can be pressed.

use serde::{Deserialize, Serialize};

use crate::switch::Switch;
use crate::switch::way_back::WayBack;

/// The way back as it was last seen.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct WayBackView {
    /// Whether what it leads to could serve at once.
    pub ready: bool,
    /// Where it leads, and what is in the way.
    #[serde(flatten)]
    pub way: WayBack,
}

/// As it was last seen.
pub fn view(switch: &Switch) -> WayBackView {
    let way = switch.way_back();
    WayBackView { ready: way.is_ready(), way }
}
