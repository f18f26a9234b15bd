//! Requests that wait until a pool can take them.
//!
//! A request that ends wakes the one that waits longest, whichever workers they are on.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use super::error::Error;
use super::pools::Lasting;
use crate::spec::pool::PoolLimits;

/// How long until one that waits looks by itself: what it waits for may be freed by another pool's request.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// One pool's queue, by the pool's name: it outlives releases.
#[derive(Default)]
pub struct Queue {
    in_flight: AtomicU32,
    waiting: AtomicU32,
    freed: Notify,
}

impl Queue {
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

    /// Takes a place among those that wait.
    ///
    /// # Errors
    /// When as many wait as may.
    pub fn join(&self, pool: &str, limits: &PoolLimits) -> Result<Waiting<'_>, Error> {
        let within = |now| (now < limits.queue_max).then_some(now + 1);
        match self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within) {
            Ok(_) => Ok(Waiting {
                queue: self,
                until: Instant::now() + limits.queue_timeout,
                freed: Box::pin(self.freed.notified()),
            }),
            Err(_) => Err(Error::QueueFull(pool.to_owned(), limits.queue_max)),
        }
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
    until: Instant,
    /// Its place: kept from one look to the next.
    freed: Pin<Box<Notified<'a>>>,
}

impl Waiting<'_> {
    /// Waits until it is worth looking again.
    ///
    /// # Errors
    /// When it has waited for as long as it may.
    pub async fn wait(&mut self, pool: &str) -> Result<(), Error> {
        if self.until <= Instant::now() {
            return Err(Error::QueueTimeout(pool.to_owned()));
        }
        let look = self.until.min(Instant::now() + LOOK_AGAIN);
        if tokio::time::timeout_at(look, self.freed.as_mut()).await.is_ok() {
            self.freed = Box::pin(self.queue.freed.notified());
        }
        Ok(())
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
