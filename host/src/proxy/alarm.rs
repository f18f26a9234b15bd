//! One timer for a whole connection.
//!
//! Every request sets deadlines that hardly ever pass, and a timer costs more to set than a request can afford. So the
//! timer is left where it is when a deadline moves away, and looks again when it rings.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::time::clock;

/// Rings at the deadline that was set last.
pub struct Alarm {
    deadline: Cell<Instant>,
    timer: RefCell<Pin<Box<Sleep>>>,
    /// Whom the timer wakes.
    waker: RefCell<Option<Waker>>,
}

impl Alarm {
    /// Rings after this time.
    pub fn after(time: Duration) -> Self {
        Self::at(clock::now() + time)
    }

    /// Rings at `deadline`.
    pub fn at(deadline: Instant) -> Self {
        let timer = RefCell::new(Box::pin(tokio::time::sleep_until(deadline)));
        Self { deadline: Cell::new(deadline), timer, waker: RefCell::default() }
    }

    /// Rings at `deadline`, and no more at the one before.
    pub fn set(&self, deadline: Instant) {
        self.deadline.set(deadline);
        let mut timer = self.timer.borrow_mut();
        if deadline < timer.deadline() {
            timer.as_mut().reset(deadline);
        }
    }

    /// Ready once the deadline has passed.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut timer = self.timer.borrow_mut();
        let mut waker = self.waker.borrow_mut();
        // Every request looks here more than once, and a timer that knows whom to wake needs not be told again.
        if !timer.is_elapsed() && waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        *waker = None;
        loop {
            let Poll::Ready(()) = timer.as_mut().poll(cx) else {
                *waker = Some(cx.waker().clone());
                return Poll::Pending;
            };
            let deadline = self.deadline.get();
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn it_rings_at_the_deadline_that_was_set_last() {
        let began = Instant::now();
        let after = |millis| began + Duration::from_millis(millis);
        let alarm = Alarm::at(after(1));
        alarm.set(after(40));
        poll_fn(|cx| alarm.poll(cx)).await;
        assert!(Instant::now() >= after(40));
        alarm.set(began + Duration::from_secs(600));
        alarm.set(after(50));
        poll_fn(|cx| alarm.poll(cx)).await;
        assert!(Instant::now() >= after(50) && Instant::now() < began + Duration::from_secs(600));
    }
}
