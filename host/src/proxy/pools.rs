//! All pools that some release still has: alike ones shared, and what pools of one name have in common.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::pool::Pool;
use super::queue::Queue;
use super::tls::TlsError;
use crate::release::Ground;
use crate::spec::PoolSpec;

/// The pools that are known, by name.
#[derive(Default)]
pub struct Pools(Mutex<HashMap<Arc<str>, Namesakes>>);

struct Namesakes {
    lasting: Arc<Lasting>,
    pools: Vec<Weak<Pool>>,
}

/// What all pools of one name have in common, over all releases.
pub struct Lasting {
    /// Requests that wait.
    pub queue: Queue,
    /// Whether it was said that too few members are fit.
    panics: AtomicBool,
    /// Since when members are drained, by their ids, in nanoseconds since the process started.
    drained: Mutex<HashMap<u64, u64>>,
}

impl Pools {
    /// The pool that `spec` describes: the one that is known, or a new one.
    ///
    /// # Errors
    /// What is wrong with its certificates.
    pub fn like(&self, name: &str, spec: &PoolSpec, ground: &Ground) -> Result<Arc<Pool>, TlsError> {
        let lasting = {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let namesakes = known.entry(name.into()).or_insert_with(|| Namesakes::new(ground.workers));
            namesakes.pools.retain(|pool| pool.strong_count() > 0);
            let mut pools = namesakes.pools.iter().filter_map(Weak::upgrade);
            if let Some(same) = pools.find(|pool| pool.spec == *spec) {
                return Ok(same);
            }
            namesakes.lasting.clone()
        };
        // Not under the lock: its certificates may be on a disk that hangs.
        let pool = Arc::new(Pool::new(name, spec, lasting, ground)?);
        pool.refresh(&ground.members, true);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let namesakes = known.entry(name.into()).or_insert_with(|| Namesakes::new(ground.workers));
        namesakes.pools.push(Arc::downgrade(&pool));
        Ok(pool)
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Pool>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().flat_map(|namesakes| namesakes.pools.iter().filter_map(Weak::upgrade)).collect()
    }
}

impl Namesakes {
    fn new(workers: usize) -> Self {
        let lasting = Lasting { queue: Queue::new(workers), panics: AtomicBool::default(), drained: Mutex::default() };
        Self { lasting: lasting.into(), pools: Vec::new() }
    }
}

impl Lasting {
    /// Since when a member is drained, if it is. What it is drained for goes on where it was.
    pub(super) fn drain(&self, member: u64, drains: bool, now_nanos: u64) -> Option<u64> {
        let mut drained = self.drained.lock().unwrap_or_else(PoisonError::into_inner);
        if drains {
            return Some(*drained.entry(member).or_insert(now_nanos));
        }
        drained.remove(&member);
        None
    }

    /// Whether it is news that the pool does (not) have too few members that are fit.
    pub(super) fn panic(&self, panics: bool) -> bool {
        self.panics.swap(panics, Ordering::Relaxed) != panics
    }
}
