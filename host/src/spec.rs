//! What a release consists of, as data: vips, pools and policies by name. Everything that can be compared, stored,
//! shown and made again; nothing that runs.

pub mod listener;
pub mod pool;
pub mod key;
pub mod member;
pub mod check;
pub mod vip;
pub mod session;
pub mod one_vip;
pub mod auto_back;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

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

    /// Checks that every name that is used is defined, and that no two listeners that are used are at one address.
    ///
    /// # Errors
    /// The first name that is not, or the first two listeners that are.
    pub fn check(&self) -> Result<(), SpecError> {
        let mut at_address: HashMap<Address, &str> = HashMap::new();
        for (name, vip) in &self.vips {
            let undefined =
                |what, missing: &str| Err(Dangling { vip: name.clone(), what, missing: missing.to_owned() }.into());
            for listener in &vip.listen {
                let Some(address) = self.address(listener) else { return undefined("listener", listener) };
                // The configuration refuses this in one file; a step back or an edit can still bring two together.
                match at_address.get(&address) {
                    Some(&other) if other != listener => {
                        return Err(SpecError::SameAddress(address, other.to_owned(), listener.clone()));
                    }
                    _ if address.is_any_port() => {}
                    _ => {
                        at_address.insert(address, listener);
                    }
                }
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
            if let Some(pool) = vip.pools().find(|pool| !self.pools.contains_key(*pool)) {
                return undefined("pool", pool);
            }
        }
        Ok(())
    }

    fn address(&self, listener: &str) -> Option<Address> {
        let defined = self.listeners.get(listener).map(|listener| listener.address.clone());
        defined.or_else(|| listener.parse().ok())
    }
}

/// What is wrong with a release's content.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A vip names what is not there.
    #[error(transparent)]
    Dangling(#[from] Dangling),
    /// Two listeners would accept the same connections, each in its own way.
    #[error("listeners `{1}` and `{2}` are both at {0}")]
    SameAddress(Address, String, String),
}

/// A vip names what is not there.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{missing}` is not defined for vip `{vip}`{}", if *.what == "policy" { ", which has no fallback pool" } else { "" })]
pub struct Dangling {
    /// The vip.
    pub vip: String,
    /// `listener`, `pool` or `policy`.
    pub what: &'static str,
    /// The name that is not defined.
    pub missing: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(listeners: &[(&str, &str)], vips: &[(&str, &[&str])]) -> Spec {
        let listener = |&(name, address): &(&str, &str)| {
            (name.to_owned(), ListenerSpec::plain(address.parse().expect("the test's addresses are some")))
        };
        let vip = |&(name, listen): &(&str, &[&str])| {
            let listen = listen.iter().map(|&listener| listener.to_owned()).collect();
            (name.to_owned(), VipSpec::new(listen, DeciderSpec::Pool("blue".into())))
        };
        Spec {
            listeners: listeners.iter().map(listener).collect(),
            vips: vips.iter().map(vip).collect(),
            pools: [("blue".to_owned(), PoolSpec::default())].into(),
            policies: BTreeMap::new(),
        }
    }

    fn check(spec: &Spec, expected: &str) {
        assert_eq!(spec.check().unwrap_err().to_string(), expected);
    }

    #[test]
    fn two_listeners_of_vips_at_one_address_are_refused() {
        let named = [("a", "127.0.0.1:80"), ("b", "127.0.0.1:80")];
        check(
            &spec(&named, &[("v", &["a"]), ("w", &["127.0.0.1:81", "b"])]),
            "listeners `a` and `b` are both at 127.0.0.1:80",
        );
        check(
            &spec(&named[..1], &[("v", &["a", "127.0.0.1:80"])]),
            "listeners `a` and `127.0.0.1:80` are both at 127.0.0.1:80",
        );
        check(
            &spec(&[], &[("v", &["unix:/run/x"]), ("w", &["unix:/run//x"])]),
            "listeners `unix:/run/x` and `unix:/run//x` are both at unix:/run//x",
        );
    }

    #[test]
    fn listeners_that_are_shared_unused_or_at_any_port_are_not_in_each_others_way() {
        let named = [("a", "127.0.0.1:80"), ("b", "127.0.0.1:80"), ("c", "127.0.0.1:0"), ("d", "127.0.0.1:0")];
        let spec = spec(&named, &[("v", &["a", "c", "127.0.0.1:0"]), ("w", &["a", "d", "127.0.0.1:0"])]);
        assert_eq!(spec.check(), Ok(()));
    }

    #[test]
    fn a_listener_that_is_not_there_is_named() {
        check(&spec(&[], &[("v", &["front"])]), "listener `front` is not defined for vip `v`");
    }
}
