//! `GET /metrics`: read strictly, as the text format says, and adding up.

use std::collections::BTreeMap;

use switchback_plugins as plugins;

use crate::support::{Answer, BY_GROUP, Host, Member, nobody, send, send_raw, until, whole};

type Labels = BTreeMap<String, String>;

/// One histogram: its buckets by their boundaries.
struct Series {
    labels: Labels,
    buckets: Vec<(f64, f64)>,
    sum: f64,
    count: f64,
}

/// What a scrape says.
pub(crate) struct Page {
    kinds: BTreeMap<String, String>,
    samples: Vec<(String, Labels, f64)>,
}

impl Page {
    pub(crate) async fn of(host: &Host) -> Self {
        let request = hyper::Request::get("/metrics").header("host", "localhost").body(whole("")).unwrap();
        let answer = Answer::of(send(host.app().control, request).await).await;
        assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        Self::parse(&answer.body)
    }

    /// Reads a page; panics at whatever Prometheus would not take, or would take for something else.
    fn parse(text: &str) -> Self {
        let mut page = Self { kinds: BTreeMap::new(), samples: Vec::new() };
        let mut family = String::new();
        assert!(text.ends_with('\n'), "the last line has no end");
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, said) = help.split_once(' ').expect("a help text");
                assert!(!said.is_empty() && !said.contains('\\'), "{line}");
                assert!(!page.kinds.contains_key(name), "{name} is there twice");
                name.clone_into(&mut family);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a kind");
                assert!(["counter", "gauge", "histogram"].contains(&kind) && name == family, "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                page.kinds.insert(name.into(), kind.into());
            } else {
                let (name, labels, value) = sample(line);
                let kind = page.kinds.get(&family).unwrap_or_else(|| panic!("before its kind: {line}"));
                let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(suffixes.iter().any(|suffix| name == format!("{family}{suffix}")), "not of {family}: {line}");
                assert!(page.samples.iter().all(|(n, l, _)| (n, l) != (&name, &labels)), "twice: {line}");
                page.samples.push((name, labels, value));
            }
        }
        page
    }

    /// The one sample of this name that has these labels.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found = self.all(name, labels);
        assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}");
        found[0].1
    }

    fn all(&self, name: &str, labels: &[(&str, &str)]) -> Vec<(&Labels, f64)> {
        let has = |of: &Labels| labels.iter().all(|(name, value)| of.get(*name).is_some_and(|of| of == value));
        let samples = self.samples.iter().filter(|(of, labels, _)| of == name && has(labels));
        samples.map(|(_, labels, value)| (labels, *value)).collect()
    }

    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.all(name, labels).into_iter().map(|(_, value)| value).sum()
    }

    /// All series of a histogram.
    fn histograms(&self, name: &str) -> Vec<Series> {
        let mut all = Vec::new();
        for (labels, count) in self.all(&format!("{name}_count"), &[]) {
            let own: Vec<_> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
            let buckets = self.all(&format!("{name}_bucket"), &own);
            let buckets = buckets.into_iter().map(|(labels, value)| (number(&labels["le"]), value)).collect();
            let sum = self.value(&format!("{name}_sum"), &own);
            all.push(Series { labels: labels.clone(), buckets, sum, count });
        }
        all
    }
}

fn number(text: &str) -> f64 {
    if text == "+Inf" { f64::INFINITY } else { text.parse().unwrap_or_else(|_| panic!("no number: {text}")) }
}

/// `name{label="value",...} number`
fn sample(line: &str) -> (String, Labels, f64) {
    let is_name = |name: &str| {
        let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
        name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
    };
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let (name, mut rest) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').unwrap_or_else(|| panic!("no end of labels: {line}"))),
        None => (series, ""),
    };
    assert!(is_name(name) && name.starts_with("switchback_"), "{line}");
    let mut labels = Labels::new();
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
        // No value has anything to escape: names of ours, and numbers.
        let (value, after) = after.split_once('"').unwrap_or_else(|| panic!("no end of a value: {line}"));
        assert!(is_name(label) && !value.contains('\\'), "{line}");
        assert!(labels.insert(label.into(), value.into()).is_none(), "a label twice: {line}");
        rest = after.strip_prefix(',').unwrap_or(after);
        assert!(after.is_empty() || !rest.is_empty() && after.starts_with(','), "{line}");
    }
    (name.into(), labels, number(value))
}

