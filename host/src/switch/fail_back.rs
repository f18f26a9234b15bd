//! Goes back by itself when the current release's policy keeps failing.
//!
//! The ladder answers each request that a policy fails on; this watches how often. A few failures within a short time,
//! and a release to go back to whose policy is another: it goes back, and says why.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Switch;
use super::crash::{Crash, Occasion};
use super::receipt::Origin;
use crate::policy::{Fault, Policy, PolicyId};
use crate::proxy::scene::Taken;
use crate::store::journal::{Kind, Record};

/// When to go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailBack {
    /// Failures of one policy...
    pub falls: usize,
    /// ...within this time.
    pub within: Duration,
}

impl Default for FailBack {
    fn default() -> Self {
        // One may be a freak request; five in ten seconds are a bug.
        Self { falls: 5, within: Duration::from_secs(10) }
    }
}

/// A request on which the current release's policy failed.
#[derive(Debug)]
pub struct Fall {
    /// The release.
    pub release: u64,
    /// The vip the request entered.
    pub vip: Arc<str>,
    /// The policy that failed.
    pub policy: Arc<Policy>,
    /// How.
    pub fault: Fault,
    /// What it decided by, where it was asked at all.
    pub scene: Option<Box<Taken>>,
}

/// Falls that may wait to be read; more than that say nothing new.
pub const FALLS_WAITING_MAX: usize = 1024;

/// Reads falls until the last worker is gone.
pub async fn watch(switch: Arc<Switch>, mut falls: mpsc::Receiver<Fall>, when: FailBack) {
    let mut recent: HashMap<(u64, PolicyId), Recent> = HashMap::new();
    while let Some(fall) = falls.recv().await {
        // Told before the switch was seen, read after it: old news.
        if switch.current.pin().releases().all(|release| release.number != fall.release) {
            continue;
        }
        let now = Instant::now();
        recent.retain(|(release, _), _| switch.current.pin().releases().any(|serves| serves.number == *release));
        let recent = recent.entry((fall.release, fall.policy.id)).or_default();
        while recent.times.front().is_some_and(|time| now.duration_since(*time) > when.within) {
            recent.times.pop_front();
        }
        if recent.times.is_empty() {
            note(&switch, &fall);
        }
        recent.times.push_back(now);
        let (release, policy) = (fall.release, fall.policy.clone());
        // That it rests says that it failed, not how.
        if !matches!(fall.fault, Fault::Resting) {
            recent.last = Some(fall);
        }
        if recent.times.len() >= when.falls {
            recent.times.clear();
            go_back(&switch, release, &policy, when, recent.last.take()).await;
        }
    }
}

/// The falls of one policy that count.
#[derive(Default)]
struct Recent {
    times: VecDeque<Instant>,
    /// The last that says how.
    last: Option<Fall>,
}

/// Journals the first of a series.
fn note(switch: &Switch, fall: &Fall) {
    let Fall { release, vip, policy, fault, .. } = fall;
    let (policy, digest) = (&*policy.build.name, policy.build.digest.short());
    let backtrace = match fault {
        Fault::Trapped { backtrace, .. } => backtrace.join(" < "),
        _ => String::new(),
    };
    tracing::warn!(release, vip = &**vip, policy, digest, backtrace, "policy failed: {fault}");
    let origin = Origin::host("");
    let mut why = format!("policy `{policy}` ({digest}) {fault}; vip `{vip}` is served by the next rung");
    if !matches!(fault, Fault::Resting) {
        let crash = Crash::of(fall, Occasion::FirstFall);
        why += &format!("; crash {}", crash.line.id);
        crash.keep(&switch.store);
    }
    let entry = origin.entry(Kind::Fall, Some(*release), None, why);
    drop(switch.journal.write_after(Record { entry: Some(entry), ..Record::default() }));
}

async fn go_back(switch: &Switch, release: u64, policy: &Policy, when: FailBack, last: Option<Fall>) {
    let name = &*policy.build.name;
    if switch.is_latched() {
        return;
    }
    // Going back to the same policy, told the same, would change nothing, and the next fall would walk us further back.
    let serving = switch.current.serving();
    let is_canary = serving.canary().is_some_and(|canary| canary.release.number == release);
    let behind = if is_canary { Some(serving.release.number) } else { switch.trail().behind() };
    let behind = behind.and_then(|number| switch.ready_release(number));
    if behind.is_none_or(|behind| behind.policies.get(name).is_some_and(|behind| behind.id == policy.id)) {
        return;
    }
    let standing = switch.standing();
    let before = standing.trail.position().checked_sub(1).filter(|_| !is_canary);
    if let Some((fence, _)) = before.and_then(|before| standing.fence_before(before)) {
        // For people to go over; until then each series would say so.
        tracing::warn!(release, policy = name, fence, "a policy keeps failing, and there is no return");
        return;
    }
    let within = humantime::format_duration(when.within);
    let mut why = format!("policy `{name}` failed {} times within {within}", when.falls);
    if let Some(last) = last {
        let crash = Crash::of(&last, Occasion::WentBack);
        why += &format!("; last it {}; crash {}", last.fault, crash.line.id);
        crash.keep(&switch.store);
    }
    match switch.back_from(release, &Origin { force: true, ..Origin::host(why) }).await {
        Ok(_) => tracing::error!(release, policy = name, "went back by itself"),
        Err(refusal) => tracing::warn!(release, %refusal, "did not go back by itself"),
    }
}
