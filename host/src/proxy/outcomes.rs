//! What came of a vip's requests under one release: how many failed, how long their answers took, by the pool they went to.
//!
//! Made with the release and gone with it, as it is there to tell releases apart: what is counted for ever is in
//! [`telemetry`](crate::telemetry). Each worker adds to its own slot by a load and a store; readers add up. What is the
//! client's own fault says nothing of a release, and is not counted.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::StatusCode;
use tokio::time::Instant;

use crate::telemetry::histogram::bucket_of;
use crate::telemetry::told::{Ended, Fault};
use crate::telemetry::{Count, STATUS_CLASSES, status_class};
use crate::time::clock;

/// The first of the telemetry's boundaries that is used: 2^-13 s (122 us). Who is faster is fast.
const FIRST_BOUND: usize = 18;

/// Buckets of time: half powers of 2 up to 2^6 s (64 s), and what took longer.
pub const TIMES: usize = 40;

/// What came of a vip's requests under one release.
pub struct Outcomes {
    /// The pools they can go to: those of the policy, of the one before it, and the fallback.
    pools: Box<[Arc<str>]>,
    /// By worker, each made at its first request: releases are kept, and of thousands of vips most see none under each.
    slots: Box<[OnceLock<Box<Slot>>]>,
}

// No two workers write to the same cache line; two of 64 bytes, as the hardware fetches them in pairs.
#[repr(align(128))]
struct Slot {
    all: Series,
    falls: Count,
    statuses: [Count; STATUS_CLASSES.len()],
    /// In the order of the pools.
    by_pool: Box<[Series]>,
}

#[derive(Default)]
struct Series {
    begun: Count,
    withdrawn: Count,
    ended: Count,
    failed: Count,
    times: Times,
}

struct Times([Count; TIMES]);

/// One request on its way to its outcome.
pub struct Outcome {
    of: Arc<Outcomes>,
    worker: usize,
    began: Instant,
    pool: Cell<Option<usize>>,
    is_answered: Cell<bool>,
}

/// Outcomes of all workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutcomeTotals {
    /// All requests.
    pub all: SeriesTotals,
    /// Times that the release's policy failed, or was not asked as it had failed so often.
    pub falls: u64,
    /// Those that ended, whosever fault that was, by the kind of status; in the order of [`STATUS_CLASSES`].
    pub statuses: [u64; STATUS_CLASSES.len()],
    /// Those that went to a pool, by its name.
    pub pools: Vec<(Arc<str>, SeriesTotals)>,
}

/// Some requests, added up over all workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesTotals {
    /// Requests that entered.
    pub begun: u64,
    /// Of these, ended by their client's fault before an answer began.
    pub withdrawn: u64,
    /// Those that ended, but for those that their clients ended.
    pub ended: u64,
    /// Of these, answered with 5xx, by whomever, or broken off by a member or by us.
    pub failed: u64,
    /// Those that were answered or failed, by the time until then.
    pub times: TimeTotals,
}

/// Numbers of requests by how long they took. A bucket is a power of the square root of 2, see [`TIMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeTotals([u64; TIMES]);

impl Default for Times {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Count::default()))
    }
}

impl Outcomes {
    /// Nothing came of anything yet. `pools` are those that requests can go to.
    pub fn new(workers: usize, pools: impl Iterator<Item = Arc<str>>) -> Self {
        let mut pools: Vec<_> = pools.collect();
        pools.sort_unstable();
        pools.dedup();
        Self { slots: (0..workers).map(|_| OnceLock::new()).collect(), pools: pools.into() }
    }

    /// The release's policy failed on a request.
    pub fn fell(&self, worker: usize) {
        self.slot(worker).falls.add();
    }

    /// The pools that requests can go to, by name.
    pub fn pools(&self) -> &[Arc<str>] {
        &self.pools
    }

    /// The sums over all workers.
    pub fn totals(&self) -> OutcomeTotals {
        let slots = || self.slots.iter().filter_map(OnceLock::get);
        let all = SeriesTotals::of(slots().map(|slot| &slot.all));
        let falls = slots().map(|slot| slot.falls.value()).sum();
        let of_pool = |at: usize| SeriesTotals::of(slots().map(|slot| &slot.by_pool[at]));
        let pools = self.pools.iter().enumerate().map(|(at, name)| (name.clone(), of_pool(at))).collect();
        let of_class = |class: usize| slots().map(|slot| slot.statuses[class].value()).sum();
        OutcomeTotals { all, falls, statuses: std::array::from_fn(of_class), pools }
    }

