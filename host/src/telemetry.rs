//! What is counted while traffic flows: by each worker in its own slot, added up by whoever reads.
//!
//! Counts belong to the host and to names (a pool's, a vip's, a policy's), not to a release: a switch does not reset them.
//! What is told of each exchange by itself is in [`told`], and goes to the [`access_log`] and the [`traces`].

pub mod histogram;
pub mod told;
pub mod access_log;
pub mod traces;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use self::histogram::{Histogram, HistogramTotals};
use self::told::{Came, Ended};
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

    /// How many there were.
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All counts of the host.
pub struct Counts {
    workers: usize,
    pools: Mutex<BTreeMap<Arc<str>, Arc<PoolCounts>>>,
    vips: Mutex<BTreeMap<Arc<str>, Arc<VipCounts>>>,
    policies: Mutex<BTreeMap<Arc<str>, Arc<PolicyCounts>>>,
    gates: Mutex<BTreeMap<Arc<str>, Arc<Gate>>>,
    /// Exchanges that entered no vip.
    astray: VipCounts,
    /// What was to be told of exchanges, and what became of it.
    pub telling: Arc<Telling>,
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
    /// `vips.NAME.session.upgraded_limit`.
    UpgradedLimit,
    /// `pools.NAME.response_timeout`.
    ResponseTimeout,
    /// `pools.NAME.between_bytes_timeout`.
    BetweenBytesTimeout,
    /// `pools.NAME.whole_timeout`.
    WholeTimeout,
    /// `pools.NAME.limits.queue_max`.
    Queue,
    /// `pools.NAME.limits.queue_timeout`.
    QueueTimeout,
    /// `pools.NAME.connect_timeout`, and members that could not be reached for another reason.
    Connect,
}

impl Limit {
    /// All of them, in their order.
    pub const ALL: [Self; 18] = [
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
        Self::UpgradedLimit,
        Self::ResponseTimeout,
        Self::BetweenBytesTimeout,
        Self::WholeTimeout,
        Self::Queue,
        Self::QueueTimeout,
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
            Self::UpgradedLimit => "upgraded_limit",
            Self::ResponseTimeout => "response_timeout",
            Self::BetweenBytesTimeout => "between_bytes_timeout",
            Self::WholeTimeout => "whole_timeout",
            Self::Queue => "queue",
            Self::QueueTimeout => "queue_timeout",
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
    retries: Count,
    tries: [Count; Came::ALL.len()],
    connecting: Histogram,
    first_byte: Histogram,
}

/// How one policy decided.
pub struct PolicyCounts(PerWorker<Histogram>);

/// What was to be told of exchanges and was not, or was. Written by the threads that tell, and by workers when they
/// cannot hand over, which is rare.
#[derive(Default)]
pub struct Telling {
    /// Lines that the access log has written.
    pub lines: AtomicU64,
    /// Lines for which the writer had no room.
    pub lines_dropped: AtomicU64,
    /// Lines that could not be written.
    pub lines_failed: AtomicU64,
    /// Spans that the collector took.
    pub spans: AtomicU64,
    /// Spans for which the exporter had no room.
    pub spans_dropped: AtomicU64,
    /// Spans that the collector did not take.
    pub spans_failed: AtomicU64,
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
    /// Copies sent to its mirror.
    pub copies: Count,
    /// Copies not made, as they were too long or too many.
    pub copies_left_out: Count,
    /// In flight now; counted where the vip has a limit.
    in_flight: AtomicU32,
    statuses: [Count; STATUS_CLASSES.len()],
    ended: [Count; Ended::ALL.len()],
    received_bytes: Count,
    sent_bytes: Count,
    whole: Histogram,
}

/// Kinds of status, as metrics name them; the last one is of exchanges that ended before an answer.
pub const STATUS_CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// Where a status is among [`STATUS_CLASSES`].
pub(crate) fn status_class(status: Option<StatusCode>) -> usize {
    let class = status.map_or(STATUS_CLASSES.len(), |status| usize::from(status.as_u16() / 100)) - 1;
    class.min(STATUS_CLASSES.len() - 1)
}

impl VipSlot {
    /// An exchange has ended.
    pub fn ended(&self, ended: Ended, status: Option<StatusCode>, time: Duration, received: u64, sent: u64) {
        self.statuses[status_class(status)].add();
        self.ended[ended as usize].add();
        self.received_bytes.add_many(received);
        self.sent_bytes.add_many(sent);
        self.whole.took(time);
    }
}

/// A pool's counts, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolTotals {
    /// Requests given to the pool.
    pub requests: u64,
    /// Of these, answered by us with an error because no member did.
    pub errors: u64,
    /// Tries beyond a request's first.
    #[serde(default)]
    pub retries: u64,
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
    /// Copies sent to its mirror.
    #[serde(default)]
    pub copies: u64,
    /// Copies not made, as they were too long or too many.
    #[serde(default)]
    pub copies_left_out: u64,
}

