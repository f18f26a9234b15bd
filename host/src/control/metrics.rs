//! Counts, in the text format that Prometheus reads (version 0.0.4).

mod decided;

use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::release::Release;
use crate::store::journal::Stand;
use crate::switch::Switch;
use crate::switch::judge::Sentence;
use crate::telemetry::histogram::HistogramTotals;
use crate::telemetry::told::{Came, Ended};
use crate::telemetry::{Counts, Limit, STATUS_CLASSES, Telling, VipCounts};

/// What the format is called.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All counts as they stand.
pub fn text(switch: &Switch) -> String {
    let (serving, counts) = (switch.current.serving(), &switch.ground.counts);
    let release = &serving.release;
    let mut page = Page(String::new());
    page.family("switchback_release", "gauge", "The number of the release that serves.");
    page.sample("switchback_release", &[], release.number);
    decided::decided(&mut page, &serving);
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

    auto_back(&mut page, switch);
    ended(&mut page, release, counts);
    tried(&mut page, release);
    page.family("switchback_decision_seconds", "histogram", "How long a policy took to decide.");
    for policy in release.policies.keys() {
        let took = counts.policy(policy).totals();
        page.histogram("switchback_decision_seconds", &[("policy", policy)], &took, [-22, 0]);
    }
    told(&mut page, &counts.telling);
    journal(&mut page, &switch.journal.stand());

    page.family("switchback_pool_requests_total", "counter", "Requests given to a pool.");
    for pool in release.pools.values() {
        page.sample("switchback_pool_requests_total", &[("pool", &pool.name)], pool.counts.totals().requests);
    }
    page.family("switchback_pool_errors_total", "counter", "Of these, those that no member answered.");
    for pool in release.pools.values() {
        page.sample("switchback_pool_errors_total", &[("pool", &pool.name)], pool.counts.totals().errors);
    }
    members(&mut page, release);
    page.0
}

