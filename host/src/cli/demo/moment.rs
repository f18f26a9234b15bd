//! What the demo's view shows: the host as it stands, and how it does at this moment.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Stage;
use crate::control::views::{self, Status, VipView};

/// Rates and shares are of the last two seconds: short enough to see a switch, long enough not to flicker.
const RATE_WINDOW: Duration = Duration::from_secs(2);

/// Latencies are of the last five: a 99th percentile needs some hundred answers.
const LATENCY_WINDOW: Duration = Duration::from_secs(5);

/// Entries of the history that are looked at: more than can happen between two looks.
const RECENT: usize = 16;

/// One look at the demo.
pub(super) struct Moment {
    /// The host.
    pub(super) status: Status,
    /// Each pool, and its share of the requests.
    pub(super) shares: Vec<(String, f64)>,
    /// Requests, whoever sent them.
    pub(super) per_second: f64,
    /// Half of the demo's own requests are answered faster.
    pub(super) p50: Duration,
    /// All but one of a hundred are.
    pub(super) p99: Duration,
    /// Errors that the demo's own clients saw, since the start.
    pub(super) errors: u64,
    /// The last of them.
    pub(super) last_error: Option<String>,
}

/// Looks at the demo again and again.
pub(super) struct Watcher<'a> {
    stage: &'a Stage<'a>,
    samples: VecDeque<Sample>,
}

/// The host's counts at some time.
struct Sample {
    at: Instant,
    requests: u64,
    pools: Vec<(String, u64)>,
}

impl<'a> Watcher<'a> {
    pub(super) fn of(stage: &'a Stage<'a>) -> Self {
        Self { stage, samples: VecDeque::new() }
    }

    /// Looks.
    pub(super) async fn look(&mut self) -> anyhow::Result<Moment> {
        let switch = &self.stage.app.switch;
        let status = views::status(switch, switch.journal.history(RECENT).await);
        let now = Sample::of(&status);
        while self.samples.front().is_some_and(|sample| now.at - sample.at > RATE_WINDOW) {
            self.samples.pop_front();
        }
        let (per_second, shares) = self.samples.front().map_or_else(|| now.since(&now), |before| now.since(before));
        let times = self.stage.traffic.times_since(now.at - LATENCY_WINDOW);
        let (errors, last_error) = self.stage.traffic.errors();
        self.samples.push_back(now);
        Ok(Moment {
            status,
            shares,
            per_second,
            p50: percentile(&times, 50),
            p99: percentile(&times, 99),
            errors,
            last_error,
        })
    }
}

impl Moment {
    /// The demo's only vip.
    pub(super) fn vip(&self) -> Option<&VipView> {
        self.status.vips.first()
    }
}

impl Sample {
    fn of(status: &Status) -> Self {
        Self {
            at: Instant::now(),
            requests: status.vips.iter().map(|vip| vip.totals.requests).sum(),
            pools: status.pools.iter().map(|pool| (pool.name.clone(), pool.totals.requests)).collect(),
        }
    }

    /// Requests per second, and the pools' shares, since an earlier sample.
    fn since(&self, before: &Self) -> (f64, Vec<(String, f64)>) {
        let count = |sample: &Self, name: &str| {
            sample.pools.iter().find(|(pool, _)| pool == name).map_or(0, |(_, requests)| *requests)
        };
        let new: Vec<_> =
            self.pools.iter().map(|(name, count_now)| (name, count_now.saturating_sub(count(before, name)))).collect();
        let all = new.iter().map(|(_, requests)| requests).sum::<u64>().max(1);
        let shares = new.into_iter().map(|(name, requests)| (name.clone(), requests as f64 / all as f64)).collect();
        let seconds = (self.at - before.at).as_secs_f64();
        let requests = self.requests.saturating_sub(before.requests) as f64;
        (if seconds > 0.0 { requests / seconds } else { 0.0 }, shares)
    }
}

/// Of times in order; zero where there are none.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_is_there() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!((percentile(&times, 50), percentile(&times, 99)), (times[100], times[198]));
        assert_eq!((percentile(&times[..1], 99), percentile(&[], 50)), (times[0], Duration::ZERO));
    }

    #[test]
    fn rates_and_shares_are_of_what_is_new() {
        let start = Instant::now();
        let sample = |second, requests, blue, green| Sample {
            at: start + Duration::from_secs(second),
            requests,
            pools: vec![("blue".into(), blue), ("green".into(), green)],
        };
        let (per_second, shares) = sample(2, 1400, 1200, 200).since(&sample(0, 1000, 900, 100));
        assert_eq!(per_second, 200.0);
        assert_eq!(shares, [("blue".to_owned(), 0.75), ("green".to_owned(), 0.25)]);
    }
}
