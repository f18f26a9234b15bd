//! The way back: whether the release that `back` would activate could serve at once, and what is in its way if not.
//!
//! Looked at each second and after each switch, not when it is asked for: whoever needs to know has no time to wait. What a
//! worker lacks is made again on the occasion.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior};

use super::Switch;
use super::fitness::{coming_into_use, what_is_not_found, what_is_wrong};
use crate::policy::{Isolation, Policy};
use crate::proxy::events::EventKind;
use crate::proxy::pool::Pool;
use crate::proxy::warmth;
use crate::proxy::worker::Order;
use crate::release::Release;

/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How often it is seen whether somebody has switched.
const SWITCHED: Duration = Duration::from_millis(100);

/// How long workers may take to say what they hold. One that takes longer is not ready for anything.
const WORKERS_PATIENCE: Duration = Duration::from_secs(2);

/// How long whoever asks waits for a look.
const ASKED_PATIENCE: Duration = Duration::from_millis(300);

/// How long something must be in the way until it is told of: after a switch there is always something, for a moment.
const TOLD_AFTER: Duration = Duration::from_millis(2500);

/// How the way back stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WayBack {
    /// Where it leads; nowhere if none.
    pub to: Option<u64>,
    /// What is in the way. Nothing: it is ready.
    pub reasons: Vec<String>,
}

/// What was last seen of it.
#[derive(Default)]
pub struct LastSeen {
    way: Mutex<WayBack>,
    /// A release that could not be made ready, and why.
    refused: Mutex<Option<(u64, String)>>,
}

impl WayBack {
    /// Whether `back` can be pressed, and serves at once.
    pub fn is_ready(&self) -> bool {
        self.to.is_some() && self.reasons.is_empty()
    }
}

impl std::fmt::Display for WayBack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.to {
            None => f.write_str("nowhere to go"),
            Some(to) if self.is_ready() => write!(f, "ready -> r{to}"),
            Some(to) => write!(f, "not ready -> r{to}: {}", self.reasons.join("; ")),
        }
    }
}

/// Keeps looking, for ever, and tells when it changes.
pub async fn watch(switch: Arc<Switch>) {
    let mut every = tokio::time::interval(SWITCHED);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked: Option<(Instant, u64)> = None;
    let (mut told, mut differs_since) = (WayBack::default(), None);
    loop {
        every.tick().await;
        let generation = switch.state().generation;
        if looked.is_some_and(|(at, then)| then == generation && at.elapsed() < LOOK) {
            continue;
        }
        looked = Some((Instant::now(), generation));
        let way = switch.look_back().await;
        *lock(&switch.last_seen.way) = way.clone();
        if (way.to, way.is_ready()) == (told.to, told.is_ready()) {
            differs_since = None;
            continue;
        }
        let since = *differs_since.get_or_insert_with(Instant::now);
        if way.is_ready() || way.to.is_none() || since.elapsed() >= TOLD_AFTER {
            let kind = if way.is_ready() { EventKind::BackReady } else { EventKind::BackNotReady };
            switch.ground.events.tell(kind, None, None, format!("back: {way}"));
            (told, differs_since) = (way, None);
        }
    }
}

impl Switch {
    /// The way back as it was last seen.
    pub fn way_back(&self) -> WayBack {
        let seen = lock(&self.last_seen.way).clone();
        match self.leads_back_to() {
            // Somebody has just switched.
            to if to != seen.to => {
                WayBack { to, reasons: to.map(|_| "has not been looked at yet".into()).into_iter().collect() }
            }
            _ => seen,
        }
    }

    /// Looks again where somebody has switched since: for those who ask and can wait for a moment.
    pub async fn look_back_again(&self) {
        let is_old = self.leads_back_to() != lock(&self.last_seen.way).to;
        if is_old && let Ok(way) = tokio::time::timeout(ASKED_PATIENCE, self.look_back()).await {
            *lock(&self.last_seen.way) = way;
        }
    }

    /// A release on the trail could not be made ready.
    pub(super) fn could_not_ready(&self, release: u64, why: String) {
        // Of those that lie further away it is not asked.
        if self.leads_back_to() == Some(release) {
            *lock(&self.last_seen.refused) = Some((release, why));
        }
    }

