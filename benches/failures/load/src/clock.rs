//! Time since the first request was due.

// The ban on `Instant` is for code whose clock tests pause.
#![allow(clippy::disallowed_types, reason = "real time is what is measured")]

use std::thread;
use std::time::{Duration, Instant};

/// A clock that starts with the first request.
#[derive(Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// Starts after so long.
    pub(crate) fn in_a(moment: Duration) -> Self {
        Self(Instant::now() + moment)
    }

    pub(crate) fn now(self) -> Duration {
        Instant::now().saturating_duration_since(self.0)
    }

    pub(crate) fn sleep_until(self, at: Duration) {
        thread::sleep((self.0 + at).saturating_duration_since(Instant::now()));
    }
}