    fn slot(&self, worker: usize) -> &Slot {
        self.slots[worker].get_or_init(|| {
            let by_pool = self.pools.iter().map(|_| Series::default()).collect();
            let (all, falls, statuses) = (Series::default(), Count::default(), Default::default());
            Box::new(Slot { all, falls, statuses, by_pool })
        })
    }
}

impl Outcome {
    /// A request has entered; its head had been read at `began`.
    pub fn begin(of: &Arc<Outcomes>, worker: usize, began: Instant) -> Self {
        of.slot(worker).all.begun.add();
        Self { of: of.clone(), worker, began, pool: Cell::default(), is_answered: Cell::default() }
    }

    /// It goes to this pool.
    pub fn goes_to(&self, pool: &Arc<str>) {
        // A handful at most, and names are shared: pointers tell.
        self.pool.set(self.of.pools.iter().position(|known| Arc::ptr_eq(known, pool)));
        if let Some(series) = self.of_pool() {
            series.begun.add();
        }
    }

    /// Its answer begins.
    pub fn answers(&self) {
        if !self.is_answered.replace(true) {
            self.took(clock::now() - self.began);
        }
    }

    /// It has ended.
    pub fn finish(self, ended: Ended, status: Option<StatusCode>, at: Instant) {
        self.of.slot(self.worker).statuses[status_class(status)].add();
        let fault = ended.fault();
        let is_ours = matches!(fault, Fault::Member | Fault::Policy | Fault::Host) && ended != Ended::HostLeft;
        // Whoever goes away from a 500 has had it.
        let has_failed = is_ours || status.is_some_and(|status| status.is_server_error());
        let says_nothing = !has_failed && (fault == Fault::Client || ended == Ended::HostLeft);
        if says_nothing {
            if !self.is_answered.get() {
                self.each(|series| series.withdrawn.add());
            }
            return;
        }
        if !self.is_answered.get() {
            self.took(at - self.began);
        }
        self.each(|series| {
            series.ended.add();
            if has_failed {
                series.failed.add();
            }
        });
    }

    fn took(&self, time: Duration) {
        let bucket = TimeTotals::bucket_of(time);
        self.each(|series| series.times.0[bucket].add());
    }

    fn each(&self, mut count: impl FnMut(&Series)) {
        count(&self.of.slot(self.worker).all);
        self.of_pool().into_iter().for_each(count);
    }

    fn of_pool(&self) -> Option<&Series> {
        Some(&self.of.slot(self.worker).by_pool[self.pool.get()?])
    }
}

impl OutcomeTotals {
    /// What came since `before`, which is the same vip of the same release earlier.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        // A release's pools do not change, nor does their order.
        let pools = self.pools.iter().zip(&before.pools);
        Self {
            all: self.all.since(&before.all),
            falls: self.falls.saturating_sub(before.falls),
            statuses: std::array::from_fn(|class| self.statuses[class].saturating_sub(before.statuses[class])),
            pools: pools.map(|((name, now), (_, before))| (name.clone(), now.since(before))).collect(),
        }
    }
}

impl SeriesTotals {
    fn of<'a>(slots: impl Iterator<Item = &'a Series>) -> Self {
        slots.fold(Self::default(), |mut sum, slot| {
            sum.begun += slot.begun.value();
            sum.withdrawn += slot.withdrawn.value();
            sum.ended += slot.ended.value();
            sum.failed += slot.failed.value();
            sum.times.0.iter_mut().zip(&slot.times.0).for_each(|(sum, times)| *sum += times.value());
            sum
        })
    }

    /// What came since `before`, which is the same series earlier.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        // Workers' slots are read one after the other, while they change: a difference may be off by a request.
        let mut times = self.times;
        times.0.iter_mut().zip(before.times.0).for_each(|(now, before)| *now = now.saturating_sub(before));
        Self {
            begun: self.begun.saturating_sub(before.begun),
            withdrawn: self.withdrawn.saturating_sub(before.withdrawn),
            ended: self.ended.saturating_sub(before.ended),
            failed: self.failed.saturating_sub(before.failed),
            times,
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut times = self.times;
        times.0.iter_mut().zip(other.times.0).for_each(|(sum, other)| *sum += other);
        Self {
            begun: self.begun + other.begun,
            withdrawn: self.withdrawn + other.withdrawn,
            ended: self.ended + other.ended,
            failed: self.failed + other.failed,
            times,
        }
    }
}

