//! One vip as it was in another release, and everything else as it is: what `back --vip` makes.
//!
//! A vip stands on more than its own entry: listeners, pools, a policy. Where another vip stands on the same and must not
//! change, what returns gets a name of its own: `web@r41` is the policy `web` as it was in r41, for those that returned to
//! it. Such a policy means by `blue` the pool `blue@r41` where there is one, else `blue`.

use std::collections::{BTreeMap, BTreeSet};

use super::{DeciderSpec, ListenerSpec, PolicySpec, PoolSpec, Spec, VipSpec};

/// A release's content, and the pools that its policies may choose.
#[derive(Clone, Copy)]
pub struct Content<'a> {
    /// The content.
    pub spec: &'a Spec,
    /// By a policy's name in the content: the pools that it names.
    pub chooses: &'a BTreeMap<String, Vec<String>>,
}

/// What tells names of entries that returned from those that were written by somebody.
const MARK: char = '@';

/// A name as it was before anything returned.
pub fn plain(name: &str) -> &str {
    name.split_once(MARK).map_or(name, |(plain, _)| plain)
}

fn mark(name: &str) -> &str {
    name.split_once(MARK).map_or("", |(_, mark)| mark)
}

fn marked(name: &str, mark: &str) -> String {
    let plain = plain(name);
    if mark.is_empty() { plain.to_owned() } else { format!("{plain}{MARK}{mark}") }
}

impl Spec {
    /// The pool that a policy means by a name.
    pub fn pool_meant<'a>(&'a self, policy: &str, pool: &str) -> Option<(&'a String, &'a PoolSpec)> {
        let its_own = mark(policy);
        let its_own = if its_own.is_empty() { None } else { self.pools.get_key_value(&marked(pool, its_own)) };
        its_own.or_else(|| self.pools.get_key_value(pool))
    }

    /// Lets a policy's plain name decide again for the vips that returned to an earlier build of it: a newer one has come.
    pub fn follow(&mut self, policy: &str) {
        for vip in self.vips.values_mut() {
            if let DeciderSpec::Policy(name) = &mut vip.decider
                && plain(name) == policy
            {
                policy.clone_into(name);
            }
        }
        self.tidy();
    }

    /// Drops what had returned for vips that have no use for it any more.
    pub fn tidy(&mut self) {
        let policies: BTreeSet<String> = self.vips.values().filter_map(|vip| vip.policy().map(str::to_owned)).collect();
        let pools: BTreeSet<String> = self.vips.values().flat_map(VipSpec::pools).map(str::to_owned).collect();
        // What a policy may choose, it says once it is staged: all pools of its mark stay.
        let marks: BTreeSet<&str> = policies.iter().map(|policy| mark(policy)).collect();
        let is_used = |name: &str| mark(name).is_empty() || marks.contains(mark(name)) || pools.contains(name);
        self.pools.retain(|name, _| is_used(name));
        self.policies.retain(|name, _| mark(name).is_empty() || policies.contains(name));
    }
}

/// Everything that a vip stands on, by plain names. Two of these are equal where the vip does the same.
#[derive(PartialEq)]
struct Ground {
    vip: VipSpec,
    listeners: BTreeMap<String, ListenerSpec>,
    policy: Option<PolicySpec>,
    pools: BTreeMap<String, PoolSpec>,
}

