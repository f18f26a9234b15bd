//! Keeps every pool true to its members: finds them, has them checked, and sees who is fit.
//!
//! On a thread of its own. Requests only look into rosters; here is where these are made, whenever something happened and
//! a few times a second.

mod checks;
mod sources;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use self::checks::Checks;
pub use self::sources::Names;
use self::sources::Sources;
use super::breaker::State;
use super::events::EventKind;
use super::health::Health;
use super::member::{Deeds, Member};
use super::pool::Pool;
use super::seat::Seat;
use super::window::Window;
use crate::release::Ground;
use crate::time;

/// How often pools are looked at in which something passes with time: a rest that ends, a slow start.
const LOOK: Duration = Duration::from_millis(250);

/// How often all of them are, when nothing is heard of.
const LOOK_AT_ALL: Duration = Duration::from_secs(1);

/// How often at most, whatever is heard of.
const LOOK_MIN: Duration = Duration::from_millis(5);

/// How often members are judged by what they did lately.
const JUDGE: Duration = Duration::from_secs(1);

/// Requests within the window that a member is judged by, at least.
const REQUESTS_MIN: u64 = 20;

/// Answers that come sooner are not slow, whatever those of others are.
const SLOW_MIN_MICROS: u64 = 20_000;

/// News of members that wait to be heard. What finds no room is seen all the same, only its reason is lost.
pub const NEWS_MAX: usize = 1024;

/// What became of a member, as the request that saw it tells it.
pub struct News {
    /// The pool.
    pub pool: Arc<str>,
    /// The member.
    pub member: Arc<Member>,
    /// What became of it.
    pub deed: Deed,
}

/// What became of a member.
pub enum Deed {
    /// It is left alone.
    LeftAlone {
        /// Failures in a row.
        failures: u32,
        /// The last of them.
        cause: Cause,
        /// For how long.
        rest: Duration,
    },
    /// It is used again.
    CameBack,
}

/// Why a member is left alone.
pub enum Cause {
    /// It cannot be reached.
    Unreachable(String),
    /// It did not answer, or not as it should.
    Failed(String),
    /// It answered that it failed.
    Answered(StatusCode),
    /// Too many of its requests failed.
    Rate(String),
}

/// Looks after all pools.
pub struct Keeper {
    ground: Arc<Ground>,
    news: mpsc::Receiver<News>,
    orders: mpsc::UnboundedReceiver<Order>,
    own: Handle,
    /// Told when a probe has changed something.
    probed: Arc<Notify>,
    checks: Checks,
    sources: Sources,
    /// Pools in which something passes with time.
    restless: Vec<Arc<Pool>>,
    /// Pools whose members are found and checked.
    watched: Vec<Arc<Pool>>,
    /// Those of them that the current release has.
    serving: Vec<Arc<Pool>>,
    windows: HashMap<u64, Window>,
}

/// How the rest of the host tells the keeper what to look after.
#[derive(Clone)]
pub struct Handle(mpsc::UnboundedSender<Order>);

enum Order {
    Watch { pools: Vec<Arc<Pool>>, serving: Vec<Arc<Pool>> },
    Prepare { pools: Vec<Arc<Pool>>, at_most: Duration, done: oneshot::Sender<()> },
    Look { done: oneshot::Sender<()> },
}

impl Handle {
    /// From now on the members of these pools are found and checked, and of no others. Those that are `serving` are the
    /// current release's: only of them is told that they have too few members.
    pub fn watch(&self, pools: Vec<Arc<Pool>>, serving: Vec<Arc<Pool>>) {
        let _ = self.0.send(Order::Watch { pools, serving });
    }

    /// Answers once the members of these pools, which are watched, have been found and have answered a probe each, or
    /// after this time. Half of it at most is spent on finding: a name that nobody knows must not keep others from being
    /// probed.
    pub async fn prepare(&self, pools: Vec<Arc<Pool>>, at_most: Duration) {
        let (done, is_done) = oneshot::channel();
        let _ = self.0.send(Order::Prepare { pools, at_most, done });
        // A keeper that has ended, or hangs, keeps nobody waiting.
        let _ = tokio::time::timeout(at_most + LOOK_AT_ALL, is_done).await;
    }

    /// Answers once all pools have been looked through.
    async fn look(&self) {
        let (done, is_done) = oneshot::channel();
        let _ = self.0.send(Order::Look { done });
        let _ = is_done.await;
    }
}