/// What the host does by itself.
fn auto_back(page: &mut Page, switch: &Switch) {
    page.family("switchback_back_ready", "gauge", "1 where `back` could be pressed, and would serve at once.");
    page.sample("switchback_back_ready", &[], u8::from(switch.way_back().is_ready()));
    page.family("switchback_watching", "gauge", "1 while a release is watched after its activation.");
    page.sample("switchback_watching", &[], u8::from(switch.docket.watching().is_some()));
    page.family("switchback_latched", "gauge", "1 where the host went back by itself, until a person switches.");
    page.sample("switchback_latched", &[], u8::from(switch.is_latched()));
    page.family("switchback_verdicts_total", "counter", "Releases found worse than before, by what came of it.");
    for sentence in Sentence::ALL {
        let total = switch.docket.verdicts(sentence);
        page.sample("switchback_verdicts_total", &[("sentence", sentence.name())], total);
    }
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

/// How exchanges ended, by vip. Those that entered none have a name that no vip can have.
fn ended(page: &mut Page, release: &Release, counts: &Counts) {
    let of = |name, counts: &VipCounts| (name, counts.ends());
    let vips: Vec<_> = release.vips.values().map(|vip| of(&*vip.name, &vip.counts)).collect();
    let vips: Vec<_> = vips.into_iter().chain([of("-", counts.astray())]).collect();
    page.family(
        "switchback_exchange_seconds",
        "histogram",
        "From the end of a request's head to the end of its answer.",
    );
    for (vip, ends) in &vips {
        page.histogram("switchback_exchange_seconds", &[("vip", vip)], &ends.whole, [-15, 10]);
    }
    page.family("switchback_answers_total", "counter", "Exchanges that ended, by the status that was answered.");
    for (vip, ends) in &vips {
        for (status, total) in STATUS_CLASSES.iter().zip(ends.statuses) {
            page.sample("switchback_answers_total", &[("vip", vip), ("status", status)], total);
        }
    }
    page.family("switchback_ended_total", "counter", "Exchanges, by what ended them, and whose fault that was.");
    for (vip, ends) in &vips {
        for (ended, total) in Ended::ALL.iter().zip(ends.ended) {
            let labels = [("vip", *vip), ("ended", ended.name()), ("fault", ended.fault().name())];
            page.sample("switchback_ended_total", &labels, total);
        }
    }
    page.family("switchback_content_bytes_total", "counter", "Bytes of content from clients and to them.");
    for (vip, ends) in &vips {
        for (direction, total) in [("received", ends.received_bytes), ("sent", ends.sent_bytes)] {
            page.sample("switchback_content_bytes_total", &[("vip", vip), ("direction", direction)], total);
        }
    }
}

/// How members were tried, by pool.
fn tried(page: &mut Page, release: &Release) {
    let pools: Vec<_> = release.pools.values().map(|pool| (&*pool.name, pool.counts.tries())).collect();
    page.family("switchback_tries_total", "counter", "Tries of members, by what came of them.");
    for (pool, tries) in &pools {
        for (came, total) in Came::ALL.iter().zip(tries.came) {
            page.sample("switchback_tries_total", &[("pool", pool), ("came", came.name())], total);
        }
    }
    page.family("switchback_connect_seconds", "histogram", "How long it took to open a connection to a member.");
    for (pool, tries) in &pools {
        page.histogram("switchback_connect_seconds", &[("pool", pool)], &tries.connecting, [-16, 6]);
    }
    page.family("switchback_first_byte_seconds", "histogram", "From sending a request to its answer's head.");
    for (pool, tries) in &pools {
        page.histogram("switchback_first_byte_seconds", &[("pool", pool)], &tries.first_byte, [-16, 10]);
    }
}

/// What became of what was to be told of exchanges.
fn told(page: &mut Page, telling: &Telling) {
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let lines = [("written", &telling.lines), ("dropped", &telling.lines_dropped), ("failed", &telling.lines_failed)];
    page.family("switchback_access_log_lines_total", "counter", "Lines of the access log, by what became of them.");
    for (became, count) in lines {
        page.sample("switchback_access_log_lines_total", &[("became", became)], read(count));
    }
    let spans = [("exported", &telling.spans), ("dropped", &telling.spans_dropped), ("failed", &telling.spans_failed)];
    page.family("switchback_spans_total", "counter", "Spans of traces, by what became of them.");
    for (became, count) in spans {
        page.sample("switchback_spans_total", &[("became", became)], read(count));
    }
}

/// How the journal stands.
fn journal(page: &mut Page, stand: &Stand) {
    page.family("switchback_journal_entries", "gauge", "Entries of the journal that are on the disk.");
    page.sample("switchback_journal_entries", &[], stand.entries);
    page.family("switchback_journal_bytes", "gauge", "Bytes of the journal's file that are used.");
    page.sample("switchback_journal_bytes", &[], stand.bytes);
    page.family("switchback_journal_links_total", "counter", "Links of the journal's chain of hashes.");
    page.sample("switchback_journal_links_total", &[], stand.links);
    page.family("switchback_journal_waiting", "gauge", "Records that are not on the disk yet.");
    page.sample("switchback_journal_waiting", &[], stand.waiting);
    page.family("switchback_journal_write_failures_total", "counter", "Writes that the disk did not take.");
    page.sample("switchback_journal_write_failures_total", &[], stand.failures);
    page.family("switchback_journal_damaged", "gauge", "1 where the journal was found damaged in this life.");
    page.sample("switchback_journal_damaged", &[], u8::from(stand.damage.is_some()));
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// With boundaries from 2^`range[0]` to 2^`range[1]` seconds.
    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], totals: &HistogramTotals, range: [i32; 2]) {
        let [least, most] = range;
        let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let labels = labels.join(",");
        for (bound, sum) in totals.up_to(least, most) {
            let _ = writeln!(self.0, "{name}_bucket{{{labels},le=\"{bound}\"}} {sum}");
        }
        let (count, sum) = (totals.count(), totals.sum().as_secs_f64());
        let _ = writeln!(self.0, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
        let _ = writeln!(self.0, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}");
    }

    /// Names of vips and pools hold nothing that would have to be escaped; see `check_name`.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}
