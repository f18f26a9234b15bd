//! Where the host stands: all of the switch that must survive a restart, but for the releases themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Refusal;
use super::canary::CanaryStanding;
use super::latch::Latch;
use super::receipt::Origin;
use super::trail::Trail;
use crate::digest::Digest;
use crate::release::Release;
use crate::spec::Spec;
use crate::spec::one_vip::plain;
use crate::store::journal::Door;

/// What a text of the configuration file is called.
pub const CONFIG_FILE: &str = "switchback.toml";

/// Digests in quarantine; the oldest are let go.
const QUARANTINE_MAX: usize = 1000;

/// Written whole with every record that changes it: one row of the journal says where the host stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The way it has gone, and which release is current.
    #[serde(flatten)]
    pub trail: Trail,
    /// Builds, and texts of the configuration file, that were gone back from.
    #[serde(default)]
    pub quarantine: BTreeMap<Digest, Quarantined>,
    /// Releases on the trail that came with a text of the configuration file.
    #[serde(default)]
    pub texts: BTreeMap<u64, Digest>,
    /// Releases that are points of no return.
    #[serde(default)]
    pub fences: BTreeMap<u64, Mark>,
    /// Releases that are gone back from by themselves unless somebody confirms them, the oldest first.
    #[serde(default)]
    pub unconfirmed: Vec<Unconfirmed>,
    /// The release that is tried out beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryStanding>,
    /// Whether it is up to people alone to switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latch: Option<Latch>,
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

/// What was gone back from: no door but the API brings it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The policy whose build it is, or the configuration file.
    pub name: String,
    /// The release that was gone back from.
    pub release: u64,
    /// Who went back, when and why.
    #[serde(flatten)]
    pub mark: Mark,
}

/// Who said something of a release, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// A person or program.
    pub who: String,
    /// The reason.
    pub why: String,
    /// Wall time, RFC 3339.
    pub at: String,
}

/// A release that waits to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    /// The release.
    pub release: u64,
    /// How long it may wait in all.
    pub within: Duration,
    /// Wall time at which that is over, in milliseconds since 1970.
    pub until_millis: u64,
}

impl Mark {
    /// As this origin says it, now.
    pub fn by(origin: &Origin) -> Self {
        Self { who: origin.who.clone(), why: origin.why.clone(), at: crate::time::rfc3339_now() }
    }
}

impl Unconfirmed {
    /// Waits from now on.
    pub fn from_now(release: u64, within: Duration) -> Self {
        let now = crate::time::wall_nanos() / 1_000_000;
        let within_millis = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        Self { release, within, until_millis: now.saturating_add(within_millis) }
    }

    /// How long it may still wait. A clock that was set back does not make it longer than it was.
    pub fn remaining(&self) -> Duration {
        Duration::from_millis(self.until_millis.saturating_sub(crate::time::wall_nanos() / 1_000_000)).min(self.within)
    }
}

impl Standing {
    /// At the first release of a trail.
    pub fn at(trail: Trail) -> Self {
        Self {
            trail,
            quarantine: BTreeMap::new(),
            texts: BTreeMap::new(),
            fences: BTreeMap::new(),
            unconfirmed: Vec::new(),
            canary: None,
            left: Vec::new(),
            latch: None,
        }
    }

