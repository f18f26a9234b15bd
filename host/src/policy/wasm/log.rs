//! How much a guest may write to the log, by whichever way, and what it wrote last.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Lines one call may log; the rest is dropped, so that a guest cannot fill a disk.
const LINES_MAX: u32 = 16;

/// The lines that are left to one call. Shared by all the ways an instance has to write one.
#[derive(Clone, Default)]
pub(super) struct CallLog(Arc<Lines>);

#[derive(Default)]
struct Lines {
    spent: AtomicU32,
    /// Those of the call that is being made, or was made last. Nobody ever waits for it.
    kept: Mutex<Vec<String>>,
}

impl CallLog {
    /// A new call begins.
    pub(super) fn renew(&self) {
        // Most calls write nothing, and find nothing to be cleared.
        if self.0.spent.swap(0, Ordering::Relaxed) > 0 {
            self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// Takes a line, if one is left.
    pub(super) fn spend(&self) -> bool {
        self.0.spent.fetch_add(1, Ordering::Relaxed) < LINES_MAX
    }

    /// Keeps a line that was written, until the next call.
    pub(super) fn keep(&self, line: String) {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// The lines of the last call.
    pub(super) fn kept(&self) -> Vec<String> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
