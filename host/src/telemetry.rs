//! What is counted while traffic flows: by each worker in its own slot, added up by whoever reads.
//!
//! Counts belong to the host and to names (a pool's, a vip's), not to a release: a switch does not reset them.

pub mod histogram;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::proxy::gate::Gate;
use crate::proxy::per_worker::PerWorker;

/// A number that only grows, written by one worker.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn add(&self) {
        self.add_many(1);
    }

    /// So many more.
    pub fn add_many(&self, more: u64) {
        // Nobody else writes it: without the lock on the cache line that an atomic addition takes.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All counts of the host.
pub struct Counts {
    workers: usize,
    pools: Mutex<BTreeMap<Arc<str>, Arc<PoolCounts>>>,
    vips: Mutex<BTreeMap<Arc<str>, Arc<VipCounts>>>,
    gates: Mutex<BTreeMap<Arc<str>, Arc<Gate>>>,
    limits: PerWorker<[Count; Limit::ALL.len()]>,
    requests: PerWorker<AtomicU32>,
}

/// A limit that something ran into. Each has a name, and is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `listeners.NAME.connections_max`.
    Connections,
    /// `listeners.NAME.connections_per_client_max`.
    ConnectionsPerClient,
    /// The process's file descriptors: connections waited in the kernel.
    Descriptors,
    /// `listeners.NAME.head_bytes_max` and `fields_max`.
    Head,
    /// `listeners.NAME.head_timeout`.
    HeadTimeout,
    /// HTTP/2 frames that only keep us busy.
    Flood,
    /// `requests_max`.
    Requests,
    /// `vips.NAME.requests_max`.
    VipRequests,
    /// `vips.NAME.request_body_max`.
    RequestBody,
    /// `vips.NAME.client_timeout` and `client_rate_min`.
    ClientTimeout,
    /// `vips.NAME.tunnel_timeout`.
    TunnelTimeout,
    /// `pools.NAME.response_timeout`.
    ResponseTimeout,
    /// `pools.NAME.connect_timeout`, and members that could not be reached for another reason.
    Connect,
}

impl Limit {
    /// All of them, in their order.
    pub const ALL: [Self; 13] = [
        Self::Connections,
        Self::ConnectionsPerClient,
        Self::Descriptors,
        Self::Head,
        Self::HeadTimeout,
        Self::Flood,
        Self::Requests,
        Self::VipRequests,
        Self::RequestBody,
        Self::ClientTimeout,
        Self::TunnelTimeout,
        Self::ResponseTimeout,
        Self::Connect,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerClient => "connections_per_client",
            Self::Descriptors => "descriptors",
            Self::Head => "head",
            Self::HeadTimeout => "head_timeout",
            Self::Flood => "flood",
            Self::Requests => "requests",
            Self::VipRequests => "vip_requests",
            Self::RequestBody => "request_body",
            Self::ClientTimeout => "client_timeout",
            Self::TunnelTimeout => "tunnel_timeout",
            Self::ResponseTimeout => "response_timeout",
            Self::Connect => "connect",
        }
    }
}

/// What one pool has served.
pub struct PoolCounts(PerWorker<PoolSlot>);

#[derive(Default)]
struct PoolSlot {
    requests: Count,
    errors: Count,
}

/// How one vip's requests were decided.
pub struct VipCounts(PerWorker<VipSlot>);

/// One worker's part of a vip's counts.
#[derive(Default)]
pub struct VipSlot {
    /// Requests that entered.
    pub requests: Count,
    /// Decided by the policy of an earlier release, because the current one's failed.
    pub by_previous: Count,
    /// Sent to the fallback pool, because no policy answered.
    pub by_fallback: Count,
    /// Answered 503, because nothing was left.
    pub undecided: Count,
    /// In flight now; counted where the vip has a limit.
    in_flight: AtomicU32,
}

/// A pool's counts, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolTotals {
    /// Requests given to the pool.
    pub requests: u64,
    /// Of these, answered by us with an error because no member did.
    pub errors: u64,
}

/// A vip's counts, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipTotals {
    /// Requests that entered.
    pub requests: u64,
    /// Decided by an earlier release's policy.
    pub by_previous: u64,
    /// Sent to the fallback pool.
    pub by_fallback: u64,
    /// Answered 503.
    pub undecided: u64,
}