impl Keeper {
    /// A keeper of the pools that are made on this ground. `names` says how DNS is asked.
    pub fn new(ground: Arc<Ground>, news: mpsc::Receiver<News>, names: Names) -> (Self, Handle) {
        let (sender, orders) = mpsc::unbounded_channel();
        let probed = Arc::new(Notify::new());
        let checks = Checks::new(ground.clone(), probed.clone());
        let (sources, windows) = (Sources::new(names), HashMap::new());
        let (restless, watched, serving) = (Vec::new(), Vec::new(), Vec::new());
        let handle = Handle(sender);
        let own = handle.clone();
        (Self { ground, news, orders, own, probed, checks, sources, restless, watched, serving, windows }, handle)
    }

    /// Keeps them for ever.
    pub async fn keep(mut self) {
        self.checks.begin();
        let (mut judged, mut looked) = (Instant::now(), Instant::now());
        let (mut rested, mut has_heard) = (looked, false);
        loop {
            let next = rested + if has_heard { LOOK_MIN } else { LOOK };
            let mut asked = Vec::new();
            tokio::select! {
                // What was heard is seen soon, and what comes meanwhile with it. But who waits for orders does not wait
                // for that.
                news = self.news.recv(), if !has_heard => {
                    news.into_iter().for_each(|news| self.hear(news));
                    has_heard = true;
                }
                Some(order) = self.orders.recv() => {
                    asked.extend(self.follow(order));
                    has_heard = true;
                }
                () = self.probed.notified(), if !has_heard => has_heard = true,
                () = self.sources.changed(), if !has_heard => has_heard = true,
                () = tokio::time::sleep_until(next) => {}
            }
            while let Ok(order) = self.orders.try_recv() {
                asked.extend(self.follow(order));
            }
            if has_heard && asked.is_empty() && rested.elapsed() < LOOK_MIN {
                continue;
            }
            while let Ok(news) = self.news.try_recv() {
                self.hear(news);
            }
            if has_heard || looked.elapsed() >= LOOK_AT_ALL {
                looked = Instant::now();
                let pools = self.ground.pools.all();
                if judged.elapsed() >= JUDGE {
                    judged = looked;
                    self.judge(&pools);
                }
                self.look(&pools);
            } else {
                self.look_again();
            }
            for asked in asked {
                let _ = asked.send(());
            }
            (rested, has_heard) = (Instant::now(), false);
        }
    }

    /// Does what it is told; whom to tell, where all pools are to be looked through first.
    fn follow(&mut self, order: Order) -> Option<oneshot::Sender<()>> {
        match order {
            Order::Watch { pools, serving } => {
                (self.watched, self.serving) = (pools, serving);
                self.sources.follow(self.watched.iter().flat_map(|pool| pool.sources()));
                self.checks.keep(&self.watched);
                None
            }
            Order::Prepare { pools, at_most, done } => {
                tokio::spawn(self.prepare(pools, at_most, done));
                None
            }
            Order::Look { done } => Some(done),
        }
    }

    /// Waits until the members of these pools are known.
    fn prepare(
        &self,
        pools: Vec<Arc<Pool>>,
        at_most: Duration,
        done: oneshot::Sender<()>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let until = Instant::now() + at_most;
        let sources: Vec<_> = pools.iter().flat_map(|pool| pool.sources()).collect();
        let found = self.sources.found(&sources, at_most / 2);
        let (checks, handle) = (self.checks.clone(), self.own.clone());
        async move {
            found.await;
            handle.look().await;
            if checks.probe_new(&pools, until.saturating_duration_since(Instant::now())).await {
                handle.look().await;
            }
            let _ = done.send(());
        }
    }

    fn hear(&mut self, News { pool, member, deed }: News) {
        let (kind, reason) = match deed {
            Deed::CameBack => (EventKind::CameBack, "a request was answered as it should be".into()),
            Deed::LeftAlone { failures, cause, rest } => {
                // It was judged for that: when it is back, it is by what it does then.
                self.windows.remove(&member.id);
                let cause = match cause {
                    Cause::Unreachable(cause) | Cause::Failed(cause) => {
                        format!("{failures} failures in a row, the last: {cause}")
                    }
                    Cause::Answered(status) => {
                        format!("{failures} failures in a row, the last: answered {}", status.as_u16())
                    }
                    Cause::Rate(cause) => cause,
                };
                (EventKind::LeftAlone, format!("{cause}; left alone for {}", humantime::format_duration(rest)))
            }
        };
        self.ground.events.tell(kind, Some(&pool), Some(&member.address), reason);
    }

