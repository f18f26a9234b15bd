//! A change: what makes the next release of the current one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::policy::text::printable;
use crate::policy::validate::check_name;
use crate::release::ReleaseError;
use crate::spec::member::{MemberSpec, Whereabouts};
use crate::spec::{DeciderSpec, ListenerSpec, PolicySpec, PoolSpec, Spec, SpecError, VipSpec};

/// One step from a release to the next.
#[derive(Clone, Debug)]
pub enum Change {
    /// A build of a policy arrived.
    Build {
        /// The policy.
        name: String,
        /// Its new build.
        digest: Digest,
        /// A new text for `configure`, where one came with it.
        config: Option<String>,
    },
    /// The configuration file was read.
    File {
        /// What it said when it was last read; none at the first time.
        before: Option<Desired>,
        /// What it says now.
        now: Desired,
    },
    /// The first release: the file, and all builds that are there.
    First {
        /// What the file says.
        file: Desired,
        /// Policies and their builds.
        builds: Vec<(String, Digest)>,
    },
    /// A vip was given another decider.
    Assign {
        /// The vip.
        vip: String,
        /// What is to decide for it.
        decider: DeciderSpec,
    },
    /// A pool's member was added, changed or taken out.
    Member {
        /// The pool.
        pool: String,
        /// The member, as the pool names it.
        at: Whereabouts,
        /// What is done to it.
        edit: MemberEdit,
    },
    /// A release that was kept, and its content.
    Kept(u64, Box<Spec>),
}

/// What is done to a pool's member.
#[derive(Clone, Debug)]
pub enum MemberEdit {
    /// It is there, and so. What is `None` stays as it is, or is as usual where it was not there.
    Set {
        /// Its part of the pool's requests: 1 to 1000.
        weight: Option<u32>,
        /// Where it stands.
        zone: Option<String>,
        /// Whether it gets no new requests.
        drain: Option<bool>,
    },
    /// It is not there any more.
    Remove,
}

/// What the configuration file wants of a release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Desired {
    /// Listeners by name.
    #[serde(default)]
    pub listeners: BTreeMap<String, ListenerSpec>,
    /// Virtual servers by name.
    pub vips: BTreeMap<String, VipSpec>,
    /// Pools by name.
    pub pools: BTreeMap<String, PoolSpec>,
    /// Policies' settings by name; builds come through other doors.
    pub policies: BTreeMap<String, PolicySpec>,
}

