//! The time, read once for each piece of work.
//!
//! A request asks for the time at a dozen places, most of them within the same two microseconds, and a reading costs as
//! much as parsing a field. So while a connection's task is polled, all of them get the time of its first reading.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

thread_local! {
    static READ: Cell<Read> = const { Cell::new(Read::Outside) };
}

#[derive(Clone, Copy)]
enum Read {
    /// No connection is polled: whoever asks gets the time.
    Outside,
    /// Nobody has asked since the poll began.
    NotYet,
    At(Instant),
}

/// The time at which this piece of work asked for it first.
pub fn now() -> Instant {
    match READ.get() {
        Read::At(read) => read,
        Read::NotYet => again(),
        Read::Outside => Instant::now(),
    }
}

/// The time now, to tell how long something took; for the rest of this piece of work it is [`now`].
pub fn again() -> Instant {
    let now = Instant::now();
    if !matches!(READ.get(), Read::Outside) {
        READ.set(Read::At(now));
    }
    now
}

/// The task of a connection, or of one of its streams, each poll of which is one piece of work.
pub struct Clocked<F>(pub Pin<Box<F>>);

impl<F: Future> Future for Clocked<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        /// However the poll ends.
        struct Ends;
        impl Drop for Ends {
            fn drop(&mut self) {
                READ.set(Read::Outside);
            }
        }
        READ.set(Read::NotYet);
        let _ends = Ends;
        self.0.as_mut().poll(cx)
    }
}

/// The wall clock, read once a second: in between, the time that has passed is added.
#[derive(Default)]
pub struct WallClock(Cell<Option<(Instant, u64)>>);

impl WallClock {
    /// How long the clock is believed. Whoever sets it is heard after that.
    const BELIEVED: Duration = Duration::from_secs(1);

    /// Wall time in nanoseconds since 1970 UTC, as of [`now`].
    pub fn nanos(&self) -> u64 {
        let now = now();
        match self.0.get().map(|(read, nanos)| (now.saturating_duration_since(read), nanos)) {
            Some((passed, nanos)) if passed < Self::BELIEVED => nanos + u64::from(passed.subsec_nanos()),
            _ => {
                let nanos = super::wall_nanos();
                self.0.set(Some((now, nanos)));
                nanos
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_wall_clock_is_read_again_after_a_second() {
        let (clock, advance) = (WallClock::default(), tokio::time::advance);
        let first = clock.nanos();
        advance(Duration::from_millis(999)).await;
        assert_eq!(clock.nanos(), first + 999_000_000);
        advance(Duration::from_millis(1)).await;
        // The real clock, which has not gone on as the paused one has.
        assert!(clock.nanos() < first + 999_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn time_stands_still_within_a_poll_and_goes_on_between_them() {
        let began = Instant::now();
        let work = async {
            let first = now();
            // As something does that takes long without waiting.
            tokio::time::advance(Duration::from_secs(1)).await;
            let second = now();
            assert_eq!((first, again(), now()), (began, second, second));
            second
        };
        assert_eq!(Clocked(Box::pin(work)).await, began + Duration::from_secs(1));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(now(), began + Duration::from_secs(2));
    }
}