impl Content<'_> {
    /// This content, with a vip as it is in another: of release `number`. `None` where it is the same already.
    ///
    /// Listeners that other vips share stay as they are here: an address cannot be spoken at in two ways.
    pub fn with_vip_of(&self, other: &Content<'_>, number: u64, vip: &str) -> Option<Spec> {
        let mut spec = self.spec.clone();
        let here = spec.vips.remove(vip);
        let Some(there) = other.spec.vips.get(vip) else {
            here?;
            spec.tidy();
            return Some(spec);
        };
        let shared: BTreeSet<String> = spec.vips.values().flat_map(|vip| vip.listen.clone()).collect();
        let wanted = other.ground(there, &shared);
        if here.is_some_and(|here| self.ground(&here, &shared) == wanted) {
            return None;
        }
        let taken = spec.vips.values().map(|vip| self.names(vip)).collect();
        let place = Place { spec: self.spec, taken, wanted: &wanted };
        let mark = place.mark(number);
        spec.listeners.extend(wanted.listeners.clone());
        place.put(&mark, &mut spec);
        let mut entry = renamed(&wanted.vip, |pool| place.pool(pool, &mark));
        if let DeciderSpec::Policy(policy) = &mut entry.decider {
            *policy = marked(policy, &mark);
        }
        spec.vips.insert(vip.to_owned(), entry);
        spec.tidy();
        Some(spec)
    }

    fn ground(&self, vip: &VipSpec, shared: &BTreeSet<String>) -> Ground {
        let Names { policy, pools } = self.names(vip);
        let its_own = |name: &&String| !shared.contains(*name);
        let listener = |name: &String| Some((name.clone(), self.spec.listeners.get(name)?.clone()));
        let pool = |name: String| Some((plain(&name).to_owned(), self.spec.pools.get(&name)?.clone()));
        let mut plainly = renamed(vip, |pool| plain(pool).to_owned());
        if let DeciderSpec::Policy(policy) = &mut plainly.decider {
            *policy = plain(policy).to_owned();
        }
        Ground {
            vip: plainly,
            listeners: vip.listen.iter().filter(its_own).filter_map(listener).collect(),
            policy: policy.and_then(|name| self.spec.policies.get(&name).cloned()),
            pools: pools.into_iter().filter_map(pool).collect(),
        }
    }

    fn names(&self, vip: &VipSpec) -> Names {
        let mut pools: BTreeSet<String> = vip.pools().map(str::to_owned).collect();
        let DeciderSpec::Policy(policy) = &vip.decider else { return Names { policy: None, pools } };
        let chosen = self.chooses.get(policy).into_iter().flatten();
        pools.extend(chosen.filter_map(|pool| self.spec.pool_meant(policy, pool)).map(|(name, _)| name.clone()));
        Names { policy: Some(policy.clone()), pools }
    }
}

/// What a vip names, as it is called in its content.
struct Names {
    policy: Option<String>,
    pools: BTreeSet<String>,
}

/// Finds names for what a vip stands on that are in nobody's way.
struct Place<'a> {
    spec: &'a Spec,
    /// What other vips stand on.
    taken: Vec<Names>,
    wanted: &'a Ground,
}

