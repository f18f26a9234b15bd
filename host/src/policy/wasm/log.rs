//! How much a guest may write to the log, by whichever way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Lines one call may log; the rest is dropped, so that a guest cannot fill a disk.
const LINES_MAX: u32 = 16;

/// The lines that are left to one call. Shared by all the ways an instance has to write one.
#[derive(Clone, Default)]
pub(super) struct CallLog(Arc<AtomicU32>);

impl CallLog {
    /// A new call begins.
    pub(super) fn renew(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Takes a line, if one is left.
    pub(super) fn spend(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) < LINES_MAX
    }
}
