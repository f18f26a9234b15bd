//! Told by the kernel when something in a folder changes.

use std::path::Path;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// Events of one folder, until dropped.
pub struct Watch {
    _watcher: RecommendedWatcher,
    events: mpsc::UnboundedReceiver<notify::Result<Event>>,
}

impl Watch {
    /// Watches what is directly in this folder.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub fn folder(path: &Path) -> notify::Result<Self> {
        let (sender, events) = mpsc::unbounded_channel();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.as_ref().map_or(true, changes_something) {
                let _ = sender.send(event);
            }
        })?;
        watcher.watch(path, RecursiveMode::NonRecursive)?;
        Ok(Self { _watcher: watcher, events })
    }

    /// The next event. Can be dropped while waiting.
    pub async fn next(&mut self) -> notify::Result<Event> {
        // The sender lives in the watcher, which we hold.
        self.events.recv().await.expect("the watcher outlives its events")
    }

    /// The next event, if there is one already.
    pub fn try_next(&mut self) -> Option<notify::Result<Event>> {
        self.events.try_recv().ok()
    }
}

/// Whether an event says more than that somebody looked. We look ourselves, at each event: to be told of that would
/// never end.
fn changes_something(event: &Event) -> bool {
    match event.kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}