impl Counts {
    /// Nothing counted yet.
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            pools: Mutex::default(),
            vips: Mutex::default(),
            gates: Mutex::default(),
            limits: PerWorker::new(workers, |_| Default::default()),
            requests: PerWorker::new(workers, |_| AtomicU32::default()),
        }
    }

    /// The counts of the pool of this name.
    pub fn pool(&self, name: &str) -> Arc<PoolCounts> {
        let make = || PoolCounts(PerWorker::new(self.workers, |_| PoolSlot::default()));
        entry(&self.pools, name, make)
    }

    /// The connections of the listener of this id.
    pub fn gate(&self, id: &str) -> Arc<Gate> {
        entry(&self.gates, id, Gate::default)
    }

    /// Connections of all listeners.
    pub fn connections(&self) -> u32 {
        let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.values().map(|gate| gate.connections()).sum()
    }

    /// Something ran into a limit.
    pub fn limited(&self, worker: usize, limit: Limit) {
        self.limits.of(worker)[limit as usize].add();
    }

    /// How often something ran into this limit.
    pub fn limited_total(&self, limit: Limit) -> u64 {
        self.limits.iter().map(|limits| limits[limit as usize].value()).sum()
    }

    /// One more request in flight; answers whether that is within `max` over all workers. Counted either way.
    pub(crate) fn begin_request(&self, worker: usize, max: u32) -> bool {
        self.requests.of(worker).fetch_add(1, Ordering::Relaxed);
        self.requests_in_flight() <= max
    }

    /// One less.
    pub(crate) fn end_request(&self, worker: usize) {
        self.requests.of(worker).fetch_sub(1, Ordering::Relaxed);
    }

    /// Requests in flight, over all workers and releases.
    pub fn requests_in_flight(&self) -> u32 {
        self.requests.iter().map(|requests| requests.load(Ordering::Relaxed)).sum()
    }

    /// The counts of the vip of this name.
    pub fn vip(&self, name: &str) -> Arc<VipCounts> {
        let make = || VipCounts(PerWorker::new(self.workers, |_| VipSlot::default()));
        entry(&self.vips, name, make)
    }
}

fn entry<T>(map: &Mutex<BTreeMap<Arc<str>, Arc<T>>>, name: &str, make: impl FnOnce() -> T) -> Arc<T> {
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(counts) = map.get(name) {
        return counts.clone();
    }
    let counts = Arc::new(make());
    map.insert(name.into(), counts.clone());
    counts
}

impl PoolCounts {
    /// A request was given to the pool.
    pub fn request(&self, worker: usize) {
        self.0.of(worker).requests.add();
    }

    /// No member answered it.
    pub fn error(&self, worker: usize) {
        self.0.of(worker).errors.add();
    }

    /// The sum over all workers.
    pub fn totals(&self) -> PoolTotals {
        self.0.iter().fold(PoolTotals::default(), |sum, slot| PoolTotals {
            requests: sum.requests + slot.requests.value(),
            errors: sum.errors + slot.errors.value(),
        })
    }
}

impl VipCounts {
    /// One more in flight.
    pub(crate) fn begin(&self, worker: usize) {
        self.0.of(worker).in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub(crate) fn end(&self, worker: usize) {
        self.0.of(worker).in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Requests in flight, over all workers; known where the vip has a limit.
    pub fn in_flight(&self) -> u32 {
        self.0.iter().map(|slot| slot.in_flight.load(Ordering::Relaxed)).sum()
    }

    /// This worker's part.
    pub fn of(&self, worker: usize) -> &VipSlot {
        self.0.of(worker)
    }

    /// The sum over all workers.
    pub fn totals(&self) -> VipTotals {
        self.0.iter().fold(VipTotals::default(), |sum, slot| VipTotals {
            requests: sum.requests + slot.requests.value(),
            by_previous: sum.by_previous + slot.by_previous.value(),
            by_fallback: sum.by_fallback + slot.by_fallback.value(),
            undecided: sum.undecided + slot.undecided.value(),
        })
    }
}