impl Place<'_> {
    /// What tells the names apart: nothing, where that will do.
    fn mark(&self, number: u64) -> String {
        let names = self.spec.pools.keys().chain(self.spec.policies.keys());
        let known: BTreeSet<&str> = names.map(|name| mark(name)).chain([""]).collect();
        if let Some(known) = known.into_iter().find(|mark| self.is_there(mark)) {
            return known.to_owned();
        }
        let new = (0..).map(|again: u32| if again == 0 { format!("r{number}") } else { format!("r{number}.{again}") });
        std::iter::once(String::new()).chain(new).find(|mark| self.is_free(mark)).expect("there is always another name")
    }

    /// Whether everything is there under this mark as it is wanted.
    fn is_there(&self, mark: &str) -> bool {
        let policy = self.wanted.policy.as_ref();
        policy.is_none_or(|policy| self.spec.policies.get(&self.policy(mark)) == Some(policy))
            && self.wanted.pools.iter().all(|(name, pool)| self.spec.pools.get(&self.pool(name, mark)) == Some(pool))
    }

    /// Whether nobody else stands on what is there under this mark, where that is something else.
    fn is_free(&self, mark: &str) -> bool {
        let policy = self.policy(mark);
        let policy_is_free = self.wanted.policy.as_ref().is_none_or(|wanted| {
            self.spec.policies.get(&policy).is_none_or(|there| there == wanted)
                || !self.taken.iter().any(|names| names.policy.as_ref() == Some(&policy))
        });
        let pool_is_free = |(name, wanted): (&String, &PoolSpec)| {
            let name = self.pool(name, mark);
            self.spec.pools.get(&name).is_none_or(|there| there == wanted)
                || !self.taken.iter().any(|names| names.pools.contains(&name))
        };
        policy_is_free && self.wanted.pools.iter().all(pool_is_free)
    }

    fn policy(&self, mark: &str) -> String {
        match &self.wanted.vip.decider {
            DeciderSpec::Policy(policy) => marked(policy, mark),
            DeciderSpec::Pool(_) => String::new(),
        }
    }

    /// What a pool is called: as before where that is what is wanted, as [`Spec::pool_meant`] finds it.
    fn pool(&self, pool: &str, mark: &str) -> String {
        let marked = marked(pool, mark);
        let is_as_before = self.spec.pools.get(pool) == self.wanted.pools.get(pool);
        if is_as_before && !self.spec.pools.contains_key(&marked) { pool.to_owned() } else { marked }
    }

    fn put(&self, mark: &str, spec: &mut Spec) {
        if let Some(policy) = &self.wanted.policy {
            spec.policies.insert(self.policy(mark), policy.clone());
        }
        for (name, pool) in &self.wanted.pools {
            spec.pools.insert(self.pool(name, mark), pool.clone());
        }
    }
}

