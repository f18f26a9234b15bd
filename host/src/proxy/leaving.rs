//! Tells connections that their listener, or the whole host, serves no more requests than those it has.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

/// How long an idle connection is kept for the next request, which is then told that it is the last. A connection that is
/// closed at once may have a request on its way, and its client does not know whether it was seen.
pub const LAST_REQUEST: Duration = Duration::from_secs(1);

/// What one listener's connections on one worker look at.
#[derive(Default)]
pub struct Leaving {
    begun: Cell<bool>,
    told: Notify,
    last_request: Duration,
}

impl Leaving {
    /// Nobody is told yet. Idle connections will be kept for `last_request`.
    pub fn new(last_request: Duration) -> Self {
        Self { last_request, ..Self::default() }
    }

    /// How long an idle connection is kept once it was told.
    pub fn last_request(&self) -> Duration {
        self.last_request
    }

    /// Tells them.
    pub fn begin(&self) {
        self.begun.set(true);
        self.told.notify_waiters();
    }

    /// Whether they were told.
    pub fn has_begun(&self) -> bool {
        self.begun.get()
    }

    /// Resolves when they are told.
    pub fn wait(self: &Rc<Self>) -> Pin<Box<dyn Future<Output = ()>>> {
        let leaving = self.clone();
        Box::pin(async move {
            if !leaving.begun.get() {
                leaving.told.notified().await;
            }
        })
    }
}
