//! Leaves a member alone for what it did to requests: closed, open, half open, closed.
//!
//! Shared by all workers, without a lock: what a request reads of it is one number, zero for most.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The longest rest, in first ones.
const RESTS_MAX: u32 = 30;

/// A breaker stays closed for so many rests until earlier ones are forgotten.
const FORGOTTEN_AFTER: u32 = 6;

/// One member's breaker.
#[derive(Debug, Default)]
pub struct Breaker {
    /// Open until then, half open after; in nanoseconds since the process started. Zero is closed.
    open_until: AtomicU64,
    /// Whether a request is under way that is to show whether the member is well again.
    on_trial: AtomicBool,
    failures_in_a_row: AtomicU32,
    /// How often it has opened without staying closed for long.
    times: AtomicU32,
    /// Whether it opened as the member could not be reached.
    is_unreachable: AtomicBool,
    closed_at: AtomicU64,
}

/// Whether a request may go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Like any other.
    Free,
    /// Of those that come while it is half open, the one that goes ahead.
    Trial,
    /// The member is to be left alone.
    Refused,
}

/// What a breaker is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Requests go through.
    Closed,
    /// None does.
    Open,
    /// One at a time does.
    HalfOpen,
}

impl Breaker {
    /// Whether a request may go through now. A trial must be ended by [`Breaker::end_trial`].
    pub fn pass(&self, now_nanos: u64) -> Pass {
        match self.state(now_nanos) {
            State::Closed => Pass::Free,
            State::Open => Pass::Refused,
            State::HalfOpen if self.on_trial.swap(true, Ordering::Relaxed) => Pass::Refused,
            State::HalfOpen => Pass::Trial,
        }
    }

    /// Whether requests go through, whatever the time.
    pub fn is_closed(&self) -> bool {
        self.open_until.load(Ordering::Relaxed) == 0
    }

    /// What it is now.
    pub fn state(&self, now_nanos: u64) -> State {
        match self.open_until.load(Ordering::Relaxed) {
            0 => State::Closed,
            until if now_nanos < until => State::Open,
            _ => State::HalfOpen,
        }
    }

    /// How long it stays open.
    pub fn rest(&self, now_nanos: u64) -> Duration {
        Duration::from_nanos(self.open_until.load(Ordering::Relaxed).saturating_sub(now_nanos))
    }

    /// Whether it opened as the member could not be reached.
    pub fn is_unreachable(&self) -> bool {
        self.is_unreachable.load(Ordering::Relaxed)
    }

    /// The member answered as it should.
    pub fn succeed(&self) {
        // Hardly ever: the line stays shared between the workers.
        if self.failures_in_a_row.load(Ordering::Relaxed) != 0 {
            self.failures_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// The member failed a request; answers how many it failed in a row.
    pub fn fail(&self) -> u32 {
        self.failures_in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// The request that went ahead has ended.
    pub fn end_trial(&self) {
        self.on_trial.store(false, Ordering::Relaxed);
    }

    /// Opens it; answers for how long, or `None` where it is open already.
    pub fn open(&self, first_rest: Duration, is_unreachable: bool, now_nanos: u64) -> Option<Duration> {
        let before = self.open_until.load(Ordering::Relaxed);
        if before != 0 && now_nanos < before {
            return None;
        }
        let closed_for = now_nanos.saturating_sub(self.closed_at.load(Ordering::Relaxed));
        let forgotten = before == 0 && u128::from(closed_for) > (first_rest * FORGOTTEN_AFTER).as_nanos();
        let times = if forgotten { 1 } else { self.times.load(Ordering::Relaxed).saturating_add(1).min(RESTS_MAX) };
        let rest = first_rest * times;
        let until = now_nanos.saturating_add(u64::try_from(rest.as_nanos()).unwrap_or(u64::MAX)).max(1);
        // Of several workers that see the same, one opens it.
        self.open_until.compare_exchange(before, until, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        self.times.store(times, Ordering::Relaxed);
        self.is_unreachable.store(is_unreachable, Ordering::Relaxed);
        self.failures_in_a_row.store(0, Ordering::Relaxed);
        Some(rest)
    }

    /// Closes it; answers whether it was not.
    pub fn close(&self, now_nanos: u64) -> bool {
        let was_open = self.open_until.swap(0, Ordering::Relaxed) != 0;
        if was_open {
            self.closed_at.store(now_nanos, Ordering::Relaxed);
            self.failures_in_a_row.store(0, Ordering::Relaxed);
        }
        was_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_secs(10);
    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn it_opens_half_opens_for_one_request_and_closes() {
        let breaker = Breaker::default();
        assert_eq!(breaker.pass(0), Pass::Free);
        assert_eq!(breaker.open(REST, false, SECOND), Some(REST));
        assert_eq!(breaker.open(REST, false, 2 * SECOND), None);
        assert_eq!(breaker.pass(10 * SECOND), Pass::Refused);
        assert_eq!(breaker.pass(11 * SECOND), Pass::Trial);
        assert_eq!(breaker.pass(11 * SECOND), Pass::Refused);
        breaker.end_trial();
        assert_eq!(breaker.pass(11 * SECOND), Pass::Trial);
        assert!(breaker.close(11 * SECOND));
        breaker.end_trial();
        assert_eq!(breaker.pass(11 * SECOND), Pass::Free);
    }

    #[test]
    fn each_rest_is_longer_until_it_stayed_closed_for_long() {
        let breaker = Breaker::default();
        let mut now = SECOND;
        for times in (1..40).map(|times: u32| times.min(30)) {
            assert_eq!(breaker.open(REST, false, now), Some(REST * times));
            now += u64::from(times) * 10 * SECOND;
            assert!(breaker.close(now));
        }
        assert_eq!(breaker.open(REST, false, now + 61 * SECOND), Some(REST));
    }

    #[test]
    fn only_failures_in_a_row_count() {
        let breaker = Breaker::default();
        assert_eq!((breaker.fail(), breaker.fail()), (1, 2));
        breaker.succeed();
        assert_eq!(breaker.fail(), 1);
    }
}
