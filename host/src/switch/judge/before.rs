//! What a release did in its last minute or two: what the next one is measured by.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::case::Now;
use crate::proxy::outcomes::OutcomeTotals;
use crate::release::Release;

/// How far back it goes, at least, and half of how far at most.
const LOOKED_BACK: Duration = Duration::from_secs(60);

/// Requests that say enough of how a vip did; where there were fewer lately, all that it served under that release counts.
const ENOUGH: u64 = 300;

/// What the current release had done at two moments.
#[derive(Default)]
pub(super) struct Before {
    release: u64,
    later: Option<(Instant, Now)>,
    earlier: Now,
}

impl Before {
    /// To be told often: what is current, now.
    pub(super) fn note(&mut self, release: &Release, now: Instant) {
        if self.release != release.number {
            *self = Self { release: release.number, ..Self::default() };
        }
        if self.later.as_ref().is_none_or(|(noted, _)| now >= *noted + LOOKED_BACK) {
            let later = self.later.replace((now, totals(release)));
            self.earlier = later.map(|(_, later)| later).unwrap_or_default();
        }
    }

    /// What came of the vip's requests lately, under a release that has just been replaced.
    pub(super) fn lately(&self, release: &Release, vip: &str) -> OutcomeTotals {
        let all = release.vips.get(vip).map(|vip| vip.outcomes.totals()).unwrap_or_default();
        let earlier = self.earlier.get(vip).filter(|_| self.release == release.number);
        match earlier.map(|earlier| all.since(earlier)) {
            Some(lately) if lately.all.ended >= ENOUGH => lately,
            _ => all,
        }
    }
}

/// What has come of all requests of a release, by vip.
pub(super) fn totals(release: &Release) -> Now {
    release.vips.iter().map(|(name, vip)| (name.clone(), vip.outcomes.totals())).collect::<BTreeMap<Arc<str>, _>>()
}
