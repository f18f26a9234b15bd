//! One timer for a whole connection.
//!
//! Every request sets deadlines that hardly ever pass, and a timer costs more to set than a request can afford. So the
//! timer is left where it is when a deadline moves away, and looks again when it rings.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Rings at the deadline that was set last.
pub struct Alarm {
    deadline: Cell<Instant>,
    timer: RefCell<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Rings after this time.
    pub fn after(time: Duration) -> Self {
        let deadline = Instant::now() + time;
        Self { deadline: Cell::new(deadline), timer: RefCell::new(Box::pin(tokio::time::sleep_until(deadline))) }
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
        loop {
            ready!(timer.as_mut().poll(cx));
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
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_deadline_that_was_set_last() {
        let alarm = Alarm::after(Duration::from_secs(10));
        let began = Instant::now();
        alarm.set(began + Duration::from_secs(30));
        std::future::poll_fn(|cx| alarm.poll(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 30);
        alarm.set(Instant::now() + Duration::from_secs(60));
        alarm.set(Instant::now() + Duration::from_secs(5));
        std::future::poll_fn(|cx| alarm.poll(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 35);
    }
}
