//! What is shown of a canary, and of the releases that decide beside each other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::proxy::outcomes::{OutcomeTotals, TimeTotals};
use crate::release::Release;
use crate::serving::Serving;
use crate::switch::receipt::ReleaseName;
use crate::switch::share::Share;
use crate::telemetry::STATUS_CLASSES;

/// A release that is tried out.
#[derive(Debug, Serialize, Deserialize)]
pub struct CanaryView {
    /// The release.
    #[serde(flatten)]
    pub name: ReleaseName,
    /// How many of the keys it decides for.
    pub share: Share,
    /// What tells clients apart: `cookie:uid`.
    pub key: String,
}

/// What came of the requests that a release decided, since it was made or since the host started.
#[derive(Debug, Serialize, Deserialize)]
pub struct DecidedView {
    /// The release.
    pub release: u64,
    /// Requests that it decided.
    pub requests: u64,
    /// Of these, those in flight.
    pub in_flight: u32,
    /// Those that ended, by the kind of status.
    pub answers: BTreeMap<String, u64>,
    /// Answered with 5xx, or broken off by a member or by us.
    pub failed: u64,
    /// Times that its policy failed.
    pub falls: u64,
    /// Half of the answers began within so many microseconds.
    pub p50_micros: Option<u64>,
    /// 99 of 100.
    pub p99_micros: Option<u64>,
}

impl CanaryView {
    /// The canary, where there is one.
    pub fn of(serving: &Serving) -> Option<Self> {
        let canary = serving.canary()?;
        Some(Self { name: (&*canary.release).into(), share: canary.share, key: canary.key.to_string() })
    }
}

impl DecidedView {
    /// Of all releases that decide for new clients, the current one first.
    pub fn all(serving: &Serving) -> Vec<Self> {
        serving.releases().map(|release| Self::of(release)).collect()
    }

    fn of(release: &Release) -> Self {
        let OutcomeTotals { all, falls, statuses, .. } = totals(release);
        let within = |share| micros_within(&all.times, share);
        let answers = STATUS_CLASSES.iter().zip(statuses).map(|(class, count)| ((*class).to_owned(), count));
        Self {
            release: release.number,
            requests: all.begun,
            in_flight: release.flights.in_flight(),
            answers: answers.filter(|(_, count)| *count > 0).collect(),
            failed: all.failed,
            falls,
            p50_micros: within(0.5),
            p99_micros: within(0.99),
        }
    }
}

/// What came of a release's requests, over all its vips.
pub fn totals(release: &Release) -> OutcomeTotals {
    release.vips.values().fold(OutcomeTotals::default(), |sum, vip| {
        let of = vip.outcomes.totals();
        OutcomeTotals {
            all: sum.all.plus(&of.all),
            falls: sum.falls + of.falls,
            statuses: std::array::from_fn(|class| sum.statuses[class] + of.statuses[class]),
            pools: Vec::new(),
        }
    })
}

/// The time within which such a share was answered, by the bounds of the buckets; the last one has none.
pub fn micros_within(times: &TimeTotals, share: f64) -> Option<u64> {
    let longest = TimeTotals::longest_in(times.bucket_at(share)?)?;
    u64::try_from(longest.as_micros()).ok()
}
