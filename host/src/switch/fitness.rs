//! Whether the pools that a switch brings into use can serve: known before the first request, not by it.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::receipt::Origin;
use super::{Refusal, Switch};
use crate::policy::Policy;
use crate::proxy::health::Health;
use crate::proxy::pool::Pool;
use crate::proxy::seat::{MemberState, Seat};
use crate::release::Release;
use crate::spec::{DeciderSpec, PoolSpec};

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
        for pool in coming_into_use(&self.current.pin().release, release) {
            if let Some(reason) = what_is_wrong(&pool).or_else(|| what_is_not_found(&pool)) {
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
        for pool in coming_into_use(&self.current.pin().release, release) {
            // Of whom nothing is known now, nothing is known against.
            let is_known =
                |seat: &Seat| seat.checked.as_ref().is_none_or(|it| it.is_probed() && it.health() != Health::Unknown);
            if let Some(reason) = what_is_wrong(&pool).filter(|_| pool.roster().seats.iter().all(is_known)) {
                return Err(sick(&pool, reason));
            }
        }
        Ok(())
    }

    /// Keeps the members known of all releases that a step may lead to, and of one that is about to be.
    pub(super) fn keep_watch(&self, candidate: Option<&Arc<Release>>) {
        // Who looks first is to be heard first.
        let _watching = self.watching.lock().unwrap_or_else(PoisonError::into_inner);
        let neighbours = {
            let state = self.state();
            self.current.set_ready(state.ready.values().cloned().collect());
            let numbers = [state.standing.trail.behind(), state.standing.trail.ahead()];
            numbers.map(|number| number.and_then(|number| state.ready.get(&number).cloned()))
        };
        let serving = self.current.serving();
        let current = &serving.release;
        let canary = serving.canary().map(|canary| &canary.release);
        let releases = [Some(current), canary, neighbours[0].as_ref(), neighbours[1].as_ref(), candidate];
        let mut pools: Vec<Arc<Pool>> = Vec::new();
        for release in releases.into_iter().flatten() {
            pools.extend(release.pools.values().cloned());
        }
        pools.sort_unstable_by_key(Arc::as_ptr);
        pools.dedup_by(|one, other| Arc::ptr_eq(one, other));
        // Those of `back` are kept warm, where they are not in use anyway.
        let in_use: HashSet<_> = serving.releases().flat_map(|release| used(release)).map(Arc::as_ptr).collect();
        let mut warm: Vec<_> = neighbours[0].iter().flat_map(|behind| used(behind)).cloned().collect();
        warm.retain(|pool| !in_use.contains(&Arc::as_ptr(pool)));
        self.ground.warm.store(Arc::new(warm));
        self.keeper.watch(pools, current.pools.values().cloned().collect());
    }
}

/// The pools that requests of a release go to; some more than once.
fn used(release: &Release) -> impl Iterator<Item = &Arc<Pool>> {
    release.spec.vips.values().flat_map(|vip| destinations(release, &vip.decider))
}

/// The pools that requests of a vip go to by `new`, and not, or to other members or in another way, by `old`.
pub(super) fn coming_into_use(old: &Release, new: &Release) -> Vec<Arc<Pool>> {
    let mut coming: Vec<Arc<Pool>> = Vec::new();
    for (name, vip) in &new.spec.vips {
        let before = old.spec.vips.get(name);
        let before = || before.into_iter().flat_map(|vip| destinations(old, &vip.decider));
        for pool in destinations(new, &vip.decider) {
            // Releases share pools that they define alike: mostly there is nothing to compare.
            let is_alike = |before: &Arc<Pool>| {
                Arc::ptr_eq(before, pool) || before.name == pool.name && goes_alike(&before.spec, &pool.spec)
            };
            if !before().any(is_alike) {
                coming.push(pool.clone());
            }
        }
    }
    coming.sort_unstable_by_key(Arc::as_ptr);
    coming.dedup_by(|one, other| Arc::ptr_eq(one, other));
    coming
}

/// Whether requests meet the same members, spoken to in the same way.
fn goes_alike(one: &PoolSpec, other: &PoolSpec) -> bool {
    let members = |spec: &PoolSpec| -> Vec<_> {
        spec.members.iter().filter(|member| !member.drain).map(|member| member.at.clone()).collect()
    };
    let way = |spec: &PoolSpec| (spec.members_file.clone(), spec.protocol, spec.proxy_protocol, spec.tls.clone());
    members(one) == members(other) && way(one) == way(other)
}

fn destinations<'a>(release: &'a Release, decider: &'a DeciderSpec) -> impl Iterator<Item = &'a Arc<Pool>> {
    let (pool, policy) = match decider {
        DeciderSpec::Pool(pool) => (Some(pool), None),
        DeciderSpec::Policy(name) => (None, release.policies.get(name.as_str())),
    };
    let meant = |policy: &'a Arc<Policy>| {
        let pools = policy.manifest.pools.iter();
        pools.filter_map(|pool| Some(release.spec.pool_meant(&policy.build.name, pool)?.0))
    };
    let names = pool.into_iter().chain(policy.into_iter().flat_map(meant));
    names.filter_map(|name| release.pools.get(name.as_str()))
}

/// Why none of a pool's members is fit, if so, as far as that is known. An empty pool is nobody's mistake to be kept from:
/// it may be filled later.
pub(super) fn what_is_wrong(pool: &Pool) -> Option<String> {
    let roster = pool.roster();
    if roster.seats.is_empty() || roster.fit > 0 {
        return None;
    }
    let now = crate::time::nanos_since_start();
    let wrong = |seat: &Seat| {
        let reason = || seat.checked.as_ref().map(|checked| checked.reason()).filter(|reason| !reason.is_empty());
        let what = match seat.state(now) {
            MemberState::Drained => "is drained".into(),
            MemberState::Sick | MemberState::Unknown => reason().unwrap_or("has not answered a probe yet".into()),
            MemberState::LeftAlone => "is left alone for its failures".into(),
            MemberState::OnTrial | MemberState::Fit => "is not fit".into(),
        };
        format!("{}: {what}", seat.member.address)
    };
    let told: Vec<String> = roster.seats.iter().take(TOLD_MAX).map(wrong).collect();
    Some(listed(&told, roster.seats.len()))
}

/// Where nothing is found, if all that a pool could have would have to be.
pub(super) fn what_is_not_found(pool: &Pool) -> Option<String> {
    let sources: Vec<String> = pool.sources().map(|source| source.to_string()).collect();
    let is_empty = pool.roster().seats.is_empty() && !sources.is_empty();
    is_empty.then(|| format!("nothing is found at {}", sources.join(", ")))
}

/// Tries to reach a pool of which no check knows anything. That its members answered once does not say that they are there.
async fn reach(pool: &Arc<Pool>) -> Result<(), Refusal> {
    let roster = pool.roster();
    if roster.seats.is_empty() || pool.spec.check.is_some() {
        return Ok(());
    }
    let mut tries = JoinSet::new();
    for seat in roster.seats.iter().filter(|seat| !seat.is_drained()).take(TRIED_MAX) {
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
