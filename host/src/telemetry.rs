//! What is counted while traffic flows: by each worker in its own slot, added up by whoever reads.
//!
//! Counts belong to the host and to names (a pool's, a vip's), not to a release: a switch does not reset them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::proxy::per_worker::PerWorker;

/// A number that only grows, written by one worker.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
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
        Self { workers, pools: Mutex::default(), vips: Mutex::default() }
    }

    /// The counts of the pool of this name.
    pub fn pool(&self, name: &str) -> Arc<PoolCounts> {
        let make = || PoolCounts(PerWorker::new(self.workers, |_| PoolSlot::default()));
        entry(&self.pools, name, make)
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
