//! The judge: watches a release after somebody activated it, and goes back if it does worse than the one before.
//!
//! It compares what comes of requests with what came of them under the release before, and with vips that the change has
//! nothing to do with; see [`case`] and [`evidence`]. It goes back once, and then the latch keeps it from doing anything
//! until a person has switched. What it cannot undo it says, once.

pub mod evidence;
pub mod case;
mod waiting;
mod before;
mod controls;
#[cfg(test)]
mod simulation;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior};

use self::before::{Before, totals};
use self::case::{Case, Evidence, Now, Party, Verdict};
use self::controls::controls;
use super::receipt::Origin;
use super::{Swapped, Switch};
use crate::causes::with_causes;
use crate::proxy::events::EventKind;
use crate::release::Release;
use crate::spec::auto_back::{AutoBack, Mode};
use crate::store::journal::Door;

/// How often it looks: within a second or two of traffic it is to be done.
const LOOK: Duration = Duration::from_millis(100);

/// After so long, what is wrong with a release from its first request on is known.
const EARLY: Duration = Duration::from_secs(30);

/// How often it looks then: adding up thousands of vips takes milliseconds.
const LOOK_LATER: Duration = Duration::from_millis(500);

/// What is to be judged, and what was.
#[derive(Default)]
pub struct Docket {
    activated: Mutex<Option<Activation>>,
    watching: Mutex<Option<Watching>>,
    verdicts: [AtomicU64; Sentence::ALL.len()],
}

/// A release that somebody activated.
struct Activation {
    old: Arc<Release>,
    new: Arc<Release>,
    at: Instant,
}

/// A release that is being watched.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Watching {
    /// Its number.
    pub release: u64,
    /// The release that it is measured by.
    pub against: u64,
    /// Wall time of the switch, RFC 3339.
    pub since: String,
}

/// What came of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sentence {
    /// The host went back.
    WentBack,
    /// It could not.
    Stuck,
    /// It was only to say so.
    Reported,
    /// Others, which the change has nothing to do with, were worse as well.
    Excused,
}

impl Sentence {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::WentBack, Self::Stuck, Self::Reported, Self::Excused];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::WentBack => "went_back",
            Self::Stuck => "stuck",
            Self::Reported => "reported",
            Self::Excused => "excused",
        }
    }
}

