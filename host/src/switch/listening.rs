//! Where the host listens, in line with what serves.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Refusal, Switch};
use crate::address::Address;
use crate::proxy::inherited::{Inherited, Passed};
use crate::proxy::listeners::Listeners;
use crate::proxy::worker::Order;
use crate::release::Release;

/// How often a listener that could not be had is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

impl Switch {
    /// Uses these sockets before it binds any. To be told before anything is listened on.
    pub fn inherit(&self, inherited: Inherited) {
        *self.listeners() = Listeners::new(inherited);
    }

    /// What is listened on: by the listener's id, the address that is bound.
    pub fn listening(&self) -> Vec<(Arc<str>, Address)> {
        self.listeners().bound()
    }

    /// All listening sockets, to be handed on.
    ///
    /// # Errors
    /// When there are no file descriptors for it.
    pub fn to_hand_on(&self) -> std::io::Result<Vec<Passed>> {
        self.listeners().to_hand_on()
    }

    /// Says whether another process accepts from the same sockets.
    pub fn share_listeners(&self, shared: bool) {
        self.listeners().share(shared);
    }

    /// Lets go of inherited sockets that nobody wants; answers where those are that are kept open for us all the same.
    pub fn settle_listeners(&self) -> Vec<Address> {
        self.listeners().settle()
    }

    /// Has the workers accept connections wherever the current release listens.
    pub fn listen(&self) {
        let mut listeners = self.listeners();
        for (listener, sockets) in listeners.take_waiting(&self.current.serving()) {
            for (worker, sockets) in self.workers().iter().zip(sockets) {
                sockets.into_iter().for_each(|socket| worker.order(Order::Listen(listener.clone(), socket)));
            }
        }
    }

    /// Tries again, for ever, to listen where the current release wants to and could not.
    pub async fn keep_listening(&self) {
        let mut every = tokio::time::interval(LISTEN_AGAIN);
        loop {
            every.tick().await;
            // What a change is about to bring is not unused, and looks as if it were.
            if self.turn.try_lock().is_ok() {
                self.reconcile_listeners();
            }
        }
    }

    /// Brings sockets in line with the current release: opens what is missing, closes what it does not name. What
    /// cannot be had now is tried again, see [`Switch::keep_listening`]; answers what.
    pub(super) fn reconcile_listeners(&self) -> Option<String> {
        let mut refused = None;
        for release in self.current.serving().releases() {
            if let Err(refusal) = self.open_listeners(release) {
                tracing::error!(release = release.number, %refusal, "a listener of what serves is not available");
                refused = Some(refusal);
            }
        }
        self.listen();
        self.close_unused_listeners();
        refused.map(|refusal| format!("{refusal}; it is tried again each second"))
    }

    pub(super) fn close_unused_listeners(&self) {
        let mut listeners = self.listeners();
        // Under the lock: what another switch opens is of a release that is current by then.
        for id in listeners.unused(&self.current.serving()) {
            self.workers().iter().for_each(|worker| worker.order(Order::StopListening(id.clone())));
        }
    }

    /// Binds what a release listens on. What connects there waits until it serves, see [`Switch::listen`]: the release
    /// before does not know the listener.
    pub(super) fn open_listeners(&self, release: &Release) -> Result<(), Refusal> {
        let mut listeners = self.listeners();
        listeners.open(release, self.ground.workers).map_err(|error| Refusal::Listen(error.to_string()))
    }

    pub(super) fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
