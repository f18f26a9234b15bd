//! Requests that wait until a pool can take them.
//!
//! On each worker they wait in the order in which they came; only the first of them looks. Workers take turns: a request
//! that ends wakes the first one that has looked least lately.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio::time::{Instant, timeout_at};

use super::error::Error;
use super::per_worker::PerWorker;
use super::pools::Lasting;
use crate::spec::pool::PoolLimits;

/// How long until the first one looks by itself: what it waits for may be freed by another pool's request, or by one that
/// woke the first of another worker, where it was of no use.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// One pool's queue, by the pool's name: it outlives releases.
pub struct Queue {
    in_flight: AtomicU32,
    waiting: AtomicU32,
    freed: Notify,
    /// Held by the first of each worker. One for all workers would have everybody wait for a request that lacks what only
    /// its own worker can free: a connection.
    fronts: PerWorker<Mutex<()>>,
}

impl Queue {
    /// Nobody waits.
    pub fn new(workers: usize) -> Self {
        let fronts = PerWorker::new(workers, |_| Mutex::default());
        Self { in_flight: 0.into(), waiting: 0.into(), freed: Notify::new(), fronts }
    }

    /// Requests that wait.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Something was freed that may be waited for.
    pub fn wake(&self) {
        if self.waiting() > 0 {
            self.freed.notify_one();
        }
    }

    /// Takes a place among those that wait, until `deadline` if there is one.
    ///
    /// # Errors
    /// When as many wait as may.
    pub fn join(
        &self,
        worker: usize,
        pool: &str,
        limits: &PoolLimits,
        deadline: Option<Instant>,
    ) -> Result<Waiting<'_>, Error> {
        let within = |now| (now < limits.queue_max).then_some(now + 1);
        if self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_err() {
            return Err(Error::QueueFull(pool.to_owned(), limits.queue_max));
        }
        let until = Instant::now() + limits.queue_timeout;
        let until = deadline.map_or(until, |deadline| until.min(deadline));
        Ok(Waiting { queue: self, worker, until, front: None })
    }
}

/// One of the requests that a pool may have in flight, until dropped.
pub struct Place(Option<Arc<Lasting>>);

impl Place {
    /// Takes one of `max`, if there is one.
    pub fn take(pool: &Arc<Lasting>, max: Option<u32>) -> Option<Self> {
        let within = |now: u32| max.is_none_or(|max| now < max).then_some(now + 1);
        pool.queue.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).ok()?;
        Some(Self(Some(pool.clone())))
    }

    /// Gives it back, and wakes nobody.
    pub fn give_back_unused(mut self) {
        if let Some(pool) = self.0.take() {
            pool.queue.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pool) = &self.0 {
            pool.queue.in_flight.fetch_sub(1, Ordering::Relaxed);
            pool.queue.wake();
        }
    }
}

/// A request that waits, until dropped.
pub struct Waiting<'a> {
    queue: &'a Queue,
    worker: usize,
    until: Instant,
    /// Once it is the first of its worker.
    front: Option<MutexGuard<'a, ()>>,
}

impl Waiting<'_> {
    /// Waits until it is worth looking again.
    ///
    /// # Errors
    /// When it has waited for as long as it may.
    pub async fn wait(&mut self, pool: &str) -> Result<(), Error> {
        let over = || Error::QueueTimeout(pool.to_owned());
        if self.until <= Instant::now() {
            return Err(over());
        }
        if self.front.is_none() {
            let front = self.queue.fronts.of(self.worker).lock();
            self.front = Some(timeout_at(self.until, front).await.map_err(|_| over())?);
            return Ok(());
        }
        let look = self.until.min(Instant::now() + LOOK_AGAIN);
        let _ = timeout_at(look, self.queue.freed.notified()).await;
        Ok(())
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
