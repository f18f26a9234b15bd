//! The ladder: the release's policy, the policy of the release before, the vip's fallback pool, and then 503.

use std::sync::Arc;

use super::head::Head;
use super::instances::Asked;
use super::pool::Pool;
use super::record::Record;
use super::scene::Scene;
use super::vip::{Decider, Rung, Vip};
use super::worker::{Moment, Worker};
use crate::policy::Fault;
use crate::policy::answer::{Answer, Respond, Route};
use crate::release::Release;
use crate::switch::fail_back::{FALLS_WAITING_MAX, Fall};
use crate::time::clock;

/// Falls that wait to be read and have all with them that is needed to see why.
const SCENES_MAX: usize = 64;

/// What is done with a request.
pub enum Decision {
    /// It goes to a pool; the route says what a policy wants beside.
    Pool(Arc<Pool>, Option<Box<Route>>),
    /// The policy answers.
    Respond(Box<Respond>),
    /// Nobody could decide.
    Undecided,
}

/// Decides one request. The head comes back, whatever happens.
pub fn decide(
    worker: &Worker,
    record: &Record,
    release: &Release,
    vip: &Vip,
    head: Box<Head>,
) -> (Box<Head>, Decision) {
    let counts = vip.counts.of(worker.id);
    counts.requests.add();
    let head = match &vip.decider {
        Decider::Pool(pool) => return (head, Decision::Pool(pool.clone(), None)),
        Decider::Policy { current, previous } => {
            // One moment for all: what the next rung decides is what the first would have, had it been that policy.
            let moment = worker.moment();
            let (head, decision) = ask(worker, record, current, head, moment, |fault, scene| {
                worker.report(release, vip, current, fault, scene);
            });
            if let Some(decision) = decision {
                return (head, decision);
            }
            let Some(previous) = previous else { return last_rungs(worker, vip, head) };
            // Only the current policy's faults are reported: the switch cannot go back from an earlier one.
            let (head, decision) = ask(worker, record, previous, head, moment, |_, _| {});
            if let Some(decision) = decision {
                counts.by_previous.add();
                return (head, decision);
            }
            head
        }
        Decider::Awaited => head,
    };
    last_rungs(worker, vip, head)
}

fn last_rungs(worker: &Worker, vip: &Vip, head: Box<Head>) -> (Box<Head>, Decision) {
    let counts = vip.counts.of(worker.id);
    match &vip.fallback {
        Some(pool) => {
            counts.by_fallback.add();
            (head, Decision::Pool(pool.clone(), None))
        }
        None => {
            counts.undecided.add();
            (head, Decision::Undecided)
        }
    }
}

/// Asks the policy of one rung; `None` where the next rung must answer.
fn ask(
    worker: &Worker,
    record: &Record,
    rung: &Rung,
    head: Box<Head>,
    moment: Moment,
    report: impl FnOnce(Fault, Scene<'_>),
) -> (Box<Head>, Option<Decision>) {
    let began = clock::again();
    let (head, asked) = worker.ask(rung, head, moment);
    // One that was not asked took no time, and tells nothing of those that were.
    if !matches!(asked, Asked::Failed(Fault::Resting | Fault::NoRoom, _)) {
        let took = clock::again() - began;
        rung.counts.decided(worker.id, took);
        record.decided(&rung.policy.build.name, began, took);
    }
    let decision = match asked {
        // An earlier release's policy may choose a pool that this release has no more.
        Asked::Answer(Answer::Route(pool, route)) => {
            rung.pools.at(pool).map(|pool| Decision::Pool(pool.clone(), route))
        }
        Asked::Answer(Answer::Respond(respond)) => Some(Decision::Respond(respond)),
        Asked::Failed(fault, words) => {
            report(fault, Scene { head: &head, moment, words });
            None
        }
    };
    (head, decision)
}

impl Worker {
    /// Tells the switch that a policy failed. Never waits: when it has more falls to read than it can, it knows enough.
    fn report(&self, release: &Release, vip: &Vip, rung: &Rung, fault: Fault, scene: Scene<'_>) {
        if matches!(fault, Fault::NoRoom) {
            if let Some(left_out) = self.log.spend() {
                tracing::error!(policy = &*rung.policy.build.name, left_out, "{fault}");
            }
            return;
        }
        vip.outcomes.fell(self.id);
        // One that was not asked has seen nothing; and of a flood of falls, the first tell enough.
        let is_of_use = !matches!(fault, Fault::Resting) && self.falls.capacity() > FALLS_WAITING_MAX - SCENES_MAX;
        let scene = is_of_use.then(|| Box::new(scene.take()));
        let fall = Fall { release: release.number, vip: vip.name.clone(), policy: rung.policy.clone(), fault, scene };
        let _ = self.falls.try_send(fall);
    }
}