    /// The same, elsewhere on the way or on another way. What is known of releases that are not on it any more is let go;
    /// what waits for its confirmation waits as long as it serves, or what came after it does. What was tried out beside the
    /// release that was current is not beside another.
    #[must_use]
    pub fn on(&self, trail: Trail) -> Self {
        let mut standing = Self { trail, canary: None, ..self.clone() };
        let Self { trail, texts, fences, unconfirmed, .. } = &mut standing;
        let position = trail.position();
        texts.retain(|release, _| trail.position_of(*release).is_some());
        fences.retain(|release, _| trail.position_of(*release).is_some());
        unconfirmed.retain(|it| trail.position_of(it.release).is_some_and(|its| its <= position));
        standing
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

    /// The point of no return between the current release and the step at `position`, the nearest first.
    pub fn fence_before(&self, position: usize) -> Option<(u64, &Mark)> {
        let passed = self.trail.steps().get(position + 1..=self.trail.position())?;
        passed.iter().rev().find_map(|release| Some((*release, self.fences.get(release)?)))
    }

    /// The point of no return between the current release and a kept one. Of one that is not on the trail its number says
    /// whether it is from before.
    pub fn fence_before_release(&self, release: u64) -> Option<(u64, &Mark)> {
        if let Some(position) = self.trail.position_of(release) {
            return self.fence_before(position);
        }
        let behind = self.trail.steps().iter().take(self.trail.position() + 1).rev();
        let mut fences = behind.filter_map(|step| Some((*step, self.fences.get(step)?)));
        fences.find(|(fence, _)| release < *fence)
    }

    /// How many steps back one can go before a point of no return, or the end.
    pub fn steps_back(&self) -> usize {
        let at = self.trail.position();
        (0..at).rev().take_while(|position| self.fence_before(*position).is_none()).count()
    }

    /// Puts in quarantine what these releases have and `to` has not; their texts of the configuration file only where they
    /// are gone back from as a whole.
    pub fn quarantine(&mut self, from: &[(u64, &Gist)], to: &Spec, whole: bool, origin: &Origin) {
        let kept: BTreeSet<Digest> = builds(to).map(|(_, digest)| digest).collect();
        for (release, gist) in from {
            let gone = gist.builds.iter().map(|(name, digest)| (name.as_str(), *digest));
            let gone = gone.filter(|(_, digest)| !kept.contains(digest));
            let text = self.texts.get(release).filter(|_| whole).map(|text| (CONFIG_FILE, *text));
            for (name, digest) in gone.chain(text) {
                let mark = Mark::by(origin);
                self.quarantine.insert(digest, Quarantined { name: name.into(), release: *release, mark });
            }
        }
        while self.quarantine.len() > QUARANTINE_MAX {
            let oldest = self.quarantine.iter().min_by(|one, other| one.1.mark.at.cmp(&other.1.mark.at));
            let oldest = oldest.map(|(digest, _)| *digest);
            oldest.map(|digest| self.quarantine.remove(&digest));
        }
    }

    /// Why this digest is kept out, if it is.
    pub fn refused(&self, digest: Digest) -> Option<Refusal> {
        let it = self.quarantine.get(&digest)?;
        Some(Refusal::Quarantined { digest, it: Box::new(it.clone()) })
    }

    /// Lets out of quarantine what a person makes current.
    pub fn let_out(&mut self, release: u64, spec: &Spec) {
        let text = self.texts.get(&release).copied();
        for digest in builds(spec).map(|(_, digest)| digest).chain(text) {
            self.quarantine.remove(&digest);
        }
    }
}

/// What a new release adds to where the host stands.
pub(super) struct Brings {
    pub(super) number: u64,
    spec: Arc<Spec>,
    /// The configuration file's text, where it came with one.
    text: Option<Digest>,
    fence: Option<Mark>,
    unconfirmed: Option<Unconfirmed>,
    origin: Origin,
}

impl Brings {
    pub(super) fn new(number: u64, spec: Arc<Spec>, text: Option<Digest>, origin: &Origin) -> Self {
        let fence = origin.fence.as_ref().map(|why| Mark::by(&Origin { why: why.clone(), ..origin.clone() }));
        let unconfirmed = origin.confirm_within.map(|within| Unconfirmed::from_now(number, within));
        Self { number, spec, text, fence, unconfirmed, origin: origin.clone() }
    }

