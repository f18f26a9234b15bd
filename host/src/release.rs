//! One immutable release as it serves, and the ground that releases are made on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::digest::Digest;
use crate::policy::{Policy, PolicyId};
use crate::proxy::descriptors::Descriptors;
use crate::proxy::events::Events;
use crate::proxy::header_rules::HeaderRules;
use crate::proxy::keeper::{NEWS_MAX, News};
use crate::proxy::listener::Listener;
use crate::proxy::member::Members;
use crate::proxy::mirror::Mirror;
use crate::proxy::outcomes::Outcomes;
use crate::proxy::per_worker::PerWorker;
use crate::proxy::pool::Pool;
use crate::proxy::pools::Pools;
use crate::proxy::router::{Overlap, Router};
use crate::proxy::session::Sessions;
use crate::proxy::sticky::StickyKey;
use crate::proxy::tls::TlsError;
use crate::proxy::tls::certificates::Certificates;
use crate::proxy::vip::{Decider, Rung, RungPools, Vip};
use crate::spec::{DeciderSpec, Spec};
use crate::telemetry::Counts;

/// Vips, pools and policies, ready to serve. Never changed once made.
pub struct Release {
    /// Rises with every release; never used twice.
    pub number: u64,
    /// Names its content.
    pub digest: Digest,
    /// Its content.
    pub spec: Arc<Spec>,
    /// Its listeners, by id.
    pub listeners: BTreeMap<Arc<str>, Arc<Listener>>,
    /// Finds a request's vip.
    pub router: Router,
    /// Its vips, by name.
    pub vips: BTreeMap<Arc<str>, Arc<Vip>>,
    /// Those of them that are not just left: each switch looks through these, and mostly there are none.
    pub with_session: Vec<Arc<Vip>>,
    /// Its pools, by name.
    pub pools: BTreeMap<Arc<str>, Arc<Pool>>,
    /// Its staged policies, by name.
    pub policies: Policies,
    /// What is in flight on it; outlives it where a body does.
    pub flights: Arc<Flights>,
}

/// Staged policies, by name.
pub type Policies = BTreeMap<Arc<str>, Arc<Policy>>;

/// What releases are made from, and what outlives them.
pub struct Ground {
    /// The number of worker threads.
    pub workers: usize,
    /// Members that are known.
    pub members: Members,
    /// Pools that are known.
    pub pools: Pools,
    /// Where the proxy stands: members in the same zone are preferred.
    pub zone: Option<Arc<str>>,
    /// Signs the cookies that bind clients to members.
    pub sticky_key: StickyKey,
    /// Where requests tell what became of members.
    pub news: mpsc::Sender<News>,
    /// What became of members.
    pub events: Arc<Events>,
    /// Pools that `back` would bring into use: a few connections to them are kept open.
    pub warm: ArcSwap<Vec<Arc<Pool>>>,
    /// Sessions that are known.
    pub sessions: Sessions,
    /// Certificates that are known.
    pub certificates: Arc<Certificates>,
    /// Everything that is counted.
    pub counts: Counts,
    /// File descriptors for connections.
    pub descriptors: Arc<Descriptors>,
    /// Requests that may be in flight, over all workers.
    pub requests_max: u32,
    /// How long idle connections are kept for a last request when their listener leaves.
    pub last_request: std::time::Duration,
    /// Networks of clients that may ask for the release that decides.
    pub release_header_from: Vec<ipnet::IpNet>,
}

impl Ground {
    /// A ground on which nothing is known yet, and where is heard what becomes of members.
    pub fn new(
        workers: usize,
        requests_max: u32,
        zone: Option<&str>,
        sticky_key: StickyKey,
    ) -> (Self, mpsc::Receiver<News>) {
        let (news, heard) = mpsc::channel(NEWS_MAX);
        let ground = Self {
            workers,
            members: Members::default(),
            pools: Pools::default(),
            zone: zone.map(Into::into),
            sticky_key,
            news,
            events: Arc::default(),
            warm: ArcSwap::default(),
            sessions: Sessions::default(),
            certificates: Arc::default(),
            counts: Counts::new(workers),
            descriptors: Arc::new(Descriptors::of_process(workers)),
            requests_max,
            last_request: std::time::Duration::ZERO,
            release_header_from: Vec::new(),
        };
        (ground, heard)
    }
}

