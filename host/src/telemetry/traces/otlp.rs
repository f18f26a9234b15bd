//! Spans as OTLP has them: the messages of `opentelemetry/proto/trace/v1` and `common/v1`, as far as they are used, and
//! the attributes of OpenTelemetry's semantic conventions for HTTP.
//!
//! Declared here, as `opentelemetry-otlp` would bring tonic, its own SDK and a dozen crates beside, for eight messages.

use std::time::Duration;

use hyper::Version;
use prost::{Message, Oneof};
use tokio::time::Instant;

use crate::telemetry::told::{Came, Ended, Fault, Text, Told, Trace, Try};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Flag(bool),
    #[prost(int64, tag = "3")]
    Number(i64),
    #[prost(double, tag = "4")]
    Fraction(f64),
}

/// What a collector answers.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Answer {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(super) rejected_spans: i64,
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}

const KIND_INTERNAL: i32 = 1;
const KIND_SERVER: i32 = 2;
const KIND_CLIENT: i32 = 3;
const STATUS_ERROR: i32 = 2;

/// The spans of these exchanges, as they are posted.
pub(super) fn request(spans: Vec<Span>) -> Request {
    let resource = Attributes::default()
        .text("service.name", "switchback")
        .text("service.version", env!("CARGO_PKG_VERSION"))
        .number("process.pid", std::process::id());
    let scope = Scope { name: "switchback".into(), version: env!("CARGO_PKG_VERSION").into() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
    let resource = Some(Resource { attributes: resource.0 });
    Request { resource_spans: vec![ResourceSpans { resource, scope_spans }] }
}

/// The spans of one exchange: itself, its decision where a policy was asked, and each try.
pub(super) fn spans(told: &Told, spans: &mut Vec<Span>) {
    let Some(trace) = &told.trace else { return };
    spans.push(exchange(told, trace));
    if let Some((began, took)) = told.decision {
        spans.push(decision(told, trace, began, took));
    }
    for (at, tried) in told.tries.iter().enumerate() {
        spans.push(member(told, trace, tried, at));
    }
}

fn exchange(told: &Told, trace: &Trace) -> Span {
    let method = told.method.as_ref().map_or("HTTP", |method| method.as_str());
    let (path, query) = split(&told.target);
    let (host, port) = authority(&told.host);
    let status = told.status.map(|status| status.as_u16());
    let attributes = Attributes::default()
        .method(told)
        .text("url.path", path)
        .maybe("url.query", query)
        .text("url.scheme", told.scheme)
        .maybe("server.address", (!host.is_empty()).then_some(host))
        .maybe_number("server.port", port)
        .maybe("network.protocol.version", told.version.map(version))
        .maybe("client.address", told.client.or(told.peer.map(|peer| peer.ip())).map(|client| client.to_string()))
        .maybe("network.peer.address", told.peer.map(|peer| peer.ip().to_string()))
        .maybe_number("network.peer.port", told.peer.map(|peer| peer.port()))
        .maybe("user_agent.original", told.user_agent.bytes().map(lossy))
        .maybe_number("http.response.status_code", status)
        .number("http.request.body.size", told.received_bytes)
        .number("http.response.body.size", told.sent_bytes)
        .text("switchback.request_id", &*told.id)
        .text("switchback.listener", &*told.listener)
        .maybe("switchback.vip", told.vip.as_deref())
        .maybe_number("switchback.release", told.vip.is_some().then_some(told.release))
        .maybe("switchback.policy", told.policy.as_deref())
        .maybe("switchback.pool", told.pool.as_deref())
        .maybe("switchback.reason", told.reason.bytes().map(lossy))
        .text("switchback.ended", told.ended.name())
        .text("switchback.fault", told.ended.fault().name())
        .number("switchback.tries", told.tries.len() as u64);
    // What a client did wrong is no error of a server's (semantic conventions for HTTP spans, status).
    let is_error = match told.ended.fault() {
        Fault::Nobody | Fault::Client => status.is_some_and(|status| status >= 500),
        Fault::Member | Fault::Policy | Fault::Host => true,
    };
    let kind =
        if told.ended == Ended::Whole { status.unwrap_or_default().to_string() } else { told.ended.name().into() };
    let name = told.vip.as_ref().map_or_else(|| method.to_owned(), |vip| format!("{method} {vip}"));
    let parent = trace.parent;
    Span {
        parent_span_id: parent.map_or_else(Vec::new, |parent| parent.to_be_bytes().into()),
        attributes: attributes.maybe("error.type", is_error.then_some(kind)).0,
        status: is_error.then(|| Status { message: told.error.clone().unwrap_or_default(), code: STATUS_ERROR }),
        ..span(told, trace, trace.span, name, KIND_SERVER, told.began, told.ended_at)
    }
}

fn decision(told: &Told, trace: &Trace, began: Instant, took: Duration) -> Span {
    let attributes = Attributes::default()
        .maybe("switchback.policy", told.policy.as_deref())
        .maybe("switchback.pool", told.pool.as_deref())
        .maybe("switchback.reason", told.reason.bytes().map(lossy))
        .number("switchback.release", told.release);
    let is_error = told.ended == Ended::Undecided;
    Span {
        attributes: attributes.0,
        status: is_error.then(|| Status { message: told.error.clone().unwrap_or_default(), code: STATUS_ERROR }),
        ..span(told, trace, trace.decision, "decision".into(), KIND_INTERNAL, began, began + took)
    }
}

fn member(told: &Told, trace: &Trace, tried: &Try, at: usize) -> Span {
    let method = told.method.as_ref().map_or("HTTP", |method| method.as_str());
    let status = tried.status.map(|status| status.as_u16());
    let address = tried.member.tcp();
    let attributes = Attributes::default()
        .method(told)
        .text("server.address", address.map_or_else(|| tried.member.to_string(), |address| address.ip().to_string()))
        .maybe_number("server.port", address.map(|address| address.port()))
        .text("url.path", split(&told.target).0)
        .maybe_number("http.request.resend_count", (at > 0).then_some(at as u64))
        .maybe_number("http.response.status_code", status)
        .maybe("switchback.pool", told.pool.as_deref())
        .flag("switchback.connection.reused", tried.connecting.is_none() && tried.came != Came::Unreached)
        .maybe_fraction("switchback.connection.seconds", tried.connecting.map(|time| time.as_secs_f64()))
        .text("switchback.came", tried.came.name());
    let kind = match tried.came {
        Came::Answered => status.filter(|status| *status >= 400).map(|status| status.to_string()),
        other => Some(other.name().into()),
    };
    Span {
        status: kind.as_ref().map(|_| Status { message: String::new(), code: STATUS_ERROR }),
        attributes: attributes.maybe("error.type", kind).0,
        ..span(told, trace, tried.span, method.to_owned(), KIND_CLIENT, tried.began, tried.over)
    }
}

fn span(told: &Told, trace: &Trace, id: u64, name: String, kind: i32, began: Instant, ended: Instant) -> Span {
    let nanos = |instant: Instant| {
        let since = u64::try_from(instant.saturating_duration_since(told.began).as_nanos()).unwrap_or(u64::MAX);
        told.began_unix_nanos.saturating_add(since)
    };
    Span {
        trace_id: trace.id.to_be_bytes().into(),
        span_id: id.to_be_bytes().into(),
        parent_span_id: trace.span.to_be_bytes().into(),
        name,
        kind,
        start_time_unix_nano: nanos(began),
        end_time_unix_nano: nanos(ended),
        attributes: Vec::new(),
        status: None,
        flags: u32::from(trace.flags),
    }
}

/// A list of attributes; those without a value are left out.
#[derive(Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn with(mut self, key: &str, value: Value) -> Self {
        self.0.push(KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }) });
        self
    }

    fn text(self, key: &str, text: impl Into<String>) -> Self {
        self.with(key, Value::Text(text.into()))
    }

    fn maybe(self, key: &str, text: Option<impl Into<String>>) -> Self {
        match text {
            Some(text) => self.text(key, text),
            None => self,
        }
    }

    fn number(self, key: &str, number: impl Into<u64>) -> Self {
        self.with(key, Value::Number(i64::try_from(number.into()).unwrap_or(i64::MAX)))
    }

    fn maybe_number(self, key: &str, number: Option<impl Into<u64>>) -> Self {
        match number {
            Some(number) => self.number(key, number),
            None => self,
        }
    }

    fn flag(self, key: &str, flag: bool) -> Self {
        self.with(key, Value::Flag(flag))
    }

    fn maybe_fraction(self, key: &str, number: Option<f64>) -> Self {
        match number {
            Some(number) => self.with(key, Value::Fraction(number)),
            None => self,
        }
    }

    fn method(self, told: &Told) -> Self {
        let Some(method) = &told.method else { return self.text("http.request.method", "_OTHER") };
        let is_known = matches!(
            method.as_str(),
            "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH"
        );
        if is_known {
            return self.text("http.request.method", method.as_str());
        }
        self.text("http.request.method", "_OTHER").text("http.request.method_original", method.as_str())
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Path and query.
fn split(target: &Text) -> (String, Option<String>) {
    let target = target.bytes().map(lossy).unwrap_or_default();
    match target.split_once('?') {
        Some((path, query)) => (path.into(), Some(query.into())),
        None => (target, None),
    }
}

/// Host and port.
fn authority(host: &Text) -> (String, Option<u16>) {
    let host = host.bytes().map(lossy).unwrap_or_default();
    match host.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?))) {
        Some((host, port)) => (host, Some(port)),
        None => (host, None),
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
