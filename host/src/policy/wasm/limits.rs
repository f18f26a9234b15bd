//! What one instance may take: memory, tables, time.
//!
//! Time is the thread's own CPU time. A deadline on the wall clock would blame a policy for the moments its thread was
//! not running, and on a busy machine that is often enough to send a healthy release back.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{ResourceLimiter, UpdateDeadline};

use super::engine::TICK;
use crate::policy::Limits;

/// The most memory that any policy can be granted.
pub(super) const MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Elements over all tables of an instance. A Rust guest has a few dozen, a JavaScript engine some thousands.
const TABLE_ELEMENTS_MAX: usize = 20_000;

/// Counts what an instance takes, and remembers what it was denied.
pub(super) struct Meter {
    memory_bytes_max: usize,
    /// Memory it asked for and did not get; a trap soon after is then explained by it.
    denied_bytes: Option<usize>,
    half_deadline: Duration,
    /// The thread's CPU time when the first half of the deadline had passed.
    overtime_since: Option<Duration>,
    /// Whether the deadline ended the call.
    overran: bool,
}

impl Meter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes_max: limits.memory_bytes.min(MEMORY_BYTES_MAX),
            denied_bytes: None,
            half_deadline: limits.deadline / 2,
            overtime_since: None,
            overran: false,
        }
    }

    /// Starts a call that may take `deadline`; answers after how many ticks the epoch is to ask `overdue` again.
    pub(super) fn start(&mut self, deadline: Duration) -> u64 {
        self.half_deadline = deadline / 2;
        self.overtime_since = None;
        self.overran = false;
        self.denied_bytes = None;
        ticks(self.half_deadline)
    }

    /// Asked by the epoch: whether the guest goes on.
    ///
    /// The first half of a deadline is measured by ticks, which cost nothing; only a guest that is still running then has
    /// its CPU time read, and is cut once it has used the other half.
    pub(super) fn overdue(&mut self) -> wasmtime::Result<UpdateDeadline> {
        let now = thread_time();
        match self.overtime_since {
            None => {
                self.overtime_since = Some(now);
                Ok(UpdateDeadline::Continue(ticks(self.half_deadline)))
            }
            Some(since) if now.saturating_sub(since) < self.half_deadline => Ok(UpdateDeadline::Continue(1)),
            Some(_) => {
                self.overran = true;
                Err(wasmtime::Trap::Interrupt.into())
            }
        }
    }

    pub(super) fn overran(&self) -> bool {
        self.overran
    }

    pub(super) fn denied_bytes(&self) -> Option<usize> {
        self.denied_bytes
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, _current: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        let granted = desired <= self.memory_bytes_max;
        if !granted {
            self.denied_bytes = Some(desired);
        }
        Ok(granted)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}

fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX).max(1)
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
