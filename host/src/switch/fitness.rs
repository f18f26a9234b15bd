//! Whether the pools that a switch brings into use can serve: known before the first request, not by it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::receipt::Origin;
use super::{Refusal, Switch};
use crate::proxy::breaker::State;
use crate::proxy::health::Health;
use crate::proxy::pool::Pool;
use crate::proxy::roster::Seat;
use crate::release::Release;
use crate::spec::DeciderSpec;

/// How long a switch waits until members that nobody knows have been found and probed.
const PROBING_MAX: Duration = Duration::from_secs(3);

/// Members of a pool without checks that are tried, to see whether any can be reached.
const TRIED_MAX: usize = 32;

/// Members that a refusal tells of.
const TOLD_MAX: usize = 3;

impl Switch {
    /// Has the members of a release found and probed that are not known yet, and refuses it if a pool that comes into use
    /// has none that is fit.
    pub(super) async fn prepare(&self, release: &Arc<Release>, origin: &Origin) -> Result<(), Refusal> {
        let pools: Vec<_> = release.pools.values().cloned().collect();
        self.keep_watch(Some(release));
        self.keeper.prepare(pools, PROBING_MAX).await;
        if origin.force {
            return Ok(());
        }
        for pool in coming_into_use(&self.current.pin(), release) {
            if let Some(reason) = what_is_wrong(&pool) {
                return Err(sick(&pool, reason));
            }
            reach(&pool).await?;
        }
        Ok(())
    }

    /// Refuses a release whose pools are known to be sick. Asks nobody: this is for steps that must not wait.
    pub(super) fn check_known(&self, release: &Release, origin: &Origin) -> Result<(), Refusal> {
        if origin.force {
            return Ok(());
        }
        for pool in coming_into_use(&self.current.pin(), release) {
            if let Some(reason) = what_is_wrong(&pool) {
                return Err(sick(&pool, reason));
            }
        }
        Ok(())
    }

    /// Keeps the members known of all releases that a step may lead to, and of one that is about to be.
    pub(super) fn keep_watch(&self, candidate: Option<&Arc<Release>>) {
        let neighbours = {
            let state = self.state();
            let numbers = [state.trail.behind(), state.trail.ahead()];
            numbers.map(|number| number.and_then(|number| state.ready.get(&number).cloned()))
        };
        let current = self.current.get();
        let releases = [Some(&current), neighbours[0].as_ref(), neighbours[1].as_ref(), candidate];
        let mut pools: Vec<Arc<Pool>> = Vec::new();
        for release in releases.into_iter().flatten() {
            pools.extend(release.pools.values().cloned());
        }
        pools.sort_unstable_by_key(Arc::as_ptr);
        pools.dedup_by(|one, other| Arc::ptr_eq(one, other));
        // Those of `back` are kept warm, where they are not in use anyway.
        let behind = neighbours[0].as_ref().map(|behind| behind.pools.values()).into_iter().flatten();
        let warm = behind.filter(|pool| {
            current.pools.get(&pool.name).is_none_or(|used| !Arc::ptr_eq(used, pool)) || !is_used(&current, pool)
        });
        self.ground.warm.store(Arc::new(warm.cloned().collect()));
        self.keeper.watch(pools);
    }
}

/// Whether requests of a release go to this pool.
fn is_used(release: &Release, pool: &Arc<Pool>) -> bool {
    release.spec.vips.values().any(|vip| destinations(release, &vip.decider).any(|used| Arc::ptr_eq(used, pool)))
}

/// The pools that requests go to by `new`, and not, or as another set of members, by `old`.
fn coming_into_use(old: &Release, new: &Release) -> Vec<Arc<Pool>> {
    let mut coming: Vec<Arc<Pool>> = Vec::new();
    for (name, vip) in &new.spec.vips {
        let same_decider = old.spec.vips.get(name).is_some_and(|old| old.decider == vip.decider);
        for pool in destinations(new, &vip.decider) {
            let same_pool = old.pools.get(&pool.name).is_some_and(|old| old.spec.members == pool.spec.members);
            let is_in_use = same_decider && same_pool;
            let is_known = coming.iter().any(|known| Arc::ptr_eq(known, pool));
            if !is_in_use && !is_known {
                coming.push(pool.clone());
            }
        }
    }
    coming
}

fn destinations<'a>(release: &'a Release, decider: &'a DeciderSpec) -> impl Iterator<Item = &'a Arc<Pool>> {
    let names: Vec<&str> = match decider {
        DeciderSpec::Pool(pool) => vec![pool],
        DeciderSpec::Policy(policy) => {
            let manifest = release.policies.get(policy.as_str()).map(|policy| &policy.manifest);
            manifest.map(|manifest| manifest.pools.iter().map(String::as_str).collect()).unwrap_or_default()
        }
    };
    names.into_iter().filter_map(|name| release.pools.get(name))
}

/// Why none of a pool's members is fit, if so, as far as that is known. An empty pool is nobody's mistake to be kept from:
/// it may be filled later.
fn what_is_wrong(pool: &Pool) -> Option<String> {
    let roster = pool.roster();
    if roster.seats.is_empty() || roster.fit > 0 {
        return None;
    }
    let now = crate::time::nanos_since_start();
    let wrong = |seat: &Seat| {
        let what = match &seat.checked {
            _ if seat.is_drained() => "is drained".to_owned(),
            Some(checked) if checked.health() != Health::Healthy => match &*checked.reason() {
                "" => "has not answered a probe yet".to_owned(),
                reason => reason.to_owned(),
            },
            _ if seat.member.breaker.state(now) == State::Open => "is left alone for its failures".to_owned(),
            _ => "is not fit".to_owned(),
        };
        format!("{}: {what}", seat.member.address)
    };
    let told: Vec<String> = roster.seats.iter().take(TOLD_MAX).map(wrong).collect();
    Some(listed(&told, roster.seats.len()))
}

/// Tries to reach a pool of which nothing is known: without checks, and never asked.
async fn reach(pool: &Arc<Pool>) -> Result<(), Refusal> {
    let roster = pool.roster();
    let is_known = |seat: &Seat| seat.checked.is_some() || seat.member.deeds().answers > 0;
    if roster.seats.is_empty() || roster.seats.iter().any(is_known) {
        return Ok(());
    }
    let mut tries = JoinSet::new();
    for seat in roster.seats.iter().take(TRIED_MAX) {
        let (pool, address) = (pool.clone(), seat.member.address.clone());
        tries.spawn(async move {
            let reached = pool.transport.connect(&address, None, pool.timeouts.connect.min(PROBING_MAX)).await;
            reached.map(drop).map_err(|error| format!("{address}: {error}"))
        });
    }
    let mut wrong = Vec::new();
    while let Some(reached) = tries.join_next().await {
        match reached {
            Ok(Err(error)) => wrong.push(error),
            // One is enough; the others are let go.
            _ => return Ok(()),
        }
    }
    wrong.truncate(TOLD_MAX);
    Err(sick(pool, listed(&wrong, roster.seats.len())))
}

fn sick(pool: &Pool, reason: String) -> Refusal {
    Refusal::Sick { pool: pool.name.to_string(), reason }
}

fn listed(told: &[String], all: usize) -> String {
    let more = if all > told.len() { format!(", and {} more", all - told.len()) } else { String::new() };
    told.join(", ") + &more
}