/// Why a change does not make a release.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// A vip names what is not there, or two listeners are in one place.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// What it says cannot be made.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The vip to be changed is not there.
    #[error("vip `{0}` is not defined; there are: {1}")]
    NoSuchVip(String, String),
    /// The file would turn all traffic away.
    #[error("expected at least one vip, got a file that defines none")]
    NoVips,
    /// The pool to be changed is not there.
    #[error("pool `{0}` is not defined; there are: {1}")]
    NoSuchPool(String, String),
    /// The member to be taken out is not there.
    #[error("pool `{0}` does not name a member `{1}`")]
    NoSuchMember(String, Whereabouts),
    /// A member cannot be so.
    #[error("expected {0}, got `{1}`")]
    NoSuchValue(&'static str, String),
    /// The pool or policy to be assigned is not there.
    #[error("{0} `{1}` is not defined; there are: {2}")]
    NoSuchDecider(&'static str, String, String),
}

impl Change {
    /// Makes the next content of the current one.
    ///
    /// # Errors
    /// When the change does not fit it.
    pub fn apply(self, mut spec: Spec) -> Result<Spec, ChangeError> {
        match self {
            Self::Build { name, digest, config } => {
                let policy = spec.policies.entry(name.clone()).or_default();
                policy.digest = Some(digest);
                if let Some(config) = config {
                    policy.config = config;
                }
                spec.follow(&name);
            }
            Self::Assign { vip, decider } => {
                let known = match &decider {
                    DeciderSpec::Pool(pool) => ("pool", pool, spec.pools.keys().cloned().collect::<Vec<_>>()),
                    DeciderSpec::Policy(policy) => ("policy", policy, spec.policies.keys().cloned().collect()),
                };
                let (what, name, names) = known;
                if !names.contains(name) {
                    return Err(ChangeError::NoSuchDecider(what, name.clone(), names.join(", ")));
                }
                let vips = spec.vips.keys().cloned().collect::<Vec<_>>().join(", ");
                let Some(spec) = spec.vips.get_mut(&vip) else { return Err(ChangeError::NoSuchVip(vip, vips)) };
                spec.decider = decider;
            }
            Self::Member { pool, at, edit } => {
                let pools = spec.pools.keys().cloned().collect::<Vec<_>>().join(", ");
                let Some(spec) = spec.pools.get_mut(&pool) else { return Err(ChangeError::NoSuchPool(pool, pools)) };
                edit.apply(&pool, at, &mut spec.members)?;
            }
            // Half a file, more often than a wish.
            Self::File { now, .. } if now.vips.is_empty() && !spec.vips.is_empty() => return Err(ChangeError::NoVips),
            Self::File { before, now } => merge(&before.unwrap_or_default(), now, &mut spec),
            Self::First { file, builds } => {
                spec = Spec { listeners: file.listeners, vips: file.vips, pools: file.pools, policies: file.policies };
                for (name, digest) in builds {
                    spec.policies.entry(name).or_default().digest = Some(digest);
                }
            }
            Self::Kept(_, content) => spec = *content,
        }
        spec.tidy();
        spec.check()?;
        Ok(spec)
    }
}

impl MemberEdit {
    fn apply(self, pool: &str, at: Whereabouts, members: &mut Vec<MemberSpec>) -> Result<(), ChangeError> {
        let place = members.iter().position(|member| member.at == at);
        let Self::Set { weight, zone, drain } = self else {
            let place = place.ok_or_else(|| ChangeError::NoSuchMember(pool.to_owned(), at))?;
            members.remove(place);
            return Ok(());
        };
        if let Some(weight) = weight.filter(|weight| !(1..=1000).contains(weight)) {
            return Err(ChangeError::NoSuchValue("a weight of 1 to 1000", weight.to_string()));
        }
        if let Some(zone) = zone.as_ref().filter(|zone| check_name(zone).is_err()) {
            return Err(ChangeError::NoSuchValue("the name of a zone", printable(zone).into_owned()));
        }
        if matches!(&at, Whereabouts::Address(address) if address.is_any_port()) {
            return Err(ChangeError::NoSuchValue("a member with a port", at.to_string()));
        }
        let place = place.unwrap_or_else(|| {
            members.push(MemberSpec::at(at));
            members.len() - 1
        });
        let member = &mut members[place];
        member.weight = weight.unwrap_or(member.weight);
        member.drain = drain.unwrap_or(member.drain);
        member.zone = zone.or(member.zone.take());
        Ok(())
    }
}

/// Takes from the file what it says anew, and leaves alone what it says as before.
///
/// What serves may differ from the file: a pool was assigned, a policy was told something else, a release was gone back
/// from. The next edit of a time-out, or of a comment, must not undo last night's switch.
fn merge(before: &Desired, now: Desired, spec: &mut Spec) {
    let mut vips = merge_entries(&before.vips, now.vips, &spec.vips);
    for (name, vip) in &mut vips {
        // The assignment is an entry of its own.
        let said = before.vips.get(name).map(|before| &before.decider);
        let serves = spec.vips.get(name).map(|vip| &vip.decider);
        if let Some(serves) = serves.filter(|_| said == Some(&vip.decider)) {
            vip.decider.clone_from(serves);
        }
    }
    // Settings are merged without the build, of which the file knows nothing.
    let builds: BTreeMap<_, _> = spec.policies.iter().map(|(name, policy)| (name.clone(), policy.digest)).collect();
    let settings =
        spec.policies.iter().map(|(name, policy)| (name.clone(), PolicySpec { digest: None, ..policy.clone() }));
    let mut policies = merge_entries(&before.policies, now.policies, &settings.collect());
    for (name, digest) in builds {
        if digest.is_some() {
            policies.entry(name).or_default().digest = digest;
        }
    }
    let mut pools = merge_entries(&before.pools, now.pools.clone(), &spec.pools);
    // A pool that was gone back from is wanted again when something new names it.
    for pool in vips.values().flat_map(VipSpec::pools) {
        if let Some(wanted) = now.pools.get(pool).filter(|_| !pools.contains_key(pool)) {
            pools.insert(pool.to_owned(), wanted.clone());
        }
    }
    let mut listeners = merge_entries(&before.listeners, now.listeners.clone(), &spec.listeners);
    for listener in vips.values().flat_map(|vip| &vip.listen) {
        if let Some(wanted) = now.listeners.get(listener).filter(|_| !listeners.contains_key(listener)) {
            listeners.insert(listener.clone(), wanted.clone());
        }
    }
    *spec = Spec { listeners, vips, pools, policies };
}

/// One kind of entries: those that the file says anew are the file's, those it says as before are as they serve (or do
/// not, when they were gone back from), and those it never said stay.
fn merge_entries<T: Clone + PartialEq>(
    before: &BTreeMap<String, T>,
    now: BTreeMap<String, T>,
    serves: &BTreeMap<String, T>,
) -> BTreeMap<String, T> {
    let never_said = serves.iter().filter(|(name, _)| !before.contains_key(*name) && !now.contains_key(*name));
    let mut merged: BTreeMap<_, _> = never_said.map(|(name, entry)| (name.clone(), entry.clone())).collect();
    for (name, entry) in now {
        let wanted = if before.get(&name) == Some(&entry) { serves.get(&name).cloned() } else { Some(entry) };
        if let Some(entry) = wanted {
            merged.insert(name, entry);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired(pool: &str) -> Desired {
        let vip = VipSpec::new(vec!["127.0.0.1:80".into()], DeciderSpec::Pool(pool.into()));
        let pools = ["blue", "green"].map(|name| (name.to_owned(), PoolSpec::default())).into();
        Desired { vips: [("shop".to_owned(), vip)].into(), pools, ..Desired::default() }
    }

    fn decider(spec: &Spec) -> DeciderSpec {
        spec.vips["shop"].decider.clone()
    }

    fn pool(name: &str) -> DeciderSpec {
        DeciderSpec::Pool(name.into())
    }

    #[test]
    fn an_assignment_survives_an_edit_of_something_else() {
        let spec = Change::File { before: None, now: desired("blue") }.apply(Spec::default()).unwrap();
        let spec = Change::Assign { vip: "shop".into(), decider: pool("green") }.apply(spec).unwrap();
        let mut edited = desired("blue");
        edited.pools.get_mut("blue").unwrap().connect_timeout *= 2;
        let spec = Change::File { before: Some(desired("blue")), now: edited.clone() }.apply(spec).unwrap();
        assert_eq!((decider(&spec), &spec.pools), (pool("green"), &edited.pools));
    }

    #[test]
    fn what_was_gone_back_from_does_not_return_with_the_next_edit() {
        let mut slow = desired("blue");
        slow.pools.get_mut("blue").unwrap().connect_timeout *= 9;
        let first = Change::File { before: None, now: desired("blue") }.apply(Spec::default()).unwrap();
        // The edit that made it slow was gone back from: `first` serves again. Now green is edited.
        let mut edited = slow.clone();
        edited.pools.get_mut("green").unwrap().connect_timeout *= 2;
        let spec = Change::File { before: Some(slow), now: edited.clone() }.apply(first.clone()).unwrap();
        assert_eq!((&spec.pools["blue"], &spec.pools["green"]), (&first.pools["blue"], &edited.pools["green"]));
    }

    #[test]
    fn an_entry_that_was_gone_back_from_returns_only_when_something_new_names_it() {
        let first = Change::File { before: None, now: desired("blue") }.apply(Spec::default()).unwrap();
        let mut more = desired("blue");
        more.pools.insert("red".into(), PoolSpec::default());
        more.vips.insert("docs".into(), more.vips["shop"].clone());
        // Gone back from: `first` serves. A comment is edited.
        let spec = Change::File { before: Some(more.clone()), now: more.clone() }.apply(first.clone()).unwrap();
        assert_eq!(spec, first);
        let mut edited = more.clone();
        edited.vips.get_mut("shop").unwrap().decider = pool("red");
        let spec = Change::File { before: Some(more), now: edited }.apply(first).unwrap();
        assert_eq!((decider(&spec), spec.pools.len(), spec.vips.len()), (pool("red"), 3, 1));
    }

    #[test]
    fn settings_of_a_policy_that_has_not_arrived_are_kept() {
        let mut with_settings = desired("blue");
        let settings = PolicySpec { config: "{}".into(), ..PolicySpec::default() };
        with_settings.policies.insert("canary".into(), settings.clone());
        let spec = Change::File { before: None, now: with_settings.clone() }.apply(Spec::default()).unwrap();
        let mut edited = with_settings.clone();
        edited.pools.get_mut("blue").unwrap().connect_timeout *= 2;
        let spec = Change::File { before: Some(with_settings), now: edited }.apply(spec).unwrap();
        assert_eq!(spec.policies["canary"], settings);
    }

    #[test]
    fn what_is_taken_out_of_the_file_is_gone() {
        let spec = Change::File { before: None, now: desired("blue") }.apply(Spec::default()).unwrap();
        let mut edited = desired("blue");
        edited.pools.remove("green");
        let spec = Change::File { before: Some(desired("blue")), now: edited }.apply(spec).unwrap();
        assert_eq!(spec.pools.keys().collect::<Vec<_>>(), ["blue"]);
    }

    #[test]
    fn a_file_without_vips_does_not_turn_all_traffic_away() {
        let spec = Change::File { before: None, now: desired("blue") }.apply(Spec::default()).unwrap();
        let emptied = Change::File { before: Some(desired("blue")), now: Desired::default() }.apply(spec);
        assert!(matches!(emptied, Err(ChangeError::NoVips)));
    }

    #[test]
    fn an_assignment_gives_way_when_the_file_says_something_new() {
        let spec = Change::File { before: None, now: desired("green") }.apply(Spec::default()).unwrap();
        let spec = Change::Assign { vip: "shop".into(), decider: pool("blue") }.apply(spec).unwrap();
        let edited = desired("blue");
        let spec = Change::File { before: Some(desired("green")), now: edited }.apply(spec).unwrap();
        assert_eq!(decider(&spec), pool("blue"));
    }

    #[test]
    fn a_build_is_kept_when_the_file_changes() {
        let spec = Change::File { before: None, now: desired("blue") }.apply(Spec::default()).unwrap();
        let digest = Digest::of(b"x");
        let build = Change::Build { name: "canary".into(), digest, config: Some("{}".into()) };
        let spec = build.apply(spec).unwrap();
        let spec = Change::File { before: Some(desired("blue")), now: desired("green") }.apply(spec).unwrap();
        assert_eq!((spec.policies["canary"].digest, &*spec.policies["canary"].config), (Some(digest), "{}"));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let spec = Change::File { before: None, now: desired("blue") }.apply(Spec::default()).unwrap();
        let check = |vip: &str, decider, expected: &str| {
            let refused = Change::Assign { vip: vip.into(), decider }.apply(spec.clone()).unwrap_err();
            assert_eq!(refused.to_string(), expected);
        };
        check("shop", pool("red"), "pool `red` is not defined; there are: blue, green");
        check("blog", pool("blue"), "vip `blog` is not defined; there are: shop");
        let refused = Change::File { before: None, now: desired("red") }.apply(Spec::default()).unwrap_err();
        assert_eq!(refused.to_string(), "pool `red` is not defined for vip `shop`");
    }
}