    /// Adds it, once the release is on the trail.
    pub(super) fn add_to(&self, standing: &mut Standing) {
        standing.texts.extend(self.text.map(|text| (self.number, text)));
        standing.fences.extend(self.fence.clone().map(|fence| (self.number, fence)));
        standing.unconfirmed.extend(self.unconfirmed.clone());
        if self.origin.door == Door::Api {
            standing.let_out(self.number, &self.spec);
        }
        standing.switched_by(&self.origin);
    }
}

/// A point of no return is passed only by somebody who says so.
pub(super) fn may_pass(fence: Option<(u64, &Mark)>, origin: &Origin) -> Result<(), Refusal> {
    match fence {
        Some((release, mark)) if !origin.over_fence => Err(Refusal::Fence { release, why: mark.why.clone() }),
        _ => Ok(()),
    }
}

/// What is to know of a release that may be on the disk alone.
#[derive(Clone, Debug)]
pub struct Gist {
    /// Names its content.
    pub digest: Digest,
    /// Its policies and their builds.
    pub builds: Vec<(String, Digest)>,
}

impl Gist {
    /// Read from a content as it is kept, which may be long, and of which little is needed. `None` where it is none.
    pub fn read(content: &str) -> Option<Self> {
        let Policies { policies } = serde_json::from_str(content).ok()?;
        let builds = policies.into_iter().filter_map(|(name, policy)| Some((plain(&name).to_owned(), policy.digest?)));
        // A content is named by its text, see `Spec::digest`.
        Some(Self { digest: Digest::of(content.as_bytes()), builds: builds.collect() })
    }

    /// That of a release that is here.
    pub fn of(release: &Release) -> Self {
        let builds = builds(&release.spec).map(|(name, digest)| (name.to_owned(), digest)).collect();
        Self { digest: release.digest, builds }
    }
}

/// The builds that a content names: all that is read of it, where nothing else is needed.
#[derive(Deserialize)]
pub struct Policies {
    /// Its policies by name.
    pub policies: BTreeMap<String, PolicyBuild>,
}

/// A policy's build.
#[derive(Deserialize)]
pub struct PolicyBuild {
    /// Where there is one.
    pub digest: Option<Digest>,
}

/// A content's policies and their builds.
pub fn builds(spec: &Spec) -> impl Iterator<Item = (&str, Digest)> {
    spec.policies.iter().filter_map(|(name, policy)| Some((plain(name), policy.digest?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::key::KeySpec;
    use crate::switch::share::Share;

    fn mark(why: &str) -> Mark {
        Mark { who: "test".into(), why: why.into(), at: String::new() }
    }

    #[test]
    fn a_journal_of_a_trail_alone_is_readable() {
        let trail = Trail::starting_at(1).then(2);
        let standing: Standing = serde_json::from_str(&serde_json::to_string(&trail).unwrap()).unwrap();
        assert_eq!(standing, Standing::at(trail));
    }

    #[test]
    fn a_fence_is_met_from_one_side_only() {
        let trail = (2..=5).fold(Trail::starting_at(1), |trail, release| trail.then(release));
        let mut standing = Standing::at(trail);
        assert_eq!((standing.fence_before(0), standing.steps_back()), (None, 4));
        standing.fences.insert(3, mark("migrated"));
        // r3 itself can be gone back to, and what lies before it cannot.
        assert_eq!((standing.fence_before(2), standing.steps_back()), (None, 2));
        assert_eq!(standing.fence_before(1), Some((3, &mark("migrated"))));
        let before = standing.on(standing.trail.back(3).unwrap());
        assert_eq!((before.trail.current(), before.fence_before(0), before.steps_back()), (2, None, 1));
    }

    #[test]
    fn what_is_off_the_trail_is_let_go() {
        let mut standing = Standing::at(Trail::starting_at(1).then(2).then(3));
        for release in 1..=3 {
            standing.fences.insert(release, mark(""));
            let within = Duration::from_secs(60);
            standing.unconfirmed.push(Unconfirmed { release, within, until_millis: 0 });
        }
        let back = standing.on(standing.trail.back(1).unwrap());
        assert_eq!((back.fences.len(), back.unconfirmed.len()), (3, 2));
        assert_eq!(back.on(back.trail.then(4)).fences.len(), 2);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_longer() {
        let within = Duration::from_secs(60);
        let waits = |until_millis| Unconfirmed { release: 1, within, until_millis }.remaining();
        assert_eq!((waits(0), waits(u64::MAX)), (Duration::ZERO, within));
    }

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
    fn what_a_later_version_adds_is_read_over() {
        let standing = serde_json::from_str::<Standing>(r#"{"steps":[1,2],"at":0,"else":3}"#).unwrap();
        assert_eq!(standing, Standing::at(Trail::starting_at(1).then(2).back(1).unwrap()));
    }
}
