//! The canary of a release: the new one decides for a share of the keys, the current one for the rest.
//!
//! ```text
//! current r41, push with a share of 5 %    r41 on the trail; r42 ready, beside it        canary    r41 -> r42
//! activate r42 with 20 %                   the same; whoever was in, stays in            canary    r41 -> r42
//! activate r42                             r42 on the trail, after r41                   activate  r41 -> r42
//! back, instead                            r41 on the trail, as if r42 had never been    back      r42 -> r41
//! ```
//!
//! It begins as any change does, and from then on nothing is staged or waited for: its steps and its end are swapped in
//! first and journalled after, as `back` is. While it is under way, nothing else is changed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::receipt::{Origin, Receipt};
use super::share::Share;
use super::standing::{Brings, Gist, Standing};
use super::step::Step;
use super::trail::Trail;
use super::{Refusal, State, Swapped, Switch};
use crate::causes::with_causes;
use crate::release::Release;
use crate::spec::Spec;
use crate::spec::key::{KeySpec, NotAKey};
use crate::store::journal::{Door, Kind, Record, Written};

/// A release that is tried out, as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryStanding {
    /// Its number.
    pub release: u64,
    /// How many of the keys it decides for.
    pub share: Share,
    /// What tells clients apart.
    pub key: KeySpec,
}

/// How somebody wants a release to be tried out.
#[derive(Clone, Debug)]
pub struct Trial {
    /// How many of the keys it is to decide for; all of them make it current.
    pub share: Share,
    /// What tells clients apart: as it is, or the client's address.
    pub key: Option<KeySpec>,
}

/// A trial's key as text: as a pool's, and `client` for short.
///
/// # Errors
/// When it is none.
pub fn key_of_trial(text: &str) -> Result<KeySpec, NotAKey> {
    if text == "client" { Ok(KeySpec::ClientAddress) } else { text.parse() }
}

impl Trial {
    fn of(&self, release: u64, before: Option<&CanaryStanding>) -> CanaryStanding {
        let key = self.key.clone().or_else(|| before.map(|before| before.key.clone()));
        CanaryStanding { release, share: self.share, key: key.unwrap_or(KeySpec::ClientAddress) }
    }
}

impl CanaryStanding {
    /// Why nothing else is changed.
    pub(super) fn refusal(&self) -> Refusal {
        Refusal::CanaryUnderWay(self.release, self.share)
    }

    /// The same wish, with what it comes to in its reason.
    fn told(&self, origin: &Origin) -> Origin {
        let why = if origin.why.is_empty() { String::new() } else { format!(": {}", origin.why) };
        Origin { why: format!("{} by {}{why}", self.share, self.key), ..origin.clone() }
    }
}

impl Switch {
    /// The canary that is under way.
    pub fn canary(&self) -> Option<CanaryStanding> {
        self.state().standing.canary.clone()
    }

    /// Gives the canary another share, or makes it current where that is all.
    ///
    /// # Errors
    /// When `release` is not the canary.
    pub async fn step_canary(&self, release: u64, trial: &Trial, origin: &Origin) -> Result<Receipt, Refusal> {
        let stepped = self.step_to(release, trial, origin).await;
        stepped.inspect_err(|refusal| self.refuse(origin, &with_causes(refusal)))
    }

    /// The same, for those who journal what is refused.
    pub(super) async fn step_to(&self, release: u64, trial: &Trial, origin: &Origin) -> Result<Receipt, Refusal> {
        let (kind, origin, swapped, written) = self.try_step(release, trial, origin)?;
        Ok(self.follow(kind, &origin, swapped, written).await)
    }

    fn try_step(
        &self,
        number: u64,
        trial: &Trial,
        origin: &Origin,
    ) -> Result<(Kind, Origin, Swapped, Written), Refusal> {
        let mut state = self.state();
        state.hold.may_step()?;
        let current = state.standing.trail.current();
        origin.check_current(current)?;
        let canary = state.standing.canary.clone().filter(|canary| canary.release == number);
        let canary = canary.ok_or(Refusal::Overtaken(current))?;
        let release = state.ready.get(&number).cloned().ok_or(Refusal::NoSuchRelease(number))?;
        let (kind, origin, swapped) = if trial.share == Share::ALL {
            self.check_known(&release, origin)?;
            state.standing = state.standing.on(state.standing.trail.then(number));
            Brings::new(number, release.spec.clone(), None, origin).add_to(&mut state.standing);
            let swapped = self.swap(&mut state, release);
            self.docket.put(&swapped, origin);
            (Kind::Activate, origin.clone(), swapped)
        } else {
            let canary = trial.of(number, Some(&canary));
            let origin = canary.told(origin);
            state.standing.canary = Some(canary);
            (Kind::Canary, origin, self.swap_beside(&mut state, release))
        };
        // Told under the lock: the journal's order is the order of the swaps.
        let entry = Some(swapped.entry(kind, &origin));
        let record = Record { entry, standing: Some(state.standing.clone()), ..Record::default() };
        let written = self.journal.write_after(record);
        Ok((kind, origin, swapped, written))
    }