/// How a pool's members were tried, added up.
#[derive(Debug, Default)]
pub struct PoolTries {
    /// By what came of it, in the order of [`Came::ALL`].
    pub came: [u64; Came::ALL.len()],
    /// Times until a new connection was open.
    pub connecting: HistogramTotals,
    /// Times from sending a request to the first byte of its answer.
    pub first_byte: HistogramTotals,
}

/// How exchanges of a vip ended, added up.
#[derive(Debug, Default)]
pub struct VipEnds {
    /// By the kind of status, in the order of [`STATUS_CLASSES`].
    pub statuses: [u64; STATUS_CLASSES.len()],
    /// By what ended it, in the order of [`Ended::ALL`].
    pub ended: [u64; Ended::ALL.len()],
    /// Bytes of content from clients.
    pub received_bytes: u64,
    /// Bytes of content to clients.
    pub sent_bytes: u64,
    /// Times from the head to the end.
    pub whole: HistogramTotals,
}

impl Counts {
    /// Nothing counted yet.
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            pools: Mutex::default(),
            vips: Mutex::default(),
            policies: Mutex::default(),
            astray: VipCounts::new(workers),
            telling: Arc::default(),
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
        entry(&self.vips, name, || VipCounts::new(self.workers))
    }

    /// The counts of exchanges that entered no vip.
    pub fn astray(&self) -> &VipCounts {
        &self.astray
    }

    /// The counts of the policy of this name.
    pub fn policy(&self, name: &str) -> Arc<PolicyCounts> {
        let make = || PolicyCounts(PerWorker::new(self.workers, |_| Histogram::default()));
        entry(&self.policies, name, make)
    }
}

impl PolicyCounts {
    /// A decision took so long.
    pub fn decided(&self, worker: usize, time: Duration) {
        self.0.of(worker).took(time);
    }

    /// How long decisions took, over all workers.
    pub fn totals(&self) -> HistogramTotals {
        HistogramTotals::of(self.0.iter())
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

    /// A member was tried; it answered after so long.
    pub fn tried(&self, worker: usize, came: Came, first_byte: Option<Duration>) {
        let slot = self.0.of(worker);
        slot.tries[came as usize].add();
        if let Some(time) = first_byte {
            slot.first_byte.took(time);
        }
    }

    /// A connection to a member was opened.
    pub fn connected(&self, worker: usize, time: Duration) {
        self.0.of(worker).connecting.took(time);
    }

    /// How members were tried, over all workers.
    pub fn tries(&self) -> PoolTries {
        PoolTries {
            came: std::array::from_fn(|came| self.0.iter().map(|slot| slot.tries[came].value()).sum()),
            connecting: HistogramTotals::of(self.0.iter().map(|slot| &slot.connecting)),
            first_byte: HistogramTotals::of(self.0.iter().map(|slot| &slot.first_byte)),
        }
    }

    /// No member answered it.
    pub fn error(&self, worker: usize) {
        self.0.of(worker).errors.add();
    }

    /// A request is tried again.
    pub fn retry(&self, worker: usize) {
        self.0.of(worker).retries.add();
    }

    /// The sum over all workers.
    pub fn totals(&self) -> PoolTotals {
        self.0.iter().fold(PoolTotals::default(), |sum, slot| PoolTotals {
            requests: sum.requests + slot.requests.value(),
            errors: sum.errors + slot.errors.value(),
            retries: sum.retries + slot.retries.value(),
        })
    }
}

impl VipCounts {
    fn new(workers: usize) -> Self {
        Self(PerWorker::new(workers, |_| VipSlot::default()))
    }

    /// How exchanges ended, over all workers.
    pub fn ends(&self) -> VipEnds {
        let sum = |of: &dyn Fn(&VipSlot) -> u64| self.0.iter().map(of).sum();
        VipEnds {
            statuses: std::array::from_fn(|class| sum(&|slot| slot.statuses[class].value())),
            ended: std::array::from_fn(|ended| sum(&|slot| slot.ended[ended].value())),
            received_bytes: sum(&|slot| slot.received_bytes.value()),
            sent_bytes: sum(&|slot| slot.sent_bytes.value()),
            whole: HistogramTotals::of(self.0.iter().map(|slot| &slot.whole)),
        }
    }

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
            copies: sum.copies + slot.copies.value(),
            copies_left_out: sum.copies_left_out + slot.copies_left_out.value(),
        })
    }
}
