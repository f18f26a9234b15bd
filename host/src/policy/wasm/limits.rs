//! What one instance may take: memory, tables, time.
//!
//! Time is the thread's own CPU time. A deadline on the wall clock would blame a policy for the moments its thread was
//! not running, and on a busy machine that is often enough to send a healthy release back.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{ResourceLimiter, UpdateDeadline};

use super::ticker::{self, TICK};
use crate::policy::Limits;

/// The most memory that any policy can be granted.
pub(super) const MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Elements over all tables of an instance. A Rust guest has a few dozen, a JavaScript engine some thousands.
pub(super) const TABLE_ELEMENTS_MAX: usize = 20_000;

/// Core instances, tables and memories of one component: an adapter and its guest have two or three of each.
pub(super) const CORE_INSTANCES_MAX: usize = 8;
pub(super) const TABLES_MAX: usize = 4;
pub(super) const MEMORIES_MAX: usize = 2;

/// Counts what an instance takes, and remembers what it was denied.
pub(super) struct Meter {
    memory_bytes_max: usize,
    /// Over all its memories.
    memory_bytes: usize,
    table_elements: usize,
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
            memory_bytes: 0,
            table_elements: 0,
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
        ticker::ticks_in_first(self.half_deadline)
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
                Ok(UpdateDeadline::Continue(ticker::ticks_in(self.half_deadline).max(1)))
            }
            // A quarter of a tick is what the ticker's own wake-ups are off by: it must not cost a whole one.
            Some(since) if now.saturating_sub(since) + TICK / 4 < self.half_deadline => Ok(UpdateDeadline::Continue(1)),
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
    fn memory_growing(&mut self, current: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        let granted = total <= self.memory_bytes_max;
        if granted {
            self.memory_bytes = total;
        } else {
            self.denied_bytes = Some(total);
        }
        Ok(granted)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.table_elements.saturating_add(desired.saturating_sub(current));
        let granted = total <= TABLE_ELEMENTS_MAX;
        if granted {
            self.table_elements = total;
        }
        Ok(granted)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
