//! File descriptors, so that they are never all used up: a connection that cannot be served is left waiting in the kernel,
//! and everything that was accepted goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors of a client's connection: its own, and that of the member that serves it.
const PER_CONNECTION: i64 = 2;

/// Descriptors that are left to the rest of the host: the journal, the control API, files that are read, the child that
/// compiles.
const RESERVE: i64 = 16;

/// Where the process's limit cannot be told.
const UNKNOWN_LIMIT: i64 = 1024;

/// The descriptors that connections may use.
#[derive(Debug)]
pub struct Descriptors {
    total: i64,
    left: AtomicI64,
}

/// Descriptors that one connection uses, until dropped.
#[derive(Debug)]
pub struct Taken(Arc<Descriptors>);

impl Descriptors {
    /// Those of this process, after its limit was raised as far as it may be.
    pub fn of_process() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        let limit = getrlimit(Resource::Nofile).current.and_then(|limit| i64::try_from(limit).ok());
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let open = i64::try_from(open).unwrap_or(0);
        Self::of(limit.unwrap_or(UNKNOWN_LIMIT) - open - RESERVE)
    }

    fn of(descriptors: i64) -> Self {
        // Something must be served, or there is no point in running.
        let total = (descriptors / PER_CONNECTION).max(1);
        Self { total, left: total.into() }
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
        self.left.load(Ordering::Relaxed) <= self.total / 8
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
        let descriptors = Arc::new(Descriptors::of(32));
        let taken: Vec<_> = std::iter::from_fn(|| descriptors.take()).collect();
        assert_eq!((taken.len(), descriptors.are_short()), (16, true));
        drop(taken);
        assert!(!descriptors.are_short() && descriptors.take().is_some());
    }

    #[test]
    fn somebody_is_always_served() {
        let descriptors = Arc::new(Descriptors::of(-5));
        let first = descriptors.take();
        assert!(first.is_some() && descriptors.take().is_none());
    }
}
