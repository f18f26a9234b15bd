//! Counts, in the text format that Prometheus reads (version 0.0.4).

use std::fmt::{Display, Write as _};

use crate::switch::Switch;
use crate::telemetry::Limit;

/// What the format is called.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All counts as they stand.
pub fn text(switch: &Switch) -> String {
    let (release, counts) = (switch.current.get(), &switch.ground.counts);
    let mut page = Page(String::new());
    page.family("switchback_release", "gauge", "The number of the release that serves.");
    page.sample("switchback_release", &[], release.number);
    page.family("switchback_connections", "gauge", "Connections of clients.");
    page.sample("switchback_connections", &[], counts.connections());
    page.family("switchback_requests_in_flight", "gauge", "Requests that were let in and have not ended.");
    page.sample("switchback_requests_in_flight", &[], counts.requests_in_flight());

    page.family("switchback_limit_exceeded_total", "counter", "How often something ran into a limit.");
    for limit in Limit::ALL {
        page.sample("switchback_limit_exceeded_total", &[("limit", limit.name())], counts.limited_total(limit));
    }

    page.family("switchback_vip_requests_total", "counter", "Requests that entered.");
    for vip in release.vips.values() {
        page.sample("switchback_vip_requests_total", &[("vip", &vip.name)], vip.counts.totals().requests);
    }
    page.family("switchback_vip_fallen_total", "counter", "Requests decided by a lower rung of the ladder.");
    for vip in release.vips.values() {
        let totals = vip.counts.totals();
        let rungs = [("previous", totals.by_previous), ("fallback", totals.by_fallback), ("nobody", totals.undecided)];
        for (by, total) in rungs {
            page.sample("switchback_vip_fallen_total", &[("vip", &vip.name), ("by", by)], total);
        }
    }

    page.family("switchback_pool_requests_total", "counter", "Requests given to a pool.");
    for pool in release.pools.values() {
        page.sample("switchback_pool_requests_total", &[("pool", &pool.name)], pool.counts.totals().requests);
    }
    page.family("switchback_pool_errors_total", "counter", "Of these, those that no member answered.");
    for pool in release.pools.values() {
        page.sample("switchback_pool_errors_total", &[("pool", &pool.name)], pool.counts.totals().errors);
    }
    page.0
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Names of vips and pools hold nothing that would have to be escaped; see `check_name`.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}