    async fn look_back(&self) -> WayBack {
        let Some(to) = self.leads_back_to() else { return WayBack::default() };
        let Some(release) = self.ready_release(to) else {
            let refused = lock(&self.last_seen.refused).clone().filter(|(release, _)| *release == to);
            let why = refused.map_or_else(|| "its policies are being staged".into(), |(_, why)| why);
            return WayBack { to: Some(to), reasons: vec![why] };
        };
        let mut reasons: Vec<_> = self.point_of_no_return(to).into_iter().collect();
        reasons.extend(self.what_workers_lack(&release).await);
        reasons.extend(self.what_pools_lack(&release));
        WayBack { to: Some(to), reasons }
    }

    /// Where `back` leads: with a canary, to the current release alone.
    fn leads_back_to(&self) -> Option<u64> {
        let serving = self.current.serving();
        if serving.canary().is_some() { Some(serving.release.number) } else { self.trail().behind() }
    }

    fn point_of_no_return(&self, to: u64) -> Option<String> {
        let standing = self.standing();
        let (release, mark) = standing.fence_before(standing.trail.position_of(to)?)?;
        Some(format!("r{release} is a point of no return ({})", mark.why))
    }

    /// Policies of which some worker has no instance. They get one.
    async fn what_workers_lack(&self, release: &Release) -> Vec<String> {
        // Who gets a new instance for each request has none in between.
        let kept = |policy: &&Arc<Policy>| policy.build.limits.isolation == Isolation::Worker;
        let kept: Vec<_> = release.policies.values().filter(kept).cloned().collect();
        if kept.is_empty() {
            return Vec::new();
        }
        let wanted: Vec<_> = kept.iter().map(|policy| policy.id).collect();
        let asked = self.tell_workers(|answer| Order::Lacking { wanted: wanted.clone(), answer });
        let Ok(lacking) = tokio::time::timeout(WORKERS_PATIENCE, asked).await else {
            return vec!["a worker does not answer".into()];
        };
        let lacking: BTreeSet<_> = lacking.into_iter().flatten().collect();
        let lacking: Vec<_> = kept.into_iter().filter(|policy| lacking.contains(&policy.id)).collect();
        // A change that is under way brings its own, and would be disturbed.
        if let (false, Ok(_turn)) = (lacking.is_empty(), self.turn.try_lock()) {
            self.warm_again(lacking.clone()).await;
        }
        let reason = |policy: &Arc<Policy>| format!("policy {} has no instance on some worker", policy.build.name);
        lacking.iter().map(reason).collect()
    }

    /// Pools that would come into use, and cannot serve.
    fn what_pools_lack(&self, release: &Release) -> Vec<String> {
        let kept_warm = self.ground.warm.load();
        let reason = |pool: Arc<Pool>| {
            if let Some(wrong) = what_is_wrong(&pool) {
                return Some(format!("pool {} has no fit member ({wrong})", pool.name));
            }
            if let Some(wrong) = what_is_not_found(&pool) {
                return Some(format!("pool {} has no member ({wrong})", pool.name));
            }
            let is_kept_warm = kept_warm.iter().take(warmth::POOLS_MAX).any(|warm| Arc::ptr_eq(warm, &pool));
            let is_cold = is_kept_warm && keeps_connections(&pool) && !is_connected(&pool);
            is_cold.then(|| format!("pool {} has no open connection to a fit member", pool.name))
        };
        coming_into_use(&self.current.get(), release).into_iter().filter_map(reason).collect()
    }
}

/// Whether connections to its members are open while nobody uses them. Those that speak for one client are not.
fn keeps_connections(pool: &Pool) -> bool {
    pool.spec.keep_alive.idle_max > 0 && pool.spec.proxy_protocol.is_none() && !pool.roster().seats.is_empty()
}

/// Whether a fit member of it could be reached when that was last tried, and has a connection, or had one just now: some
/// members close what is idle.
fn is_connected(pool: &Pool) -> bool {
    let now = crate::time::nanos_since_start();
    pool.roster().seats.iter().any(|seat| seat.is_fit(now) && seat.member.is_reached(now))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_where_it_leads_and_what_is_in_the_way() {
        let check = |to, reasons: &[&str], expected: &str| {
            let way = WayBack { to, reasons: reasons.iter().map(|&reason| reason.into()).collect() };
            assert_eq!(way.to_string(), expected);
        };
        check(None, &[], "nowhere to go");
        check(Some(41), &[], "ready -> r41");
        check(Some(41), &["a", "b"], "not ready -> r41: a; b");
    }
}
