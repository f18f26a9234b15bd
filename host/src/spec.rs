//! What a release consists of, as data: vips, pools and policies by name. Everything that can be compared, stored,
//! shown and made again; nothing that runs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::policy::Limits;

/// The content of a release. Two specs with equal content have equal digests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Virtual servers by name.
    pub vips: BTreeMap<String, VipSpec>,
    /// Pools by name.
    pub pools: BTreeMap<String, PoolSpec>,
    /// Policies by name.
    pub policies: BTreeMap<String, PolicySpec>,
}

/// Where requests enter, and what decides for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipSpec {
    /// The address it listens on.
    pub listen: SocketAddr,
    /// Hosts it serves: exact, or `*.suffix`; none means all.
    pub hosts: Vec<String>,
    /// Path prefixes it serves, whole segments; none means all.
    pub paths: Vec<String>,
    /// What chooses the pool.
    pub decider: DeciderSpec,
    /// The pool for when its policy does not answer.
    pub fallback: Option<String>,
}

/// What chooses the pool of a vip's requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeciderSpec {
    /// Configuration: always this pool.
    Pool(String),
    /// Programming: this policy, asked on every request.
    Policy(String),
}

/// A set of members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSpec {
    /// Their addresses.
    pub members: Vec<SocketAddr>,
    /// Time to reach a member.
    pub connect_timeout: Duration,
    /// Time until a member's answer begins.
    pub response_timeout: Duration,
}

impl Default for PoolSpec {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            // Two SYNs: a lost one is sent again after a second.
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(30),
        }
    }
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

impl VipSpec {
    /// The pools it names.
    pub fn pools(&self) -> impl Iterator<Item = &str> {
        let decider = match &self.decider {
            DeciderSpec::Pool(pool) => Some(pool.as_str()),
            DeciderSpec::Policy(_) => None,
        };
        decider.into_iter().chain(self.fallback.as_deref())
    }
}

impl Spec {
    /// Names the content.
    pub fn digest(&self) -> Digest {
        // Maps are ordered, so equal specs have equal text.
        Digest::of(&serde_json::to_vec(self).expect("a spec is plain data"))
    }

    /// Checks that every name that is used is defined.
    ///
    /// # Errors
    /// The first name that is not.
    pub fn check(&self) -> Result<(), Dangling> {
        for (name, vip) in &self.vips {
            let undefined =
                |what, missing: &str| Err(Dangling { vip: name.clone(), what, missing: missing.to_owned() });
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
