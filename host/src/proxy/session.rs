//! A vip's sessions, over all releases that have the vip alike: what a switch must know of them to leave it as it says.
//!
//! Two releases that have a vip alike (what it says, its pools, its policy) share this: a switch from one to the other
//! changes nothing for its clients, and a step back to what was left takes back what was announced. There is none for a
//! vip that is cut and leaves its tunnels alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::header::HeaderValue;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::balancer;
use super::forwarded::Scheme;
use super::head::Head;
use super::per_worker::PerWorker;
use super::sticky::StickyKey;
use crate::digest::Digest;
use crate::release::Policies;
use crate::spec::session::SessionSpec;
use crate::spec::{DeciderSpec, Spec};

/// Sessions that are known, by the vips' content.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<Digest, Weak<Session>>>);

/// One vip's sessions.
pub struct Session {
    /// What becomes of them.
    pub spec: SessionSpec,
    /// The vip.
    vip: Box<str>,
    /// The name of the cookie that says which release decides for a client.
    cookie: String,
    /// Requests that are waited for where the vip holds; tunnels do not count.
    in_flight: PerWorker<AtomicU32>,
    /// Whether somebody waits for them to end.
    is_awaited: AtomicBool,
    ended: Notify,
    /// When tunnels are closed; none while the vip serves.
    closes: watch::Sender<Option<Instant>>,
}

impl Sessions {
    /// Those of a vip of this content; none where nothing is to be known of them.
    pub fn of(&self, name: &str, spec: &Spec, policies: &Policies, workers: usize) -> Option<Arc<Session>> {
        let vip = &spec.vips[name];
        if vip.session == SessionSpec::default() {
            return None;
        }
        let content = content(name, spec, policies);
        let mut known = self.known();
        let session = known.get(&content).and_then(Weak::upgrade).unwrap_or_else(|| {
            let session = Arc::new(Session::new(name, vip.session.clone(), workers));
            known.insert(content, Arc::downgrade(&session));
            session
        });
        Some(session)
    }