/// Blue and green by policy, one that nobody can reach, and requests that end in different ways.
async fn host_with_traffic() -> (Host, [Member; 2]) {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let closed = nobody();
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]).pool_at("gone", &[closed], "");
    let setup = setup.vip("web", "policy = \"web\"\npaths = [\"/\"]").policy("web", plugins::BY_HEADER);
    let gone = "[vips.lost]\nlisten = \"127.0.0.1:0\"\npaths = [\"/gone\"]\npool = \"gone\"\n";
    let host = setup.config(BY_GROUP).config(gone).start().await;
    for _ in 0..20 {
        host.get("/", &[("x-group", "green")]).await;
        host.get("/", &[]).await;
    }
    for _ in 0..3 {
        assert_eq!(host.get("/gone", &[]).await.status, 502);
        send_raw(host.address(), b"garbage\r\n\r\n").await;
    }
    // An exchange ends once its answer is written, which its client may know first.
    let counts = &host.app().switch.ground.counts;
    let ended = |name| counts.vip(name).ends().whole.count();
    until("all have ended", || (ended("web"), ended("lost"), counts.astray().ends().whole.count()) == (40, 3, 3)).await;
    (host, [blue, green])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_one_that_prometheus_reads_and_histograms_add_up() {
    let (host, _members) = host_with_traffic().await;
    let page = Page::of(&host).await;
    let histograms = page.kinds.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name);
    let mut seen = 0;
    for name in histograms {
        for Series { labels, buckets, sum, count } in page.histograms(name) {
            assert!(buckets.len() > 20 && buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{name} {labels:?}");
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, count)), "{name} {labels:?}");
            let least: f64 = buckets.windows(2).map(|pair| pair[0].0 * (pair[1].1 - pair[0].1)).sum();
            assert!(sum >= least && (sum > 0.0) == (count > 0.0), "{name} {labels:?}");
            // Those of a native histogram of schema 1.
            for (bound, _) in &buckets[..buckets.len() - 1] {
                let power = bound.log2() * 2.0;
                assert!((power - power.round()).abs() < 1e-9, "{name}: {bound}");
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 3 + 1 + 3 + 3, "by vip, policy, and twice by pool");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_exchange_is_counted_once_in_each_way() {
    let (host, _members) = host_with_traffic().await;
    let page = Page::of(&host).await;
    for (vip, exchanges) in [("web", 40.0), ("lost", 3.0), ("-", 3.0)] {
        let vip = [("vip", vip)];
        assert_eq!(page.value("switchback_exchange_seconds_count", &vip), exchanges);
        assert_eq!(page.sum("switchback_answers_total", &vip), exchanges);
        assert_eq!(page.sum("switchback_ended_total", &vip), exchanges);
    }
    let ended =
        |vip, ended, fault| page.value("switchback_ended_total", &[("vip", vip), ("ended", ended), ("fault", fault)]);
    let ends = [ended("web", "whole", "nobody"), ended("lost", "member_unreached", "member")];
    assert_eq!((ends, ended("-", "malformed", "client")), ([40.0, 3.0], 3.0));
    let answers = |vip, status| page.value("switchback_answers_total", &[("vip", vip), ("status", status)]);
    assert_eq!([answers("web", "2xx"), answers("lost", "5xx"), answers("-", "4xx")], [40.0, 3.0, 3.0]);
    let tries = |pool, came| page.value("switchback_tries_total", &[("pool", pool), ("came", came)]);
    assert_eq!([tries("green", "answered"), tries("blue", "answered"), tries("gone", "unreached")], [20.0, 20.0, 3.0]);
    assert_eq!(page.value("switchback_first_byte_seconds_count", &[("pool", "green")]), 20.0);
    assert_eq!(page.value("switchback_decision_seconds_count", &[("policy", "web")]), 40.0);
    assert!(page.value("switchback_connect_seconds_count", &[("pool", "green")]) > 0.0);
    let sent = page.value("switchback_content_bytes_total", &[("vip", "web"), ("direction", "sent")]);
    assert_eq!(sent, f64::from(20 * ("blue".len() + "green".len()) as u32));
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_survive_a_switch() {
    let (host, _members) = host_with_traffic().await;
    host.control("PUT", "/v1/vips/web", r#"{"pool":"blue"}"#).await;
    assert_eq!(host.get("/", &[]).await.body, "blue");
    let counts = host.app().switch.ground.counts.vip("web");
    until("it has ended", || counts.ends().whole.count() == 41).await;
    let page = Page::of(&host).await;
    assert_eq!(page.value("switchback_exchange_seconds_count", &[("vip", "web")]), 41.0);
    assert_eq!(page.value("switchback_decision_seconds_count", &[("policy", "web")]), 40.0);
}