/// A vip whose pools have other names.
fn renamed(vip: &VipSpec, name: impl Fn(&str) -> String) -> VipSpec {
    let mut vip = vip.clone();
    if let DeciderSpec::Pool(pool) = &mut vip.decider {
        *pool = name(pool);
    }
    vip.fallback = vip.fallback.as_deref().map(&name);
    if let Some(mirror) = &mut vip.mirror {
        mirror.pool = name(&mirror.pool);
    }
    vip
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    /// Vips and what decides for them, `=NAME` a pool; pools and policies, each in a version.
    fn spec(vips: &[(&str, &str)], pools: &[(&str, u64)], policies: &[(&str, u64)]) -> Spec {
        let vip = |&(name, decider): &(&str, &str)| {
            let decider = match decider.strip_prefix('=') {
                Some(pool) => DeciderSpec::Pool(pool.into()),
                None => DeciderSpec::Policy(decider.into()),
            };
            (name.to_owned(), VipSpec::new(vec![format!("unix:/{name}")], decider))
        };
        let pool = |&(name, version): &(&str, u64)| {
            let connect_timeout = std::time::Duration::from_secs(version);
            (name.to_owned(), PoolSpec { connect_timeout, ..PoolSpec::default() })
        };
        let policy = |&(name, version): &(&str, u64)| {
            let digest = Some(Digest::of(&version.to_ne_bytes()));
            (name.to_owned(), PolicySpec { digest, ..PolicySpec::default() })
        };
        Spec {
            listeners: BTreeMap::new(),
            vips: vips.iter().map(vip).collect(),
            pools: pools.iter().map(pool).collect(),
            policies: policies.iter().map(policy).collect(),
        }
    }

    /// What a vip's return makes of a content, where every policy may choose `blue` and `green`.
    fn returned(here: &Spec, there: &Spec, vip: &str) -> Option<Spec> {
        let chooses = |spec: &Spec| -> BTreeMap<String, Vec<String>> {
            spec.policies.keys().map(|name| (name.clone(), vec!["blue".into(), "green".into()])).collect()
        };
        let (chooses_here, chooses_there) = (chooses(here), chooses(there));
        let here = Content { spec: here, chooses: &chooses_here };
        let returned = here.with_vip_of(&Content { spec: there, chooses: &chooses_there }, 41, vip)?;
        returned.check().unwrap();
        Some(returned)
    }

    #[test]
    fn a_vip_alone_returns_as_it_was() {
        let there = spec(&[("shop", "=blue"), ("docs", "=blue")], &[("blue", 1)], &[]);
        let here = spec(&[("shop", "=green"), ("docs", "=green")], &[("blue", 1), ("green", 1)], &[]);
        let expected = spec(&[("shop", "=blue"), ("docs", "=green")], &[("blue", 1), ("green", 1)], &[]);
        assert_eq!(returned(&here, &there, "shop"), Some(expected));
        assert_eq!(returned(&here, &here, "shop"), None);
    }

    #[test]
    fn what_nobody_else_stands_on_returns_under_its_name() {
        let there = spec(&[("shop", "web"), ("docs", "=blue")], &[("blue", 1), ("green", 1)], &[("web", 1)]);
        let here = spec(&[("shop", "web"), ("docs", "=blue")], &[("blue", 1), ("green", 2)], &[("web", 2)]);
        assert_eq!(returned(&here, &there, "shop"), Some(there));
    }

    #[test]
    fn what_others_share_returns_under_a_name_of_its_own() {
        let vips = [("shop", "web"), ("docs", "web")];
        let there = spec(&vips, &[("blue", 1), ("green", 1)], &[("web", 1)]);
        let here = spec(&vips, &[("blue", 1), ("green", 2)], &[("web", 2)]);
        let pools = [("blue", 1), ("green", 2), ("green@r41", 1)];
        let expected = spec(&[("shop", "web@r41"), ("docs", "web")], &pools, &[("web", 2), ("web@r41", 1)]);
        let half = returned(&here, &there, "shop").unwrap();
        assert_eq!(half, expected);
        assert_eq!(half.pool_meant("web@r41", "green").unwrap().0, "green@r41");
        assert_eq!(half.pool_meant("web@r41", "blue").unwrap().0, "blue");

        // Where it has returned already there is nothing to do, and forward again leaves nothing behind.
        assert_eq!(returned(&half, &there, "shop"), None);
        assert_eq!(returned(&half, &here, "shop"), Some(here.clone()));
        // The second vip finds what the first has brought.
        let both = returned(&half, &there, "docs").unwrap();
        assert_eq!(both.vips["docs"].decider, DeciderSpec::Policy("web@r41".into()));
        assert_eq!((both.policies.len(), both.pools.len()), (2, 3));
    }

    #[test]
    fn a_policy_whose_pools_must_have_other_names_has_one_too() {
        let there = spec(&[("shop", "web"), ("docs", "=blue")], &[("blue", 1), ("green", 1)], &[("web", 1)]);
        let here = spec(&[("shop", "web"), ("docs", "=blue")], &[("blue", 2), ("green", 1)], &[("web", 1)]);
        let half = returned(&here, &there, "shop").unwrap();
        assert_eq!(half.vips["shop"].decider, DeciderSpec::Policy("web@r41".into()));
        assert_eq!(half.pools["blue@r41"], there.pools["blue"]);
        assert_eq!(half.pools["blue"], here.pools["blue"]);
    }

    #[test]
    fn a_vip_that_was_not_there_goes_and_one_that_is_gone_comes_back() {
        let there = spec(&[("docs", "=blue")], &[("blue", 1)], &[]);
        let here = spec(&[("docs", "=blue"), ("shop", "=blue")], &[("blue", 1)], &[]);
        assert_eq!(returned(&here, &there, "shop"), Some(there.clone()));
        assert_eq!(returned(&there, &here, "shop"), Some(here));
        assert_eq!(returned(&there, &there, "shop"), None);
    }

    #[test]
    fn a_new_build_is_followed_by_those_that_had_returned() {
        let vips = [("shop", "web@r41"), ("docs", "web")];
        let mut half = spec(&vips, &[("blue", 1), ("blue@r41", 1)], &[("web", 3), ("web@r41", 1)]);
        half.follow("web");
        assert_eq!(half, spec(&[("shop", "web"), ("docs", "web")], &[("blue", 1)], &[("web", 3)]));
    }
}
