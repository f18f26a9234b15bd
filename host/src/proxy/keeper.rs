//! Keeps every pool true to its members: finds them, has them checked, and sees who is fit.
//!
//! On a thread of its own. Requests only look into rosters; here is where these are made, whenever something happened and
//! a few times a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::breaker::State;
use super::events::EventKind;
use super::member::{Deeds, Member};
use super::pool::Pool;
use super::window::Window;
use crate::release::Ground;
use crate::time;

/// How often all pools are looked through, when nothing is heard of.
const LOOK: Duration = Duration::from_millis(250);

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
    windows: HashMap<u64, Window>,
}

impl Keeper {
    /// A keeper of the pools that are made on this ground.
    pub fn new(ground: Arc<Ground>, news: mpsc::Receiver<News>) -> Self {
        Self { ground, news, windows: HashMap::new() }
    }

    /// Keeps them for ever.
    pub async fn keep(mut self) {
        let mut judged = Instant::now();
        loop {
            let heard = tokio::time::timeout(LOOK, self.news.recv()).await;
            match heard {
                Ok(Some(news)) => self.hear(news),
                Ok(None) => return,
                Err(_) => {}
            }
            while let Ok(news) = self.news.try_recv() {
                self.hear(news);
            }
            let pools = self.ground.pools.all();
            if judged.elapsed() >= JUDGE {
                judged = Instant::now();
                self.judge(&pools);
            }
            for pool in &pools {
                self.look(pool);
            }
            tokio::time::sleep(LOOK_MIN).await;
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

    /// Brings one pool in line.
    fn look(&self, pool: &Arc<Pool>) {
        let now = time::nanos_since_start();
        for seat in &pool.roster().seats {
            let breaker = &seat.member.breaker;
            // Where there are checks, no request need be risked.
            if breaker.state(now) == State::HalfOpen && seat.checked.is_some() && seat.is_well() {
                seat.member.came_back(now);
                if !breaker.close(now) {
                    continue;
                }
                let reason = "checks find it healthy".to_owned();
                self.ground.events.tell(EventKind::CameBack, Some(&pool.name), Some(&seat.member.address), reason);
            }
        }
        if pool.refresh(&self.ground.members, false).is_none() {
            return;
        }
        let roster = pool.roster();
        if pool.lasting.panic(roster.panics) {
            let reason = format!("{} of {} members are fit", roster.fit, roster.seats.len());
            let kind = if roster.panics { EventKind::Panic } else { EventKind::Calm };
            self.ground.events.tell(kind, Some(&pool.name), None, reason);
        }
    }

    /// Leaves alone who failed too often lately, or is slow.
    fn judge(&mut self, pools: &[Arc<Pool>]) {
        let mut lately: HashMap<u64, Deeds> = HashMap::new();
        for pool in pools {
            for seat in &pool.roster().seats {
                let id = seat.member.id;
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
                self.windows.entry(seat.member.id).or_default().forget();
                continue;
            }
            let deeds = &lately[&seat.member.id];
            let percent = (deeds.failures * 100).checked_div(deeds.requests).unwrap_or(0);
            let cause = if spec.failure_percent > 0
                && deeds.requests >= REQUESTS_MIN
                && percent >= u64::from(spec.failure_percent)
            {
                format!("{percent} % of {} requests failed", deeds.requests)
            } else if let (Some(mean), Some(usual)) = (mean(deeds), usual)
                && spec.slow_factor > 0
                && mean > SLOW_MIN_MICROS.max(usual * u64::from(spec.slow_factor))
            {
                format!("answers take {} ms, where {} ms are usual", mean / 1000, usual.div_ceil(1000))
            } else {
                continue;
            };
            if pool.open_breaker(&seat.member, 0, Cause::Rate(cause))
                && let Some(window) = self.windows.get_mut(&seat.member.id)
            {
                window.forget();
            }
        }
    }
}