    /// What a step does to the canary that is under way: `back` ends it, and every other step is another change. A host
    /// that goes back from the current release goes back from both.
    pub(super) fn end_canary(
        &self,
        state: &mut State,
        step: &Step,
        origin: &Origin,
        expected: Option<u64>,
    ) -> Result<Option<(Swapped, Written)>, Refusal> {
        let Some(canary) = state.standing.canary.clone() else { return Ok(None) };
        if *step != Step::back() && origin.door != Door::Host {
            return Err(canary.refusal());
        }
        if *step != Step::back() || expected.is_some_and(|expected| expected != canary.release) {
            return Ok(None);
        }
        let serving = self.current.serving();
        if let Some(gone) = serving.canary() {
            let gist = Gist::of(&gone.release);
            state.standing.quarantine(&[(gone.release.number, &gist)], &serving.release.spec, false, origin);
        }
        state.standing.canary = None;
        state.standing.switched_by(origin);
        let old = serving.canary().map_or_else(|| serving.release.clone(), |canary| canary.release.clone());
        let swapped = Swapped { old, ..self.swap(state, serving.release.clone()) };
        let entry = Some(swapped.entry(step.kind, origin));
        let record = Record { entry, standing: Some(state.standing.clone()), ..Record::default() };
        Ok(Some((swapped, self.journal.write_after(record))))
    }

    /// Whether a change is one that may be made while a canary is under way: to what serves already. That the canary is
    /// to have another share is no change of content.
    ///
    /// # Errors
    /// When it is another change.
    pub(super) fn may_change_to(&self, spec: &Spec, trial: Option<&Trial>) -> Result<Option<u64>, Refusal> {
        let serving = self.current.pin();
        if trial.is_some_and(|trial| trial.share < Share::ALL) && serving.release.number == 0 {
            return Err(Refusal::NothingBefore);
        }
        let Some(canary) = self.canary() else { return Ok(None) };
        let is_canary = serving.canary().is_some_and(|canary| *canary.release.spec == *spec);
        if is_canary && trial.is_some() { Ok(Some(canary.release)) } else { Err(canary.refusal()) }
    }

    /// Puts what is beside the current release, which stays. `release` is the one that it is about.
    pub(super) fn swap_beside(&self, state: &mut State, release: Arc<Release>) -> Swapped {
        let current = self.current.get();
        Swapped { new: release, old_goes_on: true, ..self.swap(state, current) }
    }

    /// Makes ready the canary that the journal names. Where it cannot be, there is none: all that it decided for is the
    /// current release's again. The caller holds the turn.
    pub(super) async fn resume_canary(&self) {
        let Some(canary) = self.canary() else { return };
        let Err(refusal) = self.make_ready(canary.release).await else { return };
        let why = format!("canary r{} cannot be resumed: {}", canary.release, with_causes(&refusal));
        self.refuse(&Origin::host(""), &why);
        let mut state = self.state();
        state.standing.canary = None;
        self.rewrite(&state);
    }

    /// Whether a refusal is worth an entry: a door that tries again every few seconds is told of once a canary.
    pub(super) fn is_news(&self, refusal: &Refusal, origin: &Origin) -> bool {
        let Refusal::CanaryUnderWay(release, _) = refusal else { return true };
        let mut state = self.state();
        if state.turned_away.0 != *release {
            state.turned_away = (*release, Vec::new());
        }
        let said = (origin.door, origin.why.clone());
        let is_news = origin.door == Door::Api || !state.turned_away.1.contains(&said);
        if is_news && origin.door != Door::Api {
            state.turned_away.1.push(said);
        }
        is_news
    }
}

/// Where a change leads to that may be a trial: the standing after it, what the journal calls it, and why it is made.
pub(super) fn leads_to(
    standing: &Standing,
    trial: Option<&Trial>,
    brings: &Brings,
    origin: &Origin,
) -> (Standing, Kind, Origin) {
    let number = brings.number;
    if let Some(trial) = trial {
        let canary = trial.of(number, None);
        let origin = canary.told(origin);
        return (Standing { canary: Some(canary), ..standing.clone() }, Kind::Canary, origin);
    }
    let trail = if standing.trail.current() == 0 { Trail::starting_at(number) } else { standing.trail.then(number) };
    let mut standing = standing.on(trail);
    brings.add_to(&mut standing);
    (standing, Kind::Activate, origin.clone())
}
