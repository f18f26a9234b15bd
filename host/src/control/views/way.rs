//! How far one can go back, what would go back by itself, and what doors show that does not serve.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::release::Release;
use crate::store::journal::Door;
use crate::switch::Switch;
use crate::switch::standing::{Mark, Quarantined, Standing};

/// The way back, beyond its first step.
#[derive(Debug, Serialize, Deserialize)]
pub struct Way {
    /// How many steps `back` can go.
    pub steps_back: usize,
    /// The point of no return that ends them; none is the beginning.
    pub fence: Option<FenceView>,
    /// What goes back by itself unless it is confirmed.
    pub unconfirmed: Vec<UnconfirmedView>,
    /// What a door shows, and is not what serves.
    pub doors: Vec<DoorView>,
}

/// A point of no return.
#[derive(Debug, Serialize, Deserialize)]
pub struct FenceView {
    /// The release that cannot be gone back from.
    pub release: u64,
    /// Who said so, when and why.
    #[serde(flatten)]
    pub mark: Mark,
}

/// A release that waits for its confirmation.
#[derive(Debug, Serialize, Deserialize)]
pub struct UnconfirmedView {
    /// The release.
    pub release: u64,
    /// Seconds until it is gone back from.
    pub seconds: u64,
}

/// What a door shows.
#[derive(Debug, Serialize, Deserialize)]
pub struct DoorView {
    /// The door.
    pub door: Door,
    /// The policy, or the configuration file.
    pub name: String,
    /// What is there.
    pub digest: Digest,
    /// What serves; none where nothing of that name does, or cannot be told.
    pub serves: Option<Digest>,
    /// Whether it was gone back from, and is kept out.
    pub quarantined: bool,
}

/// `GET /v1/quarantine`: one digest, the newest first.
#[derive(Debug, Serialize, Deserialize)]
pub struct QuarantineView {
    /// The digest.
    pub digest: Digest,
    /// What it is, and why it is kept out.
    #[serde(flatten)]
    pub it: Quarantined,
}

/// What is kept out.
pub fn quarantine(switch: &Switch) -> Vec<QuarantineView> {
    let all = switch.standing().quarantine.into_iter().map(|(digest, it)| QuarantineView { digest, it });
    let mut all: Vec<_> = all.collect();
    all.sort_by(|one, other| other.it.mark.at.cmp(&one.it.mark.at));
    all
}

/// The way as it stands.
pub fn way(switch: &Switch, current: &Release) -> Way {
    let standing = switch.standing();
    let steps_back = standing.steps_back();
    let fence =
        standing.trail.position().checked_sub(steps_back + 1).and_then(|position| standing.fence_before(position));
    Way {
        steps_back,
        fence: fence.map(|(release, mark)| FenceView { release, mark: mark.clone() }),
        unconfirmed: standing
            .unconfirmed
            .iter()
            .map(|waits| UnconfirmedView { release: waits.release, seconds: waits.remaining().as_secs() })
            .collect(),
        doors: switch.shown().into_iter().filter_map(|shown| door(shown, &standing, current)).collect(),
    }
}

fn door((door, name, digest): (Door, String, Digest), standing: &Standing, current: &Release) -> Option<DoorView> {
    let quarantined = standing.quarantine.contains_key(&digest);
    let serves = match door {
        Door::Folder => current.spec.policies.get(&name).and_then(|policy| policy.digest),
        _ => standing.texts.get(&current.number).copied(),
    };
    // A text is taken in by parts: that another one serves says nothing.
    let differs = if door == Door::Folder { serves != Some(digest) } else { quarantined };
    differs.then_some(DoorView { door, name, digest, serves, quarantined })
}
