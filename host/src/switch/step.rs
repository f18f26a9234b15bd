//! Where a step leads: back or forward, how far, and whether for all vips or for one.

use std::sync::Arc;

use super::change::ChangeError;
use super::trail::Trail;
use super::{Refusal, Switch};
use crate::digest::Digest;
use crate::release::Release;
use crate::spec::Spec;
use crate::spec::one_vip::Content;
use crate::store::journal::Kind;

/// A way along the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// [`Kind::Back`] or [`Kind::Forward`].
    pub kind: Kind,
    /// How far.
    pub far: Far,
    /// The vip that goes; none is all of them.
    pub vip: Option<String>,
}

/// How far a step goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Far {
    /// This many releases; for one vip, this many in which it was another each time.
    Steps(usize),
    /// To this one.
    To(u64),
}

/// What one vip's step leads to.
pub(super) enum Half {
    /// A release that was there before, and is all that is wanted.
    Whole(u64),
    /// A content that never was before.
    Made {
        /// It.
        content: Box<Spec>,
        /// The release in which the vip is so.
        source: u64,
        /// Where that is on the trail.
        source_position: usize,
    },
}

impl Step {
    /// One step back of everything.
    pub fn back() -> Self {
        Self { kind: Kind::Back, far: Far::Steps(1), vip: None }
    }

    /// One step forward of everything.
    pub fn forward() -> Self {
        Self { kind: Kind::Forward, far: Far::Steps(1), vip: None }
    }

    /// The word for it.
    pub fn word(&self) -> &'static str {
        if self.kind == Kind::Forward { "forward" } else { "back" }
    }

    /// The releases that lie in this direction, the nearest first.
    fn ahead<'a>(&self, trail: &'a Trail) -> Box<dyn Iterator<Item = (usize, u64)> + Send + 'a> {
        let steps = trail.steps().iter().copied().enumerate();
        if self.kind == Kind::Forward {
            Box::new(steps.skip(trail.position() + 1))
        } else {
            Box::new(steps.take(trail.position()).rev())
        }
    }

    /// The trail after the step, of everything.
    pub(super) fn on(&self, trail: &Trail) -> Result<Trail, Refusal> {
        let steps = match self.far {
            Far::Steps(steps) => steps,
            Far::To(release) => {
                let place = self.ahead(trail).position(|(_, step)| step == release);
                place.ok_or_else(|| self.not_there(release, trail))? + 1
            }
        };
        let after = if self.kind == Kind::Forward { trail.forward(steps) } else { trail.back(steps) };
        after.filter(|_| steps > 0).ok_or_else(|| self.too_far(steps, self.ahead(trail).count()))
    }

    fn too_far(&self, wanted: usize, there: usize) -> Refusal {
        Refusal::NowhereToGo { word: self.word(), wanted, there, vip: self.vip.clone() }
    }

    fn not_there(&self, release: u64, trail: &Trail) -> Refusal {
        let ways = self.ahead(trail).map(|(_, step)| format!("r{step}")).collect::<Vec<_>>().join(", ");
        Refusal::NotOnTheWay { word: self.word(), release, ways }
    }
}

impl Switch {
    /// What a step of one vip leads to, from `current`.
    pub(super) async fn half(&self, step: &Step, vip: &str, current: &Release, trail: &Trail) -> Result<Half, Refusal> {
        let wanted = match step.far {
            Far::Steps(0) => return Err(step.too_far(0, 0)),
            Far::Steps(steps) => steps,
            Far::To(_) => 1,
        };
        let already = |release| Refusal::AlreadySo { vip: vip.to_owned(), release };
        let mut is_known = current.vips.contains_key(vip);
        // The nearest release in which the vip is another than in the one before it, and how many there were so far.
        let (mut nearest, mut there) = (None::<Arc<Release>>, 0);
        for (passed, (source_position, source)) in step.ahead(trail).enumerate() {
            if matches!(step.far, Far::To(release) if release != source) {
                continue;
            }
            let other = self.made_ready(source).await?;
            is_known |= other.vips.contains_key(vip);
            let made = match (with_vip_of(nearest.as_deref().unwrap_or(current), &other, vip), step.far) {
                (Some(made), _) => made,
                (None, Far::To(_)) => return Err(already(source)),
                (None, Far::Steps(_)) => continue,
            };
            there += 1;
            if there < wanted {
                nearest = Some(other);
                continue;
            }
            let made = match nearest {
                None => made,
                Some(_) => with_vip_of(current, &other, vip).ok_or_else(|| already(source))?,
            };
            if made.vips.is_empty() {
                return Err(ChangeError::NoVips.into());
            }
            // One that lies on the way and is all that is wanted is gone to as it is. Back, that is no further than to where
            // the vip was so.
            let seen = if step.kind == Kind::Forward { usize::MAX } else { passed + 1 };
            if let Some(whole) = self.of_content(made.digest(), step.ahead(trail).take(seen)) {
                return Ok(Half::Whole(whole));
            }
            return Ok(Half::Made { content: Box::new(made), source, source_position });
        }
        match step.far {
            Far::To(release) => Err(step.not_there(release, trail)),
            Far::Steps(_) if !is_known => {
                let names = current.spec.vips.keys().cloned().collect::<Vec<_>>().join(", ");
                Err(ChangeError::NoSuchVip(vip.to_owned(), names).into())
            }
            Far::Steps(_) => Err(step.too_far(wanted, there)),
        }
    }

    /// The first of these steps whose release has this content.
    fn of_content(&self, digest: Digest, mut steps: impl Iterator<Item = (usize, u64)>) -> Option<u64> {
        let state = self.state();
        let has_it = |number: &u64| state.gists.get(number).is_some_and(|gist| gist.digest == digest);
        steps.find_map(|(_, number)| Some(number).filter(has_it))
    }

    /// A release of the trail, which is made ready where it is not.
    pub(super) async fn made_ready(&self, number: u64) -> Result<Arc<Release>, Refusal> {
        if self.ready_release(number).is_none() {
            self.make_ready(number).await?;
        }
        self.ready_release(number).ok_or(Refusal::NoSuchRelease(number))
    }
}

/// The content of one release, with a vip as it is in another.
fn with_vip_of(release: &Release, other: &Release, vip: &str) -> Option<Spec> {
    let (chooses, others) = (release.chooses(), other.chooses());
    let content = Content { spec: &release.spec, chooses: &chooses };
    content.with_vip_of(&Content { spec: &other.spec, chooses: &others }, other.number, vip)
}