impl Default for TimeTotals {
    fn default() -> Self {
        Self([0; TIMES])
    }
}

impl TimeTotals {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The bucket in which so much of them is done: 0.95 for the 95th percentile. None where there are none.
    pub fn bucket_at(&self, share: f64) -> Option<usize> {
        let wanted = (self.count() as f64 * share).ceil().max(1.0);
        let mut sum = 0;
        self.0.iter().position(|count| {
            sum += count;
            sum as f64 >= wanted
        })
    }

    /// The bucket that a time is in.
    pub fn bucket_of(time: Duration) -> usize {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        bucket_of(nanos).saturating_sub(FIRST_BOUND).min(TIMES - 1)
    }

    /// This many more in the bucket of a time.
    pub fn add(&mut self, time: Duration, many: u64) {
        self.0[Self::bucket_of(time)] += many;
    }

    /// How many took longer than the bucket allows.
    pub fn above(&self, bucket: usize) -> u64 {
        self.0.iter().skip(bucket + 1).sum()
    }

    /// The longest time that is in a bucket; none for the last.
    pub fn longest_in(bucket: usize) -> Option<Duration> {
        (bucket + 1 < TIMES).then(|| crate::telemetry::histogram::bound(FIRST_BOUND + bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes() -> (Arc<Outcomes>, [Arc<str>; 2]) {
        let pools = ["blue", "green"].map(Arc::<str>::from);
        (Arc::new(Outcomes::new(2, pools.iter().cloned())), pools)
    }

    #[test]
    fn what_is_the_clients_own_fault_is_no_outcome() {
        let (outcomes, [blue, _]) = outcomes();
        let check = |ended, status: u16, expected: [u64; 3]| {
            let before = outcomes.totals().all;
            let outcome = Outcome::begin(&outcomes, 1, Instant::now());
            outcome.goes_to(&blue);
            if status > 0 {
                outcome.answers();
            }
            outcome.finish(ended, StatusCode::from_u16(status).ok(), Instant::now());
            let since = outcomes.totals().all.since(&before);
            assert_eq!([since.ended, since.failed, since.withdrawn], expected, "{ended:?} {status}");
            assert_eq!(since.begun, since.times.count() + since.withdrawn, "{ended:?} {status}");
        };
        check(Ended::Whole, 200, [1, 0, 0]);
        check(Ended::Whole, 404, [1, 0, 0]);
        check(Ended::Whole, 500, [1, 1, 0]);
        check(Ended::Policy, 503, [1, 1, 0]);
        check(Ended::MemberBroke, 200, [1, 1, 0]);
        check(Ended::MemberUnreached, 0, [1, 1, 0]);
        check(Ended::ClientGone, 500, [1, 1, 0]);
        check(Ended::ClientGone, 200, [0, 0, 0]);
        check(Ended::ClientGone, 0, [0, 0, 1]);
        check(Ended::HostLeft, 0, [0, 0, 1]);
        let totals = outcomes.totals();
        assert_eq!((&*totals.pools[0].0, &totals.pools[0].1), ("blue", &totals.all));
        assert_eq!((&*totals.pools[1].0, totals.pools[1].1.begun), ("green", 0));
    }

    #[test]
    fn times_are_told_by_half_powers_of_two() {
        let mut times = TimeTotals::default();
        (times.0[2], times.0[10], times.0[TIMES - 1]) = (94, 5, 1);
        assert_eq!([0.5, 0.94, 0.95, 0.99, 1.0].map(|share| times.bucket_at(share).unwrap()), [2, 2, 10, 10, 39]);
        assert_eq!((times.above(2), times.above(10), times.above(TIMES - 1)), (6, 1, 0));
        assert_eq!(TimeTotals::default().bucket_at(0.5), None);
        assert_eq!(TimeTotals::longest_in(26), Some(Duration::from_secs(1)));
        assert_eq!((TimeTotals::longest_in(38), TimeTotals::longest_in(39)), (Some(Duration::from_secs(64)), None));
    }
}
