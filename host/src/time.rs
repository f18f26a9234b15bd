//! The clocks: wall time for people and policies, time since the start for measuring.
//!
//! Timers and time-outs use tokio's clock, which tests can pause.

pub mod clock;

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Wall time in nanoseconds since 1970 UTC; zero for a clock that is set before that.
pub fn wall_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds since the process started.
pub fn nanos_since_start() -> u64 {
    since_start(clock::now())
}

/// Nanoseconds from the first call to `instant`: a form of [`Instant`] that fits an atomic.
pub fn since_start(instant: Instant) -> u64 {
    u64::try_from(instant.saturating_duration_since(*START).as_nanos()).unwrap_or(u64::MAX)
}

/// Wall time as RFC 3339, in milliseconds.
pub fn rfc3339_now() -> String {
    let now = jiff::Timestamp::now();
    format!("{now:.3}")
}
