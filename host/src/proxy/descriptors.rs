//! File descriptors, so that they are never all used up: a connection that cannot be served is left waiting in the kernel,
//! and everything that was accepted goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors of a client's connection: its own, that of the member that serves it, and that of one which waits to serve
/// the next.
const PER_CONNECTION: i64 = 3;

/// Descriptors that are left to what the host opens now and then: calls of the control API, files that are read, the
/// child that compiles.
const RESERVE: i64 = 8;

/// Where the process's limit cannot be told.
const UNKNOWN_LIMIT: i64 = 1024;

/// The descriptors that connections may use.
#[derive(Debug)]
pub struct Descriptors {
    limit: i64,
    workers: usize,
    total: AtomicI64,
    left: AtomicI64,
}

/// Descriptors that one connection uses, until dropped.
#[derive(Debug)]
pub struct Taken(Arc<Descriptors>);

impl Descriptors {
    /// Those of this process, after its limit was raised as far as it may be.
    pub fn of_process(workers: usize) -> Self {
        let limit = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        let limit = getrlimit(Resource::Nofile).current.and_then(|limit| i64::try_from(limit).ok());
        let descriptors = Self::of(limit.unwrap_or(UNKNOWN_LIMIT), workers);
        descriptors.settle(0);
        descriptors
    }

    fn of(limit: i64, workers: usize) -> Self {
        Self { limit, workers, total: 0.into(), left: 0.into() }
    }

    /// Finds out how many there are for connections. To be called while there are none, and when everything else is open;
    /// each of `sockets` may hold a connection that waits.
    pub fn settle(&self, sockets: usize) {
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        self.leave(i64::try_from(open + sockets).unwrap_or(0) + RESERVE);
    }

    /// Leaves so many to the rest of the host.
    fn leave(&self, others: i64) {
        // Something must be served, or there is no point in running.
        let total = ((self.limit - others) / PER_CONNECTION).max(1);
        let before = self.total.swap(total, Ordering::Relaxed);
        self.left.fetch_add(total - before, Ordering::Relaxed);
    }

    /// Whether there are any for another connection.
    pub fn are_there(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    /// Connections to members that may wait for requests, for each worker.
    pub fn idle_max(&self) -> usize {
        usize::try_from(self.total.load(Ordering::Relaxed)).unwrap_or(1) / self.workers
    }

    /// Takes what a connection needs; `None` where there is not enough.
    pub fn take(self: &Arc<Self>) -> Option<Taken> {
        if self.left.fetch_sub(1, Ordering::Relaxed) > 0 {
            return Some(Taken(self.clone()));
        }
        self.left.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Whether the last eighth is being used: connections that serve nothing should end rather than wait.
    pub fn are_short(&self) -> bool {
        self.left.load(Ordering::Relaxed) <= self.total.load(Ordering::Relaxed) / 8
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.left.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let descriptors = Arc::new(Descriptors::of(100, 2));
        descriptors.leave(52);
        let taken: Vec<_> = std::iter::from_fn(|| descriptors.take()).collect();
        assert_eq!((taken.len(), descriptors.are_short()), (16, true));
        drop(taken);
        assert!(!descriptors.are_short() && descriptors.take().is_some());
    }

    #[test]
    fn somebody_is_always_served() {
        let descriptors = Arc::new(Descriptors::of(5, 1));
        descriptors.leave(52);
        let first = descriptors.take();
        assert!(first.is_some() && descriptors.take().is_none());
    }
}
