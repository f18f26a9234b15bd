//! A virtual server as it runs: what decides for it, and what stands behind that when it fails.

use std::sync::Arc;

use super::header_rules::HeaderRules;
use super::mirror::Mirror;
use super::outcomes::Outcomes;
use super::pool::Pool;
use super::session::Session;
use crate::policy::Policy;
use crate::policy::wasm::instance::Loads;
use crate::spec::VipLimits;
use crate::spec::vip::VipTimeouts;
use crate::telemetry::{PolicyCounts, VipCounts};

/// A virtual server.
pub struct Vip {
    /// Its name.
    pub name: Arc<str>,
    /// What chooses the pool.
    pub decider: Decider,
    /// The pool for when no policy answers.
    pub fallback: Option<Arc<Pool>>,
    /// The port that requests over `http` are redirected to, as `https`.
    pub redirect_to_https: Option<u16>,
    /// What is done to requests' fields.
    pub request_rules: HeaderRules,
    /// What is done to answers' fields.
    pub response_rules: HeaderRules,
    /// What its requests may take.
    pub limits: VipLimits,
    /// How long members may take for them.
    pub timeouts: VipTimeouts,
    /// Where copies of them go.
    pub mirror: Option<Mirror>,
    /// What a switch must know of its clients; none where it need not.
    pub session: Option<Arc<Session>>,
    /// How its requests were decided.
    pub counts: Arc<VipCounts>,
    /// What came of them under this release.
    pub outcomes: Arc<Outcomes>,
}

/// What chooses the pool of a vip's requests.
pub enum Decider {
    /// Configuration: always this pool.
    Pool(Arc<Pool>),
    /// Programming: the release's policy, and the one of the release before where that is another.
    Policy {
        /// Asked first.
        current: Rung,
        /// Asked when the current one fails.
        previous: Option<Rung>,
    },
    /// A policy that has not arrived yet: the fallback pool serves.
    Awaited,
}

impl Decider {
    /// The pools that it may choose.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        let (pool, rungs) = match self {
            Self::Pool(pool) => (Some(pool), [None, None]),
            Self::Policy { current, previous } => (None, [Some(current), previous.as_ref()]),
            Self::Awaited => (None, [None, None]),
        };
        pool.into_iter().chain(rungs.into_iter().flatten().flat_map(|rung| rung.pools.0.iter().flatten()))
    }
}

/// One step of the ladder: a policy, and the pools its decisions name.
#[derive(Clone)]
pub struct Rung {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Its manifest's pools in this release. An earlier release's policy may name some that are gone.
    pub pools: Arc<RungPools>,
    /// How it decides, over all builds of that name.
    pub counts: Arc<PolicyCounts>,
}

/// Pools by their position in a manifest.
pub struct RungPools(pub Box<[Option<Arc<Pool>>]>);

impl RungPools {
    /// The pool at this position.
    pub fn at(&self, position: u32) -> Option<&Arc<Pool>> {
        self.0.get(position as usize)?.as_ref()
    }
}

impl Loads for RungPools {
    fn of(&self, pool: u32) -> (u32, u32) {
        let Some(pool) = self.at(pool) else { return (0, 0) };
        (u32::try_from(pool.size()).unwrap_or(u32::MAX), pool.in_flight())
    }
}
