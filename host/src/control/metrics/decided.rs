//! What came of the requests that each release decided: of the current one and the canary, and no others, so that the
//! series are as few after a thousand releases as after one.

use super::Page;
use crate::control::views::canary::{micros_within, totals};
use crate::serving::Serving;
use crate::telemetry::STATUS_CLASSES;

pub(super) fn decided(page: &mut Page, serving: &Serving) {
    let releases: Vec<_> =
        serving.releases().map(|release| (format!("r{}", release.number), totals(release))).collect();
    page.family("switchback_canary_share", "gauge", "The share of the keys that a canary decides for.");
    if let Some(canary) = serving.canary() {
        let release = format!("r{}", canary.release.number);
        page.sample("switchback_canary_share", &[("release", &release)], canary.share.part());
    }
    let families = [
        ("switchback_release_requests_total", "Requests that a release decided."),
        ("switchback_release_failed_total", "Of these, answered with 5xx, or broken off by a member or by us."),
        ("switchback_release_falls_total", "Times that the release's policy failed."),
    ];
    for (name, help) in families {
        page.family(name, "counter", help);
        for (release, totals) in &releases {
            let value = match name {
                "switchback_release_requests_total" => totals.all.begun,
                "switchback_release_failed_total" => totals.all.failed,
                _ => totals.falls,
            };
            page.sample(name, &[("release", release)], value);
        }
    }
    page.family("switchback_release_answers_total", "counter", "Requests of a release that ended, by their status.");
    for (release, totals) in &releases {
        for (status, total) in STATUS_CLASSES.iter().zip(totals.statuses) {
            page.sample("switchback_release_answers_total", &[("release", release), ("status", status)], total);
        }
    }
    page.family("switchback_release_answer_seconds", "gauge", "Within which so many of a release's answers began.");
    for (release, totals) in &releases {
        for (quantile, share) in [("0.5", 0.5), ("0.9", 0.9), ("0.99", 0.99)] {
            if let Some(micros) = micros_within(&totals.all.times, share) {
                let labels = [("release", &**release), ("quantile", quantile)];
                page.sample("switchback_release_answer_seconds", &labels, micros as f64 / 1e6);
            }
        }
    }
}
