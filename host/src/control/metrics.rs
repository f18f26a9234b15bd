//! Counts, in the text format that Prometheus reads (version 0.0.4).

use std::fmt::{Display, Write as _};

use crate::release::Release;
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
    members(&mut page, &release);
    page.0
}

/// How pools and their members stand.
fn members(page: &mut Page, release: &Release) {
    page.family("switchback_pool_retries_total", "counter", "Tries beyond a request's first.");
    for pool in release.pools.values() {
        page.sample("switchback_pool_retries_total", &[("pool", &pool.name)], pool.counts.totals().retries);
    }
    page.family("switchback_pool_waiting", "gauge", "Requests that wait for a member.");
    for pool in release.pools.values() {
        page.sample("switchback_pool_waiting", &[("pool", &pool.name)], pool.lasting.queue.waiting());
    }
    page.family("switchback_pool_panics", "gauge", "1 where too few members are fit, and all are used.");
    for pool in release.pools.values() {
        page.sample("switchback_pool_panics", &[("pool", &pool.name)], u8::from(pool.roster().panics));
    }
    page.family("switchback_vip_copies_total", "counter", "Copies of requests: sent to the mirror, or left out.");
    for vip in release.vips.values() {
        let totals = vip.counts.totals();
        for (what, total) in [("sent", totals.copies), ("left_out", totals.copies_left_out)] {
            page.sample("switchback_vip_copies_total", &[("vip", &vip.name), ("what", what)], total);
        }
    }
    let families = [
        ("switchback_member_up", "gauge", "1 where a member gets requests like any other."),
        ("switchback_member_in_flight", "gauge", "Requests in flight to a member."),
        ("switchback_member_connections", "gauge", "Connections to a member."),
        ("switchback_member_requests_total", "counter", "Requests sent to a member."),
        ("switchback_member_failures_total", "counter", "Of these, those that failed."),
    ];
    let now = crate::time::nanos_since_start();
    for (name, kind, help) in families {
        page.family(name, kind, help);
        for pool in release.pools.values() {
            for seat in &pool.roster().seats {
                let address = seat.member.address.to_string();
                let value = match name {
                    "switchback_member_up" => u64::from(seat.is_fit(now)),
                    "switchback_member_in_flight" => u64::from(seat.member.in_flight()),
                    "switchback_member_connections" => u64::from(seat.member.connections()),
                    "switchback_member_requests_total" => seat.member.deeds().requests,
                    _ => seat.member.deeds().failures,
                };
                page.sample(name, &[("pool", &pool.name), ("member", &address)], value);
            }
        }
    }
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
