//! What is listened on: the sockets of all listeners, and whose they are.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::inherited::{Inherited, Passed};
use super::listener::Listener;
use super::socket::{self, Socket};
use crate::address::Address;
use crate::release::Release;
use crate::serving::Serving;

/// What is listened on.
#[derive(Default)]
pub struct Listeners {
    /// By the listener's id.
    bound: HashMap<Arc<str>, Bound>,
    /// Sockets that nobody accepts from yet: the kernel holds what connects until the release serves that wants them.
    waiting: Vec<Waiting>,
    inherited: Inherited,
}

/// A listener whose sockets wait, and for each worker those that it is to accept from.
pub type Waiting = (Arc<Listener>, Vec<Vec<Socket>>);

/// The sockets of one listener.
struct Bound {
    address: Address,
    /// Kept to be handed on. Workers have clones of them.
    sockets: Vec<Socket>,
    /// Whether a service manager keeps them open.
    lasts: bool,
}

impl Listeners {
    /// Listeners that use these sockets first.
    pub fn new(inherited: Inherited) -> Self {
        Self { inherited, ..Self::default() }
    }

    /// Opens what a release listens on and nobody does yet.
    ///
    /// # Errors
    /// When one of them cannot be had; then none of them is kept.
    pub fn open(&mut self, release: &Release, workers: usize) -> io::Result<()> {
        let missing: Vec<_> =
            release.listeners.values().filter(|listener| !self.bound.contains_key(&listener.id)).cloned().collect();
        let mut opened = Vec::new();
        for listener in missing {
            let bound = Bound::open(&listener, workers, &mut self.inherited)?;
            let spread = socket::spread(&bound.sockets, workers)?;
            opened.push((listener, bound, spread));
        }
        for (listener, bound, spread) in opened {
            self.bound.insert(listener.id.clone(), bound);
            self.waiting.push((listener, spread));
        }
        Ok(())
    }

    /// The sockets that what serves listens on and that no worker has yet.
    pub fn take_waiting(&mut self, serving: &Serving) -> Vec<Waiting> {
        self.waiting.extract_if(.., |(listener, _)| is_named(&listener.id, serving)).collect()
    }

    /// Forgets the listeners that nothing which serves has; answers their ids.
    pub fn unused(&mut self, serving: &Serving) -> Vec<Arc<str>> {
        let unused: Vec<_> = self.bound.keys().filter(|id| !is_named(id, serving)).cloned().collect();
        self.waiting.retain(|(listener, _)| is_named(&listener.id, serving));
        for id in &unused {
            self.bound.remove(id).iter().for_each(Bound::remove);
        }
        unused
    }

    /// Nobody listens any more: what is left of it in the file system goes.
    pub fn close(&mut self) {
        self.waiting.clear();
        self.bound.drain().for_each(|(_, bound)| bound.remove());
    }

    /// Says whether another process accepts from the same sockets: then closing them loses nothing, and removes nothing.
    pub fn share(&mut self, shared: bool) {
        for bound in self.bound.values() {
            bound.sockets.iter().for_each(|socket| socket.share(shared || bound.lasts));
        }
    }

    /// Lets go of inherited sockets that nobody wants; answers where those are that a service manager keeps all the same.
    pub fn settle(&mut self) -> Vec<Address> {
        self.inherited.settle();
        let is_used = |address: &Address| self.bound.values().any(|bound| bound.address == *address);
        let kept = self.inherited.kept().iter().map(|passed| passed.address.clone());
        kept.filter(|address| !is_used(address)).collect()
    }

    /// All sockets, to be handed on.
    ///
    /// # Errors
    /// When there are no file descriptors for it.
    pub fn to_hand_on(&self) -> io::Result<Vec<Passed>> {
        let bound =
            self.bound.iter().flat_map(|(id, bound)| bound.sockets.iter().map(move |one| (Some(id), bound.lasts, one)));
        let is_used = |address: &Address| self.bound.values().any(|bound| bound.address == *address);
        let kept = self.inherited.kept().iter().filter(|passed| !is_used(&passed.address));
        let kept = kept.map(|passed| (None, passed.lasts, &passed.socket));
        let hand_on = |(id, lasts, socket): (Option<&Arc<str>>, bool, &Socket)| {
            let socket = socket.try_clone()?;
            Ok(Passed { id: id.cloned(), address: socket.address()?, lasts, socket })
        };
        bound.chain(kept).map(hand_on).collect()
    }

    /// What is bound, by the listener's id.
    pub fn bound(&self) -> Vec<(Arc<str>, Address)> {
        self.bound.iter().map(|(id, bound)| (id.clone(), bound.address.clone())).collect()
    }
}

fn is_named(id: &str, serving: &Serving) -> bool {
    serving.releases().any(|release| release.listeners.contains_key(id))
}

impl Bound {
    fn open(listener: &Listener, workers: usize, inherited: &mut Inherited) -> io::Result<Self> {
        let address = &listener.spec.address;
        let (sockets, lasts) = match inherited.claim(&listener.id, address)? {
            Some(passed) => {
                let lasts = passed.iter().any(|passed| passed.lasts);
                (passed.into_iter().map(|passed| passed.socket).collect(), lasts)
            }
            None => (socket::bind(address, workers)?, false),
        };
        Ok(Self { address: sockets[0].address()?, sockets, lasts })
    }

    fn remove(&self) {
        let is_ours = self.sockets.iter().all(|socket| !socket.is_shared());
        if let Address::Unix(path) = &self.address
            && is_ours
        {
            let _ = std::fs::remove_file(path);
        }
    }
}
