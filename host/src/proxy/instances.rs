//! One worker's live policies: an instance of each that is, or may soon be, asked.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxBuildHasher;
use tokio::time::Instant;

use super::head::Head;
use crate::policy::answer::Answer;
use crate::policy::wasm::{Inputs, Instance, LastWords};
use crate::policy::{Fault, Isolation, Policy, PolicyId};

/// Calls after which an instance is replaced, so that what a guest hoards in its memory does not grow for ever.
const CALLS_MAX: u32 = 100_000;

/// Faults in a row after which a policy is left alone for a while.
const FAULTS_BEFORE_REST: u32 = 3;
/// The first rest; each further fault doubles it.
const REST_MIN: Duration = Duration::from_millis(100);
/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(5);

/// What came of asking.
pub enum Asked {
    /// The policy answered.
    Answer(Answer),
    /// It failed, just now, or so often that it was not asked.
    Failed(Fault, LastWords),
}

impl Asked {
    /// It was not even asked.
    fn not(fault: Fault) -> Self {
        Self::Failed(fault, LastWords::default())
    }
}

/// Policies that may be asked from now on.
pub type Live = HashSet<PolicyId, FxBuildHasher>;

/// A worker's instances, by policy.
#[derive(Default)]
pub struct Instances {
    // A handful mostly: the current release's policies and those that `back` and `forward` would need. But there are hosts
    // with hundreds of vips, each with a policy of its own.
    slots: HashMap<PolicyId, Slot, FxBuildHasher>,
}

#[derive(Default)]
struct Slot {
    instance: Option<Instance>,
    calls: u32,
    faults: u32,
    resting_until: Option<Instant>,
}

impl Instances {
    /// Takes in instances that were made elsewhere, and drops those of policies that are not in `live`.
    pub fn warm(&mut self, made: Vec<(PolicyId, Instance)>, live: &Live) {
        for (policy, instance) in made {
            let slot = self.slot(policy);
            slot.instance = Some(instance);
            slot.calls = 0;
        }
        self.slots.retain(|policy, _| live.contains(policy));
    }

    /// Which of these have no instance.
    pub fn lacking(&self, wanted: &[PolicyId]) -> Vec<PolicyId> {
        let is_there = |wanted: &PolicyId| self.slots.get(wanted).is_some_and(|slot| slot.instance.is_some());
        wanted.iter().filter(|wanted| !is_there(wanted)).copied().collect()
    }

    /// Asks a policy. The head comes back.
    pub fn ask(&mut self, policy: &Arc<Policy>, head: Box<Head>, inputs: Inputs) -> (Box<Head>, Asked) {
        let slot = self.slot(policy.id);
        if slot.resting_until.is_some_and(|until| Instant::now() < until) {
            return (head, Asked::not(Fault::Resting));
        }
        let mut instance = match slot.instance.take() {
            Some(instance) => instance,
            None => match policy.instance() {
                Ok(instance) => instance,
                // Not its fault, and over as soon as others are let go.
                Err(Fault::NoRoom) => return (head, Asked::not(Fault::NoRoom)),
                Err(fault) => {
                    slot.rest();
                    return (head, Asked::not(fault));
                }
            },
        };
        let (head, answer) = instance.decide(head, inputs);
        match answer {
            Ok(answer) => {
                slot.faults = 0;
                slot.resting_until = None;
                slot.calls += 1;
                if slot.calls >= CALLS_MAX || policy.build.limits.isolation == Isolation::Request {
                    slot.calls = 0;
                } else {
                    slot.instance = Some(instance);
                }
                (head, Asked::Answer(answer))
            }
            Err(fault) => {
                slot.rest();
                (head, Asked::Failed(fault, instance.last_words()))
            }
        }
    }

    fn slot(&mut self, policy: PolicyId) -> &mut Slot {
        self.slots.entry(policy).or_default()
    }
}

impl Slot {
    /// A policy that overruns costs its whole deadline each time it is asked, and everybody on this worker waits. So one
    /// that keeps failing is asked ever more rarely, even where there is no release to go back to.
    fn rest(&mut self) {
        self.faults += 1;
        if let Some(doublings) = self.faults.checked_sub(FAULTS_BEFORE_REST) {
            let rest = REST_MIN.saturating_mul(1 << doublings.min(10)).min(REST_MAX);
            self.resting_until = Some(Instant::now() + rest);
        }
    }
}