/// Watches what is activated, for ever. `settings` are for vips that want nothing else.
pub async fn watch(switch: Arc<Switch>, settings: AutoBack) {
    let mut every = tokio::time::interval(LOOK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = Before::default();
    let mut trial: Option<Trial> = None;
    loop {
        every.tick().await;
        // Before it is seen what is current: what is activated is current by then.
        let activation = switch.docket.take();
        let current = switch.current.get();
        if let Some(activation) = activation {
            trial = Trial::open(&activation, &before, trial.take(), &settings);
            switch.docket.watches(trial.as_ref());
            trial.iter().for_each(|trial| trial.announce(&switch));
        }
        before.note(&current, Instant::now());
        // Whatever took its place: it is not to be judged any more.
        trial = trial.filter(|trial| trial.release.number == current.number);
        let is_over = match &mut trial {
            Some(trial) => trial.look(&switch).await,
            None => true,
        };
        if is_over {
            trial = None;
            switch.docket.watches(None);
        }
    }
}

/// A release that is being watched.
struct Trial {
    release: Arc<Release>,
    against: u64,
    at: Instant,
    looked: Duration,
    since: String,
    before: Now,
    case: Case,
    longest: Duration,
}

impl Trial {
    /// None where there is nothing to be judged. `last` is the trial of the release before, if it has one.
    fn open(activation: &Activation, before: &Before, last: Option<Self>, settings: &AutoBack) -> Option<Self> {
        let Activation { old, new, at } = activation;
        let controls = controls(old, new);
        let last = last.filter(|last| last.release.number == old.number);
        // Of one that is new, nobody would have anything if the host went back.
        let known = new.vips.values().filter(|vip| old.vips.contains_key(&vip.name));
        let party = |vip: &Arc<crate::proxy::vip::Vip>| {
            let settings = settings.with(&new.spec.vips[&*vip.name].auto_back);
            let lately = before.lately(old, &vip.name);
            // Who activates twice in a row has not proven the first of them.
            let too_few = lately.all.ended < settings.samples_min.into();
            let earlier = last.as_ref().filter(|_| too_few).and_then(|last| last.before.get(&vip.name).cloned());
            let pools = vip.outcomes.pools().to_vec();
            let is_control = controls.contains(&vip.name);
            Party { vip: vip.name.clone(), settings, before: earlier.unwrap_or(lately), pools, is_control }
        };
        let parties: Vec<_> = known.map(party).collect();
        let longest = parties.iter().filter(|party| !party.is_control && party.settings.mode != Mode::Off);
        let longest = longest.map(|party| party.settings.watch).max()?;
        let case = Case::new(&parties);
        let before: BTreeMap<_, _> = parties.into_iter().map(|party| (party.vip, party.before)).collect();
        let since = crate::time::rfc3339_now();
        Some(Self {
            release: new.clone(),
            against: old.number,
            at: *at,
            looked: Duration::ZERO,
            since,
            before,
            case,
            longest,
        })
    }

    fn announce(&self, switch: &Switch) {
        let longest = humantime::format_duration(self.longest);
        let reason = format!("r{} is watched for {longest}, against r{}", self.release.number, self.against);
        switch.ground.events.tell(EventKind::Watched, None, None, reason);
    }

    /// Answers whether it is over.
    async fn look(&mut self, switch: &Switch) -> bool {
        let (number, against) = (self.release.number, self.against);
        let at = self.at.elapsed();
        if at > EARLY && at < self.looked + LOOK_LATER {
            return false;
        }
        self.looked = at;
        if !self.case.is_open(at) {
            let longest = humantime::format_duration(self.longest);
            let reason = format!("r{number} was watched for {longest}, and nothing speaks against it");
            switch.ground.events.tell(EventKind::Watched, None, None, reason);
            return true;
        }
        for verdict in self.case.look(at, &totals(&self.release)) {
            match verdict {
                Verdict::Excused(evidence, others) => {
                    let reason = format!(
                        "r{number} is not blamed: {evidence}; but vips that it did not change are worse as well: {others}"
                    );
                    switch.docket.sentence(switch, Sentence::Excused, reason);
                }
                Verdict::Worse(evidence) if evidence.mode == Mode::Report || switch.is_latched() => {
                    let reason = format!("r{number} is worse than r{against}: {evidence}");
                    switch.docket.sentence(switch, Sentence::Reported, reason);
                }
                Verdict::Worse(evidence) => {
                    go_back(switch, number, &evidence).await;
                    return true;
                }
            }
        }
        false
    }
}

async fn go_back(switch: &Switch, release: u64, evidence: &Evidence) {
    let why = format!("r{release} is worse than before: {evidence}");
    match switch.back_from(release, &Origin::host(why.clone())).await {
        Ok(receipt) => {
            switch.latch(&receipt);
            tracing::error!(release, to = receipt.to.number, "went back by itself, and waits for a person: {why}");
            let reason = format!("went back to r{}; no more of that until a person switches. {why}", receipt.to.number);
            switch.docket.sentence(switch, Sentence::WentBack, reason);
        }
        Err(refusal) => {
            let reason = format!("{why}; but the host did not go back: {}", with_causes(&refusal));
            switch.docket.sentence(switch, Sentence::Stuck, reason);
        }
    }
}

impl Docket {
    /// Somebody has made a release current.
    pub(super) fn put(&self, swapped: &Swapped, origin: &Origin) {
        // The first release has none before it.
        let is_to_be_judged = origin.door != Door::Host && swapped.old.number > 0;
        let (old, new) = (swapped.old.clone(), swapped.new.clone());
        *lock(&self.activated) = is_to_be_judged.then_some(Activation { old, new, at: swapped.at });
    }

    /// What is being watched.
    pub fn watching(&self) -> Option<Watching> {
        lock(&self.watching).clone()
    }

    /// Verdicts so far, by what came of them.
    pub fn verdicts(&self, sentence: Sentence) -> u64 {
        self.verdicts[sentence as usize].load(Ordering::Relaxed)
    }

    fn take(&self) -> Option<Activation> {
        lock(&self.activated).take()
    }

    fn watches(&self, trial: Option<&Trial>) {
        let watching = |trial: &Trial| Watching {
            release: trial.release.number,
            against: trial.against,
            since: trial.since.clone(),
        };
        *lock(&self.watching) = trial.map(watching);
    }

    fn sentence(&self, switch: &Switch, sentence: Sentence, reason: String) {
        self.verdicts[sentence as usize].fetch_add(1, Ordering::Relaxed);
        let kind = match sentence {
            Sentence::WentBack => EventKind::WentBack,
            Sentence::Stuck | Sentence::Reported => EventKind::Worse,
            Sentence::Excused => EventKind::Excused,
        };
        switch.ground.events.tell(kind, None, None, reason);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
