//! Traces: what members are told, and what a collector gets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use switchback_plugins as plugins;

use crate::metrics::Page;
use crate::peers::PAIRS;
use crate::support::{Answer, BY_GROUP, Body, Host, Member, Setup, in_time, nobody, until, whole};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{SPAN}-{flags}")
}

/// A collector of traces.
struct Collector {
    member: Member,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    /// Takes all spans, after it has refused so many posts.
    async fn refusing(refusals: usize) -> Self {
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let taken = spans.clone();
        let left = AtomicUsize::new(refusals);
        let member = Member::answering(move |request: Request<Incoming>| {
            let refused = left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
            let taken = taken.clone();
            async move { if refused { unavailable() } else { take(request, &taken).await } }
        })
        .await;
        Self { member, spans }
    }

    /// The keys that have it told of this share of exchanges.
    fn keys(&self, sample: f64) -> String {
        format!("[tracing]\notlp = \"http://{}\"\nsample = {sample}\n", self.member.address)
    }

    /// Waits for so many spans; those of each name.
    async fn wait_for(&self, number: usize) -> BTreeMap<String, Vec<Span>> {
        until("the spans are there", || self.spans.lock().unwrap().len() >= number).await;
        let mut by_name = BTreeMap::<String, Vec<Span>>::new();
        let spans = self.spans.lock().unwrap().clone();
        assert_eq!(spans.len(), number, "{spans:#?}");
        spans.into_iter().for_each(|span| by_name.entry(span.name.clone()).or_default().push(span));
        by_name
    }
}

fn unavailable() -> Response<Body> {
    Response::builder().status(503).body(whole("")).unwrap()
}

