//! Which vips a change has nothing to do with: what becomes of their requests is not its doing.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::proxy::pool::Pool;
use crate::proxy::vip::{Decider, Vip};
use crate::release::Release;

/// The names of these. They are as before in everything, and share no member with any that is not.
pub(super) fn controls(old: &Release, new: &Release) -> BTreeSet<Arc<str>> {
    let (same, changed): (Vec<_>, Vec<_>) = new.vips.values().partition(|vip| is_same(old, new, vip));
    // What changed may weigh on members that others use as well.
    let gone = old.vips.values().filter(|vip| !new.vips.contains_key(&vip.name));
    let was = changed.iter().filter_map(|vip| old.vips.get(&vip.name));
    let concerned: BTreeSet<String> =
        changed.iter().copied().chain(was).chain(gone).flat_map(|vip| members(vip)).collect();
    let alone = same.into_iter().filter(|vip| members(vip).all(|member| !concerned.contains(&member)));
    alone.map(|vip| vip.name.clone()).collect()
}

fn is_same(old: &Release, new: &Release, vip: &Vip) -> bool {
    let name = &*vip.name;
    let Some(before) = old.vips.get(name) else { return false };
    let listens_alike = || {
        let listeners = &new.spec.vips[name].listen;
        listeners.iter().all(|listener| old.spec.listener(listener) == new.spec.listener(listener))
    };
    let decides_alike = match (&before.decider, &vip.decider) {
        (Decider::Policy { current: before, .. }, Decider::Policy { current, .. }) => {
            before.policy.id == current.policy.id
        }
        (Decider::Policy { .. }, _) | (_, Decider::Policy { .. }) => false,
        _ => true,
    };
    // A pool is the same one in all releases that define it alike.
    let goes_alike = || pools(vip).all(|pool| old.pools.get(&pool.name).is_some_and(|was| Arc::ptr_eq(was, pool)));
    old.spec.vips.get(name) == new.spec.vips.get(name) && decides_alike && listens_alike() && goes_alike()
}

fn pools(vip: &Vip) -> impl Iterator<Item = &Arc<Pool>> {
    let mirror = vip.mirror.as_ref().map(|mirror| &mirror.pool);
    vip.decider.pools().chain(&vip.fallback).chain(mirror)
}

/// Where its requests may go: addresses, names and files at which members are found.
fn members(vip: &Vip) -> impl Iterator<Item = String> {
    pools(vip).flat_map(|pool| {
        let named = pool.spec.members.iter().map(|member| member.at.to_string());
        let found = pool.spec.members_file.iter().map(|file| file.display().to_string());
        named.chain(found).collect::<Vec<_>>()
    })
}
