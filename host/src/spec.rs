//! What a release consists of, as data: vips, pools and policies by name. Everything that can be compared, stored,
//! shown and made again; nothing that runs.

pub mod listener;
pub mod pool;
pub mod vip;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::listener::ListenerSpec;
pub use self::pool::PoolSpec;
pub use self::vip::{DeciderSpec, HeaderRulesSpec, VipLimits, VipSpec};
use crate::address::Address;
use crate::digest::Digest;
use crate::policy::Limits;

/// The content of a release. Two specs with equal content have equal digests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Listeners by name; those that vips name by their address alone are not here, see [`Spec::listener`].
    #[serde(default)]
    pub listeners: BTreeMap<String, ListenerSpec>,
    /// Virtual servers by name.
    pub vips: BTreeMap<String, VipSpec>,
    /// Pools by name.
    pub pools: BTreeMap<String, PoolSpec>,
    /// Policies by name.
    pub policies: BTreeMap<String, PolicySpec>,
}

/// A policy: its build, what it is told, and what it may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicySpec {
    /// The build; `None` while only its settings are known.
    pub digest: Option<Digest>,
    /// The text given to `configure`.
    pub config: String,
    /// What it may use.
    pub limits: Limits,
}

impl Spec {
    /// Names the content.
    pub fn digest(&self) -> Digest {
        // Maps are ordered, so equal specs have equal text.
        Digest::of(&serde_json::to_vec(self).expect("a spec is plain data"))
    }

    /// The listener that a vip calls `name`: a defined one, or a plain one at the address that the name is.
    pub fn listener(&self, name: &str) -> Option<Cow<'_, ListenerSpec>> {
        match self.listeners.get(name) {
            Some(listener) => Some(Cow::Borrowed(listener)),
            None => name.parse::<Address>().ok().map(ListenerSpec::plain).map(Cow::Owned),
        }
    }

    /// Checks that every name that is used is defined.
    ///
    /// # Errors
    /// The first name that is not.
    pub fn check(&self) -> Result<(), Dangling> {
        for (name, vip) in &self.vips {
            let undefined =
                |what, missing: &str| Err(Dangling { vip: name.clone(), what, missing: missing.to_owned() });
            if let Some(listener) = vip.listen.iter().find(|name| self.listener(name).is_none()) {
                return undefined("listener", listener);
            }
            match &vip.decider {
                DeciderSpec::Pool(pool) if !self.pools.contains_key(pool) => return undefined("pool", pool),
                DeciderSpec::Policy(policy)
                    if vip.fallback.is_none()
                        && self.policies.get(policy).is_none_or(|policy| policy.digest.is_none()) =>
                {
                    return undefined("policy", policy);
                }
                _ => {}
            }
            if let Some(pool) = vip.fallback.as_ref().filter(|pool| !self.pools.contains_key(*pool)) {
                return undefined("pool", pool);
            }
        }
        Ok(())
    }
}

/// A vip names what is not there.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{missing}` is not defined for vip `{vip}`{}", if *.what == "policy" { ", which has no fallback pool" } else { "" })]
pub struct Dangling {
    /// The vip.
    pub vip: String,
    /// `pool` or `policy`.
    pub what: &'static str,
    /// The name that is not defined.
    pub missing: String,
}