async fn take(request: Request<Incoming>, taken: &Mutex<Vec<Span>>) -> Response<Body> {
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/v1/traces"));
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let content: Bytes = request.into_body().collect().await.unwrap().to_bytes();
    let posted = ExportTraceServiceRequest::decode(content).expect("it is what OTLP says");
    for of in posted.resource_spans {
        let resource = of.resource.expect("a resource");
        assert!(resource.attributes.iter().any(|attribute| attribute.key == "service.name"));
        taken.lock().unwrap().extend(of.scope_spans.into_iter().flat_map(|of| of.spans));
    }
    Response::builder().header("content-type", "application/x-protobuf").body(whole("")).unwrap()
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    let found = found.unwrap_or_else(|| panic!("no {key} in {span:#?}"));
    match found.value.as_ref().and_then(|value| value.value.as_ref()).expect("a value") {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(flag) => flag.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a member was told, by field.
fn told(answer: &Answer, field: &str) -> Option<String> {
    let mut values = answer.body.lines().filter_map(|line| line.strip_prefix(field)?.strip_prefix(": "));
    let value = values.next().map(str::to_owned);
    assert_eq!(values.next(), None, "{field} twice in {answer:?}");
    value
}

/// A host that echoes, whose client is trusted or not.
async fn echoing(is_trusted: bool, keys: &str) -> (Host, Member) {
    let member = Member::echoing().await;
    let listener = if is_trusted { "trusted = [\"127.0.0.1\"]" } else { "" };
    (Host::with().pool("blue", &[&member]).front(listener, "pool = \"blue\"").config(keys).start().await, member)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_a_decision_and_a_try_have_spans_with_the_right_parents() {
    let collector = Collector::refusing(0).await;
    let member = Member::echoing().await;
    let closed = nobody();
    let setup: Setup = Host::with().workers(1).pool_at("blue", &[closed, member.address], "").pool("green", &[]);
    let setup = setup.vip("web", "policy = \"web\"").policy("web", plugins::BY_HEADER).config(BY_GROUP);
    let host = setup.config(&collector.keys(1.0)).start().await;
    let answer = host.get("/a?b=c", &[("traceparent", &parent("02")), ("tracestate", "congo=t61")]).await;

    let spans = collector.wait_for(4).await;
    let (exchange, decision, tries) = (&spans["GET web"][0], &spans["decision"][0], &spans["GET"]);
    assert!(spans.values().flatten().all(|span| hex(&span.trace_id) == TRACE));
    assert_eq!((hex(&exchange.parent_span_id), hex(&decision.parent_span_id)), (SPAN.into(), hex(&exchange.span_id)));
    assert!(tries.len() == 2 && tries.iter().all(|tried| tried.parent_span_id == exchange.span_id));
    assert_eq!((exchange.kind, decision.kind, tries[0].kind, tries[1].kind), (2, 1, 3, 3));
    // The member's own spans are below that of the try that reached it.
    let expected = format!("00-{TRACE}-{}-03", hex(&tries[1].span_id));
    assert_eq!((told(&answer, "traceparent"), told(&answer, "tracestate")), (Some(expected), Some("congo=t61".into())));

    for (key, expected) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("url.path", "/a"),
        ("url.query", "b=c"),
        ("url.scheme", "http"),
        ("server.address", "web.example"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("switchback.vip", "web"),
        ("switchback.release", "1"),
        ("switchback.pool", "blue"),
        ("switchback.ended", "whole"),
        ("switchback.fault", "nobody"),
    ] {
        assert_eq!(attribute(exchange, key), expected, "{key}");
    }
    assert_eq!(attribute(decision, "switchback.policy"), "web");
    assert_eq!((attribute(&tries[0], "error.type"), tries[0].status.as_ref().unwrap().code), ("unreached".into(), 2));
    let port = member.address.port().to_string();
    assert_eq!(
        (attribute(&tries[1], "server.port"), attribute(&tries[1], "http.request.resend_count")),
        (port, "1".into())
    );
    assert!(tries[1].status.is_none() && exchange.status.is_none());
    let within = |span: &Span| {
        let times = [exchange.start_time_unix_nano, span.start_time_unix_nano, span.end_time_unix_nano];
        times.is_sorted() && span.end_time_unix_nano <= exchange.end_time_unix_nano
    };
    assert!(spans.values().flatten().all(within), "{spans:#?}");
    assert!(decision.end_time_unix_nano <= tries[0].start_time_unix_nano);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tracing_the_fields_are_passed_on_unchanged() {
    let (host, _member) = echoing(false, "").await;
    let answer = host.get("/", &[("traceparent", &parent("01")), ("tracestate", "congo=t61")]).await;
    assert_eq!(told(&answer, "traceparent"), Some(parent("01")));
    assert_eq!(told(&answer, "tracestate"), Some("congo=t61".into()));
    let answer = host.get("/", &[("traceparent", "nonsense")]).await;
    assert_eq!(told(&answer, "traceparent").as_deref(), Some("nonsense"));
    assert_eq!(told(&host.get("/", &[]).await, "traceparent"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_invalid_is_replaced_and_its_state_with_it() {
    let collector = Collector::refusing(0).await;
    for (sample, flags) in [(0.0, "02"), (1.0, "03")] {
        let (host, _member) = echoing(true, &collector.keys(sample)).await;
        for invalid in [Some("nonsense"), Some("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None] {
            let fields = [("tracestate", "congo=t61"), ("traceparent", invalid.unwrap_or_default())];
            let answer = host.get("/", &fields[..1 + usize::from(invalid.is_some())]).await;
            let given = told(&answer, "traceparent").expect("there is one");
            assert!(given.len() == 55 && given.ends_with(flags) && !given.contains(TRACE), "{given}");
            assert_eq!(told(&answer, "tracestate"), None);
        }
    }
    let spans = collector.wait_for(6).await;
    assert!(spans["GET web"].len() == 3 && spans["GET web"].iter().all(|span| span.parent_span_id.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_client_says_what_is_recorded_and_others_do_not() {
    let collector = Collector::refusing(0).await;
    // Nothing is sampled of what nobody decided on.
    let (trusting, _one) = echoing(true, &collector.keys(0.0)).await;
    let (wary, _two) = echoing(false, &collector.keys(0.0)).await;
    for (host, flags, is_recorded) in [(&trusting, "01", true), (&trusting, "00", false), (&wary, "01", false)] {
        let answer = host.get("/", &[("traceparent", &parent(flags))]).await;
        let given = told(&answer, "traceparent").unwrap();
        assert_eq!(given != parent(flags), is_recorded, "{given}");
        assert!(given.contains(TRACE) && given.ends_with(flags), "{given}");
    }
    let spans = collector.wait_for(2).await;
    assert_eq!(hex(&spans["GET web"][0].parent_span_id), SPAN);
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_pass_whatever_either_side_speaks() {
    for (client, speaks) in PAIRS {
        let collector = Collector::refusing(0).await;
        let member = Member::speaking(speaks, crate::support::echo).await;
        let setup = Host::with().pool_at("blue", &[member.address], speaks.keys()).vip("web", "pool = \"blue\"");
        let host = setup.config(&collector.keys(1.0)).start().await;
        let request = Request::get("http://web.example/").header("traceparent", parent("01")).body(whole("")).unwrap();
        let answer = Answer::of(in_time("an answer", client.ask(host.address(), request)).await).await;
        let tried = &collector.wait_for(2).await["GET"][0];
        let expected = format!("00-{TRACE}-{}-01", hex(&tried.span_id));
        assert_eq!(told(&answer, "traceparent"), Some(expected), "{client:?} to {speaks:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_ends_badly_is_an_error_of_whoever_is_to_blame() {
    let collector = Collector::refusing(0).await;
    let half = Member::raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    let setup = Host::with().pool("blue", &[&half]).vip("web", "pool = \"blue\"").config(&collector.keys(1.0));
    let host = setup.start().await;
    crate::support::send_raw(host.address(), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    crate::support::send_raw(host.address(), b"GET / HTTP/1.1\r\n\r\n").await;
    let spans = collector.wait_for(3).await;
    let (broken, refused) = (&spans["GET web"][0], &spans["GET"].iter().find(|span| span.kind == 2).unwrap());
    let says = (attribute(broken, "switchback.fault"), attribute(broken, "error.type"));
    assert_eq!((says, broken.status.as_ref().unwrap().code), (("member".into(), "member_broke".into()), 2));
    assert_eq!((attribute(refused, "switchback.fault"), &refused.status), ("client".into(), &None));
}

async fn spans_that(host: &Host, became: &str) -> f64 {
    Page::of(host).await.value("switchback_spans_total", &[("became", became)])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_refuses_for_a_while_gets_the_same_spans() {
    let collector = Collector::refusing(1).await;
    let (mut host, _member) = echoing(true, &collector.keys(1.0)).await;
    host.get("/", &[]).await;
    collector.wait_for(2).await;
    in_time("the count", async { while spans_that(&host, "exported").await < 2.0 {} }).await;
    assert_eq!(spans_that(&host, "failed").await, 0.0);
    // What was recorded last is exported before the host has left.
    host.get("/", &[]).await;
    host.stop().await;
    assert_eq!(collector.spans.lock().unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_gone_delays_nobody_and_is_counted() {
    let closed = nobody();
    let (host, _member) = echoing(true, &format!("[tracing]\notlp = \"http://{closed}\"\nsample = 1\n")).await;
    for _ in 0..10 {
        assert_eq!(host.get("/", &[]).await.status, 200);
    }
    in_time("the count", async { while spans_that(&host, "failed").await < 20.0 {} }).await;
    assert_eq!((spans_that(&host, "failed").await, spans_that(&host, "exported").await), (20.0, 0.0));
}