    /// Forgets those that no release has any more. For each release that is made, and not for each of its vips.
    pub fn sweep(&self) {
        self.known().retain(|_, session| session.strong_count() > 0);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Digest, Weak<Session>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names all that decides what becomes of a vip's requests.
fn content(name: &str, spec: &Spec, policies: &Policies) -> Digest {
    let vip = &spec.vips[name];
    let (policy, chosen) = match &vip.decider {
        DeciderSpec::Pool(_) => (None, None),
        DeciderSpec::Policy(policy) => {
            (spec.policies.get(policy), policies.get(policy.as_str()).map(|policy| &policy.manifest.pools))
        }
    };
    let named = vip.pools().chain(chosen.into_iter().flatten().map(String::as_str));
    let pools: Vec<_> = named.map(|pool| (pool, spec.pools.get(pool))).collect();
    Digest::of(&serde_json::to_vec(&(name, vip, policy, pools)).expect("a spec is plain data"))
}

impl Session {
    fn new(vip: &str, spec: SessionSpec, workers: usize) -> Self {
        Self {
            spec,
            vip: vip.into(),
            // Clients are not told what vips are called, and those of one host must not have each other's.
            cookie: format!("release-{:08x}", balancer::hash(vip.as_bytes()) >> 32),
            in_flight: PerWorker::new(workers, |_| AtomicU32::default()),
            is_awaited: AtomicBool::default(),
            ended: Notify::new(),
            closes: watch::Sender::new(None),
        }
    }

    /// Whether a request's cookie, written here, names this release.
    pub fn names(&self, key: &StickyKey, head: &Head, release: u64) -> bool {
        head.cookie(&self.cookie).is_some_and(|value| key.read_session(value, &self.vip, release))
    }

    /// The field that has a client's session end with this release.
    pub fn set_cookie(&self, key: &StickyKey, release: u64, scheme: Scheme) -> HeaderValue {
        key.session_cookie(&self.cookie, &self.vip, release, scheme)
    }

    /// One more request in flight.
    pub fn begin(&self, worker: usize) {
        self.in_flight.of(worker).fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub fn end(&self, worker: usize) {
        // In one order with all others that end: the last one is to see that it is.
        self.in_flight.of(worker).fetch_sub(1, Ordering::SeqCst);
        if self.is_awaited.load(Ordering::SeqCst) && self.in_flight() == 0 {
            self.ended.notify_waiters();
        }
    }

    fn in_flight(&self) -> u32 {
        self.in_flight.iter().map(|slot| slot.load(Ordering::SeqCst)).sum()
    }

    /// The vip serves: its tunnels go on, and nobody waits for its requests to end.
    pub fn stays(&self) {
        if self.is_awaited.swap(false, Ordering::SeqCst) {
            self.ended.notify_waiters();
        }
        self.closes.send_if_modified(|at| at.take().is_some());
    }

    /// The vip was left: its tunnels have a while.
    pub fn is_left(&self, at: Instant) {
        let limit = self.spec.upgraded_limit;
        self.closes.send_if_modified(|closes| {
            let is_news = closes.is_none() && limit.is_some();
            *closes = closes.or(limit.map(|limit| at + limit));
            is_news
        });
    }

    /// Resolves when a tunnel is to be closed.
    pub fn closing(&self) -> impl Future<Output = ()> + use<> {
        closing(self.closes.subscribe())
    }
}

async fn closing(mut told: watch::Receiver<Option<Instant>>) {
    loop {
        let at = *told.borrow_and_update();
        let changed = match at {
            None => told.changed().await,
            Some(at) => match tokio::time::timeout_at(at, told.changed()).await {
                Ok(changed) => changed,
                Err(_) => return,
            },
        };
        if changed.is_err() {
            // Nobody can say otherwise any more.
            let Some(at) = at else { return std::future::pending().await };
            return tokio::time::sleep_until(at).await;
        }
    }
}

/// Requests that may wait for one vip; those beyond go on at once.
const HELD_MAX: u32 = 10_000;

/// A vip whose new requests wait for those that the release before decided.
pub struct Held {
    /// The vip.
    pub vip: Arc<str>,
    old: Arc<Session>,
    until: Instant,
    /// Whether every worker has switched: until then, there may be one more that the old release decides.
    is_fenced: AtomicBool,
    waiting: AtomicU32,
}

impl Held {
    /// Has the requests of `vip` wait for those of `old`, from `at` on, for so long at most.
    pub fn new(vip: &Arc<str>, old: &Arc<Session>, at: Instant, most: Duration) -> Arc<Self> {
        old.is_awaited.store(true, Ordering::SeqCst);
        let (is_fenced, waiting) = (AtomicBool::default(), AtomicU32::default());
        Arc::new(Self { vip: vip.clone(), old: old.clone(), until: at + most, is_fenced, waiting })
    }

    /// When nobody waits any more.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// All decisions of the old release are made.
    pub fn fenced(&self) {
        self.is_fenced.store(true, Ordering::SeqCst);
        self.old.ended.notify_waiters();
    }

    /// Whether a request of these sessions need not wait.
    pub fn is_over(&self) -> bool {
        // What is taken back serves again, and its requests may never be none.
        let is_taken_back = !self.old.is_awaited.load(Ordering::SeqCst);
        let have_ended = self.is_fenced.load(Ordering::SeqCst) && self.old.in_flight() == 0;
        is_taken_back || have_ended || self.until <= Instant::now()
    }

    /// Whether it is these that are waited for.
    pub fn waits_for(&self, session: Option<&Arc<Session>>) -> bool {
        session.is_some_and(|session| Arc::ptr_eq(session, &self.old))
    }

    /// Waits until it is over.
    pub async fn wait(&self) {
        let Some(_place) = Place::take(&self.waiting) else { return };
        loop {
            let mut ended = std::pin::pin!(self.old.ended.notified());
            // Before looking: what ends in between is heard.
            ended.as_mut().enable();
            if self.is_over() {
                return;
            }
            let _ = tokio::time::timeout_at(self.until, ended).await;
        }
    }
}

/// One that waits, until dropped.
struct Place<'a>(&'a AtomicU32);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicU32) -> Option<Self> {
        let within = |now| (now < HELD_MAX).then_some(now + 1);
        waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).ok()?;
        Some(Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::session::SessionMode;

    fn session() -> Arc<Session> {
        let spec = SessionSpec {
            mode: SessionMode::Hold(Duration::from_secs(2)),
            upgraded_limit: Some(Duration::from_secs(9)),
        };
        Arc::new(Session::new("web", spec, 2))
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_held_waits_for_the_fence_and_for_the_last_in_flight() {
        let old = session();
        let began = Instant::now();
        old.begin(0);
        old.begin(1);
        let held = Held::new(&"web".into(), &old, began, Duration::from_secs(2));
        let waiting = tokio::spawn({
            let held = held.clone();
            async move { held.wait().await }
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        old.end(0);
        old.end(1);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!waiting.is_finished() && held.waiting.load(Ordering::Relaxed) == 1);
        held.fenced();
        waiting.await.unwrap();
        assert_eq!((began.elapsed().as_millis(), held.waiting.load(Ordering::Relaxed)), (200, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_held_for_longer_than_was_said_and_who_leaves_leaves_nothing() {
        let old = session();
        old.begin(0);
        let held = Held::new(&"web".into(), &old, Instant::now(), Duration::from_secs(2));
        held.fenced();
        assert!(tokio::time::timeout(Duration::from_secs(1), held.wait()).await.is_err());
        assert_eq!(held.waiting.load(Ordering::Relaxed), 0);
        held.wait().await;
        assert!(held.is_over() && held.until() == Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn tunnels_are_closed_when_their_while_is_over_unless_the_vip_serves_again() {
        let session = session();
        let began = Instant::now();
        let closing = tokio::spawn(session.closing());
        session.is_left(began);
        tokio::time::sleep(Duration::from_secs(5)).await;
        session.stays();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(!closing.is_finished());
        session.is_left(Instant::now());
        // Once is enough: a switch after it does not give them more time.
        tokio::time::sleep(Duration::from_secs(5)).await;
        session.is_left(Instant::now());
        drop(session);
        closing.await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 5 + 60 + 9);
    }
}
