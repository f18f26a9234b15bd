//! Tells connections that their listener, or the whole host, serves no more requests than those it has.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;

use tokio::sync::Notify;

/// What one listener's connections on one worker look at.
#[derive(Default)]
pub struct Leaving {
    begun: Cell<bool>,
    told: Notify,
}

impl Leaving {
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
