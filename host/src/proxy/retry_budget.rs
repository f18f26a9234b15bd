//! How many tries beyond the first may be made: a share of the requests there are, so that retries help where a member
//! fails and do no harm where all do.
//!
//! One for each pool, shared by all workers. Nothing here knows what a try is: the caller asks before each one that is not
//! a request's first, and does without where the answer is no.

use std::sync::atomic::{AtomicU64, Ordering};

/// Tries there can be at most. They were earned by requests that went well; when something breaks they are spent at once.
const MAX: u64 = 256 * TRY;

/// Tries that are there without any request: what it starts with, and what time alone brings it back to. Where there is
/// little traffic, a fifth of it is nothing.
const RESERVE: u64 = 10 * TRY;

/// How fast the reserve comes back: ten tries a second.
const EARNED_PER_MILLISECOND: u64 = 10;

/// One try, in the thousandths that are counted.
const TRY: u64 = 1000;

/// Bits for the balance. The others hold milliseconds: more than there are in 2^64 nanoseconds.
const BALANCE_BITS: u32 = 18;

const _: () = assert!(MAX < 1 << BALANCE_BITS);

/// Tries that may be made yet.
///
/// Over any time, tries are no more than the requests' share of them (a fifth, say), what was left before (256 at most),
/// and ten a second.
pub struct RetryBudget {
    /// What each request adds, in thousandths of a try.
    deposit: u64,
    /// The balance and when it was that, in one word: two could be read apart, and time be paid twice.
    state: AtomicU64,
}

impl RetryBudget {
    /// A budget of which each request adds so many thousandths of a try.
    pub fn new(deposit_thousandths: u32) -> Self {
        let deposit = u64::from(deposit_thousandths).min(MAX);
        Self { deposit, state: Balance { thousandths: RESERVE, at: 0 }.packed().into() }
    }

    /// There is a request. `now` is in nanoseconds since any one moment.
    pub fn deposit(&self, now: u64) {
        // Where all goes well it is full, and then the workers only read: nobody has to wait for the line.
        self.update(now, |thousandths| (thousandths < MAX).then(|| (thousandths + self.deposit).min(MAX)));
    }

    /// Takes a try, if there is one.
    pub fn withdraw(&self, now: u64) -> bool {
        self.update(now, |thousandths| thousandths.checked_sub(TRY))
    }

    /// Whole tries that could be made now.
    pub fn tries(&self, now: u64) -> u64 {
        Balance::unpacked(self.state.load(Ordering::Relaxed)).after(now / 1_000_000).thousandths / TRY
    }

    /// Whether there was something to change.
    fn update(&self, now: u64, change: impl Fn(u64) -> Option<u64>) -> bool {
        let now = now / 1_000_000;
        // Relaxed: the word is all there is to see.
        let changed = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
            let balance = Balance::unpacked(state).after(now);
            change(balance.thousandths).map(|thousandths| Balance { thousandths, ..balance }.packed())
        });
        changed.is_ok()
    }
}

#[derive(Clone, Copy)]
struct Balance {
    thousandths: u64,
    /// In milliseconds.
    at: u64,
}

impl Balance {
    fn after(self, now: u64) -> Self {
        // Workers look at the clock before they come here, so one can be late.
        let earned = now.saturating_sub(self.at).saturating_mul(EARNED_PER_MILLISECOND);
        let reserve = self.thousandths.saturating_add(earned).min(RESERVE);
        Self { thousandths: self.thousandths.max(reserve), at: now.max(self.at) }
    }

    fn packed(self) -> u64 {
        self.at << BALANCE_BITS | self.thousandths
    }

    fn unpacked(state: u64) -> Self {
        Self { thousandths: state & ((1 << BALANCE_BITS) - 1), at: state >> BALANCE_BITS }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Tries made when every one of so many requests fails, each being retried for as long as it may.
    fn storm(budget: &RetryBudget, requests: u64, now: impl Fn(u64) -> u64) -> u64 {
        let retries = |request| {
            budget.deposit(now(request));
            (0..10).take_while(|_| budget.withdraw(now(request))).count() as u64
        };
        (0..requests).map(|request| 1 + retries(request)).sum()
    }

    #[test]
    fn when_everything_fails_a_fifth_is_added_to_the_load() {
        let budget = RetryBudget::new(200);
        assert_eq!(storm(&budget, 10_000, |_| 0), 10_000 + 2_000 + 10);
        assert_eq!(storm(&budget, 10_000, |_| 0), 10_000 + 2_000);
    }

    #[test]
    fn time_adds_ten_tries_a_second() {
        let budget = RetryBudget::new(200);
        // A thousand requests a second, for ten.
        let tries = storm(&budget, 10_000, |request| request * SECOND / 1_000);
        assert!((12_000..=12_000 + 10 + 100).contains(&tries), "{tries}");
        assert!(tries >= 12_000 + 100, "{tries}");
    }

    #[test]
    fn many_threads_together_make_no_more_tries() {
        let (budget, threads, requests) = (RetryBudget::new(200), 8, 20_000);
        let tries: u64 = thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| storm(&budget, requests, |_| 0))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        // Nothing lost, nothing made up.
        assert_eq!(tries, threads * requests * 6 / 5 + 10);
    }

    #[test]
    fn many_threads_are_not_paid_twice_for_the_same_time() {
        let (budget, threads) = (RetryBudget::new(0), 8);
        let tries: u64 = thread::scope(|scope| {
            let withdraw = || (0..100_000).filter(|turn| budget.withdraw(turn * SECOND / 10_000)).count() as u64;
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(withdraw)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        // Ten seconds.
        assert!(tries <= 10 + 100, "{tries}");
    }

    #[test]
    fn what_is_put_by_has_a_bound() {
        let budget = RetryBudget::new(200);
        (0..100_000).for_each(|_| budget.deposit(0));
        assert_eq!(budget.tries(0), 256);
        assert_eq!((0..1_000).filter(|_| budget.withdraw(0)).count(), 256);
    }

    #[test]
    fn idle_time_brings_back_the_reserve_and_no_more() {
        let budget = RetryBudget::new(200);
        let withdrawn = |now| (0..100).filter(|_| budget.withdraw(now)).count();
        assert_eq!(withdrawn(0), 10);
        assert_eq!(withdrawn(SECOND / 10 - 1), 0);
        assert_eq!(withdrawn(SECOND / 10), 1);
        assert_eq!(withdrawn(3_600 * SECOND), 10);
        // A clock read earlier.
        assert_eq!(withdrawn(SECOND), 0);
        assert_eq!(withdrawn(u64::MAX), 10);
    }
}