    /// Brings all pools in line with their members.
    fn look(&mut self, pools: &[Arc<Pool>]) {
        let mut has_news = false;
        self.restless.clear();
        for pool in pools {
            let mut is_news = false;
            for source in pool.sources() {
                let Some(found) = self.sources.list(&source) else { continue };
                if pool.find(&source, &found) {
                    is_news = true;
                    let reason = format!("{} members at {source}", found.len());
                    self.ground.events.tell(EventKind::Found, Some(&pool.name), None, reason);
                }
            }
            has_news |= is_news;
            self.look_at(pool, is_news);
            if !pool.roster().is_calm() {
                self.restless.push(pool.clone());
            }
        }
        if has_news {
            self.checks.keep(&self.watched);
        }
        self.tell_of_panics();
    }

    /// Looks at those in which something passes with time.
    fn look_again(&self) {
        self.restless.iter().for_each(|pool| self.look_at(pool, false));
        self.tell_of_panics();
    }

    fn tell_of_panics(&self) {
        for pool in &self.serving {
            pool.serves();
            let roster = pool.roster();
            // Who has not answered a first probe yet is not away.
            let is_new = |seat: &Seat| seat.checked.as_ref().is_some_and(|checked| checked.health() == Health::Unknown);
            if roster.panics && roster.seats.iter().any(is_new) {
                continue;
            }
            if pool.lasting.panic(roster.panics) {
                let reason = format!("{} of {} members are fit", roster.fit, roster.seats.len());
                let kind = if roster.panics { EventKind::Panic } else { EventKind::Calm };
                self.ground.events.tell(kind, Some(&pool.name), None, reason);
            }
        }
    }

    fn look_at(&self, pool: &Arc<Pool>, is_news: bool) {
        let now = time::nanos_since_start();
        for seat in &pool.roster().seats {
            let breaker = &seat.member.breaker;
            // Where there are checks, no request need be risked.
            if breaker.state(now) == State::HalfOpen && seat.checked.is_some() && seat.is_well() {
                seat.member.came_back(now);
                if !breaker.close(now) {
                    continue;
                }
                let reason = "its rest is over, and checks find it healthy".to_owned();
                self.ground.events.tell(EventKind::CameBack, Some(&pool.name), Some(&seat.member.address), reason);
            }
        }
        pool.refresh(&self.ground.members, is_news);
    }

    /// Leaves alone who failed too often lately, or is slow.
    fn judge(&mut self, pools: &[Arc<Pool>]) {
        let mut lately: HashMap<u64, Deeds> = HashMap::new();
        for pool in pools {
            for seat in &pool.roster().seats {
                let id = seat.member.id;
                // Once, whatever the number of pools that it is in.
                let tick = || self.windows.entry(id).or_default().tick(seat.member.deeds());
                lately.entry(id).or_insert_with(tick);
            }
        }
        self.windows.retain(|id, _| lately.contains_key(id));
        for pool in pools {
            self.judge_pool(pool, &lately);
        }
    }

    fn judge_pool(&mut self, pool: &Arc<Pool>, lately: &HashMap<u64, Deeds>) {
        let spec = &pool.spec.breaker;
        let roster = pool.roster();
        let mean = |deeds: &Deeds| (deeds.answers >= REQUESTS_MIN).then(|| deeds.answer_micros / deeds.answers);
        let mut means: Vec<u64> = roster.seats.iter().filter_map(|seat| mean(&lately[&seat.member.id])).collect();
        means.sort_unstable();
        // The lower median: of two members, the faster one is the measure.
        let usual = means.len().checked_sub(1).map(|last| means[last / 2]);
        for seat in &roster.seats {
            if !seat.member.breaker.is_closed() {
                // What it does on trial, or when all are used, is not to send it away again once it is back.
                self.windows.remove(&seat.member.id);
                continue;
            }
            let deeds = &lately[&seat.member.id];
            // Not of those that have begun: of some, nothing is known yet.
            let ended = deeds.failures + deeds.successes;
            let percent = (deeds.failures * 100).checked_div(ended).unwrap_or(0);
            let cause =
                if spec.failure_percent > 0 && ended >= REQUESTS_MIN && percent >= u64::from(spec.failure_percent) {
                    format!("{percent} % of {ended} requests failed")
                } else if let (Some(mean), Some(usual)) = (mean(deeds), usual)
                    && spec.slow_factor > 0
                    && mean > SLOW_MIN_MICROS.max(usual * u64::from(spec.slow_factor))
                {
                    format!("answers take {} ms, where {} ms are usual", mean / 1000, usual.div_ceil(1000))
                } else {
                    continue;
                };
            pool.open_breaker(&seat.member, 0, Cause::Rate(cause));
        }
    }
}
