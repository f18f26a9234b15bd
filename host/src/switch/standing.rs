//! Where the host stands: all of the switch that must survive a restart, but for the releases themselves.

use serde::{Deserialize, Serialize};

use super::canary::CanaryStanding;
use super::trail::Trail;

/// Written whole with every record that changes it: one row of the journal says where the host stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The way it has gone, and which release is current.
    #[serde(flatten)]
    pub trail: Trail,
    /// The release that is tried out beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryStanding>,
    /// Releases that were left while clients had sessions with them, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<LeftStanding>,
}

/// A release that was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftStanding {
    /// Its number.
    pub release: u64,
    /// When, in milliseconds since 1970 UTC.
    pub at_millis: u64,
}

impl Standing {
    /// At the first release of a trail.
    pub fn at(trail: Trail) -> Self {
        Self { trail, canary: None, left: Vec::new() }
    }

    /// The same in everything but the way. What was tried out beside the release that was current is not beside another.
    #[must_use]
    pub fn on(&self, trail: Trail) -> Self {
        Self { trail, canary: None, ..self.clone() }
    }

    /// The releases that are kept ready: the current one, the canary, and those at most `steps` away on the trail.
    pub fn reach(&self, steps: usize) -> Vec<u64> {
        let mut reach = self.trail.reach(steps);
        reach.splice(1..1, self.canary.as_ref().map(|canary| canary.release));
        reach
    }

    /// The releases that it cannot do without.
    pub fn releases(&self) -> impl Iterator<Item = u64> {
        self.trail.steps().iter().copied().chain(self.canary.as_ref().map(|canary| canary.release))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::key::KeySpec;
    use crate::switch::share::Share;

    #[test]
    fn a_canary_is_kept_and_is_left_behind_with_the_release_that_it_was_beside() {
        let canary = CanaryStanding { release: 9, share: Share::NONE, key: KeySpec::ClientAddress };
        let standing = Standing { canary: Some(canary), ..Standing::at(Trail::starting_at(1).then(2)) };
        assert_eq!(standing.reach(1), [2, 9, 1]);
        assert_eq!(standing.releases().collect::<Vec<_>>(), [1, 2, 9]);
        assert_eq!(standing.on(standing.trail.then(9)).canary, None);
        let text = serde_json::to_string(&standing).unwrap();
        assert_eq!(serde_json::from_str::<Standing>(&text).unwrap(), standing);
    }

    #[test]
    fn journals_of_before_have_no_canary() {
        let standing = serde_json::from_str::<Standing>(r#"{"steps":[1,2],"at":0,"else":3}"#).unwrap();
        assert_eq!(standing, Standing::at(Trail::starting_at(1).then(2).step_back()));
    }
}