/// Why a content does not make a release. Names are checked before: see [`Spec::check`].
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// Two vips in one place.
    #[error(transparent)]
    Overlap(#[from] Overlap),
    /// A listener's certificates.
    #[error("listener `{0}`")]
    Listener(String, #[source] Box<TlsError>),
    /// A pool's certificates.
    #[error("pool `{0}`")]
    Pool(String, #[source] Box<TlsError>),
}

impl Release {
    /// Makes a release from its content and its staged policies. `previous` are the policies of the release that it
    /// follows: the second rung of each vip's ladder.
    ///
    /// Reads files that are not known yet: call it where a disk that hangs is no harm.
    ///
    /// # Errors
    /// When two vips claim the same place, or a certificate cannot be had.
    pub fn new(
        number: u64,
        spec: Arc<Spec>,
        policies: Policies,
        previous: &Policies,
        ground: &Ground,
    ) -> Result<Self, ReleaseError> {
        let Ground { workers, certificates, .. } = ground;
        ground.sessions.sweep();
        let pools: BTreeMap<Arc<str>, Arc<Pool>> = spec
            .pools
            .iter()
            .map(|(name, spec)| {
                let pool = ground.pools.like(name, spec, ground);
                let pool = pool.map_err(|error| ReleaseError::Pool(name.clone(), error.into()))?;
                Ok((pool.name.clone(), pool))
            })
            .collect::<Result<_, ReleaseError>>()?;
        let rung = |policy: &Arc<Policy>| {
            let meant = |pool: &String| pools.get(spec.pool_meant(&policy.build.name, pool)?.0.as_str()).cloned();
            let pools = policy.manifest.pools.iter().map(meant).collect();
            let pools = RungPools(pools);
            pools.0.iter().flatten().for_each(|pool| pool.expect_keys(&ground.members));
            let counts = ground.counts.policy(&policy.build.name);
            Rung { policy: policy.clone(), pools: Arc::new(pools), counts }
        };
        let listeners = listeners(&spec, certificates)?;
        let ids: BTreeMap<&str, Arc<str>> =
            listeners.values().map(|listener| (&*listener.name, listener.id.clone())).collect();
        let mut router = Router::default();
        let (mut vips, mut with_session) = (BTreeMap::new(), Vec::new());
        for (name, vip) in &spec.vips {
            let decider = match &vip.decider {
                DeciderSpec::Pool(pool) => Decider::Pool(pools[pool.as_str()].clone()),
                DeciderSpec::Policy(policy) => match policies.get(policy.as_str()) {
                    None => Decider::Awaited,
                    Some(current) => {
                        let previous = previous.get(policy.as_str()).filter(|previous| previous.id != current.id);
                        Decider::Policy { current: rung(current), previous: previous.map(rung) }
                    }
                },
            };
            let mirror = vip.mirror.as_ref();
            let mirror = mirror.map(|mirror| Mirror::new(pools[mirror.pool.as_str()].clone(), mirror, *workers));
            let fallback = vip.fallback.as_ref().map(|pool| pools[pool.as_str()].clone());
            let destinations = decider.pools().chain(&fallback).map(|pool| pool.name.clone());
            let outcomes = Outcomes::new(*workers, destinations).into();
            let runs = Arc::new(Vip {
                name: name.as_str().into(),
                decider,
                fallback,
                redirect_to_https: vip.redirect_to_https,
                request_rules: HeaderRules::new(&vip.request_headers),
                response_rules: HeaderRules::new(&vip.response_headers),
                limits: vip.limits.clone(),
                timeouts: vip.timeouts.clone(),
                mirror,
                session: ground.sessions.of(name, &spec, &policies, *workers),
                counts: ground.counts.vip(name),
                outcomes,
            });
            for id in vip.listen.iter().filter_map(|listener| ids.get(listener.as_str())) {
                router.add(id, &runs, vip)?;
            }
            with_session.extend(runs.session.is_some().then(|| runs.clone()));
            vips.insert(runs.name.clone(), runs);
        }
        let flights = Arc::new(Flights(PerWorker::new(*workers, |_| FlightSlot::default())));
        let digest = spec.digest();
        Ok(Self { number, digest, spec, listeners, router, vips, with_session, pools, policies, flights })
    }

    /// By a policy's name, the pools that it may choose.
    pub fn chooses(&self) -> BTreeMap<String, Vec<String>> {
        self.policies.iter().map(|(name, policy)| (name.to_string(), policy.manifest.pools.clone())).collect()
    }

    /// The policies a worker must hold to serve it: its own, and those it falls back on.
    pub fn live(&self) -> impl Iterator<Item = &Arc<Policy>> {
        let previous = self.vips.values().filter_map(|vip| match &vip.decider {
            Decider::Policy { previous: Some(previous), .. } => Some(&previous.policy),
            _ => None,
        });
        self.policies.values().chain(previous)
    }

    /// The ids of these.
    pub fn live_ids(&self) -> impl Iterator<Item = PolicyId> {
        self.live().map(|policy| policy.id)
    }
}

/// The listeners that vips name.
fn listeners(spec: &Spec, certificates: &Certificates) -> Result<BTreeMap<Arc<str>, Arc<Listener>>, ReleaseError> {
    let named: std::collections::BTreeSet<&String> = spec.vips.values().flat_map(|vip| &vip.listen).collect();
    let named = named.into_iter().filter_map(|name| Some((name, spec.listener(name)?.into_owned())));
    let listener = |(name, spec): (&String, _)| {
        let listener = Listener::new(name, spec, certificates);
        let listener = listener.map_err(|error| ReleaseError::Listener(name.clone(), error.into()))?;
        Ok((listener.id.clone(), Arc::new(listener)))
    };
    named.map(listener).collect()
}

/// Requests that a release decided and that have not ended, and when it last decided one.
pub struct Flights(PerWorker<FlightSlot>);

#[derive(Default)]
struct FlightSlot {
    in_flight: AtomicU32,
    decided_nanos: AtomicU64,
}

impl Flights {
    pub(crate) fn begin(&self, worker: usize, decided: Instant) {
        let slot = self.0.of(worker);
        slot.in_flight.fetch_add(1, Ordering::Relaxed);
        slot.decided_nanos.store(crate::time::since_start(decided), Ordering::Relaxed);
    }

    pub(crate) fn end(&self, worker: usize) {
        self.0.of(worker).in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Requests in flight, over all workers.
    pub fn in_flight(&self) -> u32 {
        self.0.iter().map(|slot| slot.in_flight.load(Ordering::Relaxed)).sum()
    }

    /// When the last decision was made, in nanoseconds since the process started; zero before the first.
    pub fn last_decided_nanos(&self) -> u64 {
        self.0.iter().map(|slot| slot.decided_nanos.load(Ordering::Relaxed)).max().unwrap_or(0)
    }
}
