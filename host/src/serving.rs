//! What serves: the current release, and what else decides during a canary and for a while after a switch.
//!
//! One place, put whole and looked at once for each request: two looks would disagree for a moment.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::time::Instant;

use crate::proxy::affinity::hash_of;
use crate::proxy::balancer;
use crate::proxy::head::Head;
use crate::proxy::session::Held;
use crate::release::Release;
use crate::spec::key::KeySpec;
use crate::switch::share::Share;

/// What decides requests at a moment.
pub struct Serving {
    /// The current release: on the trail, and what decides wherever nothing else does.
    pub release: Arc<Release>,
    /// What decides beside it; `None` nearly always.
    pub beside: Option<Box<Beside>>,
}

/// What decides beside the current release.
#[derive(Default)]
pub struct Beside {
    /// A release that is tried out on a share of the keys.
    pub canary: Option<Canary>,
    /// Releases that were left, and decide for the sessions that began with them.
    pub left: Vec<Left>,
    /// Vips whose new requests wait for those of the release before.
    pub held: Vec<Arc<Held>>,
}

/// A release that was left.
pub struct Left {
    /// The release.
    pub release: Arc<Release>,
    /// When.
    pub at: Instant,
}

/// A release that is tried out.
pub struct Canary {
    /// The release.
    pub release: Arc<Release>,
    /// How many of the keys it decides for.
    pub share: Share,
    /// What tells clients apart.
    pub key: KeySpec,
    threshold: u64,
    salt: [u64; 2],
}

impl Serving {
    /// This release, and nothing beside it.
    pub fn alone(release: Arc<Release>) -> Self {
        Self { release, beside: None }
    }

    /// The canary, where there is one.
    pub fn canary(&self) -> Option<&Canary> {
        self.beside.as_ref()?.canary.as_ref()
    }

    /// The releases that decide for new clients: the current one, then the canary.
    pub fn releases(&self) -> impl Iterator<Item = &Arc<Release>> {
        std::iter::once(&self.release).chain(self.canary().map(|canary| &canary.release))
    }
}

impl Beside {
    /// This, unless there is nothing to it.
    pub fn if_any(self) -> Option<Box<Self>> {
        let is_any = self.canary.is_some() || !self.left.is_empty() || !self.held.is_empty();
        is_any.then(|| self.into())
    }

    /// When the first of it is over that ends by itself.
    pub fn ends(&self) -> Option<Instant> {
        let left = self.left.iter().filter_map(Left::ends);
        left.chain(self.held.iter().map(|held| held.until())).min()
    }
}

impl Left {
    /// When its last sessions are over; none where it keeps none.
    pub fn ends(&self) -> Option<Instant> {
        let sessions = self.release.with_session.iter().filter_map(|vip| vip.session.as_ref());
        sessions.filter_map(|session| session.spec.mode.drains_for()).max().map(|limit| self.at + limit)
    }
}

impl Canary {
    /// Decides for `share` of all keys.
    pub fn new(release: Arc<Release>, share: Share, key: KeySpec) -> Self {
        // Each release has other keys first: nobody is always the one on whom things are tried.
        let salt = release.digest.hash_key();
        Self { threshold: share.threshold(), release, share, key, salt }
    }

    /// Whether it decides for this request. A greater share takes in all that a smaller one did.
    pub fn takes(&self, head: &Head) -> bool {
        hash_of(&self.key, head, |bytes| balancer::keyed_hash(self.salt, bytes)).is_some_and(|at| at < self.threshold)
    }
}

/// What serves, and what is ready to.
pub struct Current {
    serving: ArcSwap<Serving>,
    /// What a request may ask for by number, see [`canary`](crate::proxy::canary). Nobody else looks here: it is not of
    /// the same moment.
    ready: ArcSwap<Vec<Arc<Release>>>,
}

impl Current {
    /// Starts with this release.
    pub fn new(release: Arc<Release>) -> Self {
        Self::with(Serving::alone(release))
    }

    /// Starts with this.
    pub fn with(serving: Serving) -> Self {
        Self { serving: ArcSwap::from_pointee(serving), ready: ArcSwap::default() }
    }

    /// What serves, for as short as a decision takes: do not hold it while waiting.
    pub fn pin(&self) -> Guard<Arc<Serving>> {
        self.serving.load()
    }

    /// What serves, to keep.
    pub fn serving(&self) -> Arc<Serving> {
        self.serving.load_full()
    }

    /// The current release, to keep.
    pub fn get(&self) -> Arc<Release> {
        self.serving.load().release.clone()
    }

    /// A release that is ready, by its number.
    pub fn ready(&self, number: u64) -> Option<Arc<Release>> {
        self.ready.load().iter().find(|release| release.number == number).cloned()
    }

    /// Has this serve; answers what did.
    pub(crate) fn swap(&self, serving: Serving) -> Arc<Serving> {
        self.serving.swap(Arc::new(serving))
    }

    /// Says what is ready.
    pub(crate) fn set_ready(&self, ready: Vec<Arc<Release>>) {
        self.ready.store(Arc::new(ready));
    }
}
