//! How a line of the access log looks: JSON, the common forms, or a form of one's own.
//!
//! Clients choose most of what is in a line. None of it can end the line, leave its quotes, or reach a terminal as
//! anything but text.

use std::borrow::Cow;
use std::io::Write as _;
use std::time::Duration;

use hyper::Version;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::telemetry::told::{Text, Told, Try};

/// How lines look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// An object with all fields.
    Json,
    /// Text with fields in it.
    Template(Box<[Piece]>),
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it is written.
    Plain(Box<str>),
    /// What the exchange says.
    Field(Field),
}

/// Apache's `common`, which most programs read.
const COMMON: &str = r#"{client} - - [{clf_time}] "{method} {target} {version}" {status} {sent_bytes}"#;

/// The same with where the client came from, and what it is.
const COMBINED: &str =
    r#"{client} - - [{clf_time}] "{method} {target} {version}" {status} {sent_bytes} "{referer}" "{user_agent}""#;

/// Something that can be said of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is said once, in the table of names and in the README")]
pub enum Field {
    Time,
    ClfTime,
    RequestId,
    Client,
    Peer,
    Listener,
    Scheme,
    Method,
    Host,
    Target,
    Path,
    Query,
    Version,
    UserAgent,
    Referer,
    Vip,
    Release,
    Policy,
    DecisionTime,
    Reason,
    Pool,
    Member,
    Tries,
    ConnectTime,
    FirstByteTime,
    Status,
    ReceivedBytes,
    SentBytes,
    Duration,
    Ended,
    Fault,
    Error,
    TraceId,
}

impl Field {
    /// All of them with their names, in the order that JSON has them.
    pub const ALL: [(&str, Self); 33] = [
        ("time", Self::Time),
        ("clf_time", Self::ClfTime),
        ("request_id", Self::RequestId),
        ("client", Self::Client),
        ("peer", Self::Peer),
        ("listener", Self::Listener),
        ("scheme", Self::Scheme),
        ("method", Self::Method),
        ("host", Self::Host),
        ("target", Self::Target),
        ("path", Self::Path),
        ("query", Self::Query),
        ("version", Self::Version),
        ("user_agent", Self::UserAgent),
        ("referer", Self::Referer),
        ("vip", Self::Vip),
        ("release", Self::Release),
        ("policy", Self::Policy),
        ("decision_time", Self::DecisionTime),
        ("reason", Self::Reason),
        ("pool", Self::Pool),
        ("member", Self::Member),
        ("tries", Self::Tries),
        ("connect_time", Self::ConnectTime),
        ("first_byte_time", Self::FirstByteTime),
        ("status", Self::Status),
        ("received_bytes", Self::ReceivedBytes),
        ("sent_bytes", Self::SentBytes),
        ("duration", Self::Duration),
        ("ended", Self::Ended),
        ("fault", Self::Fault),
        ("error", Self::Error),
        ("trace_id", Self::TraceId),
    ];

    /// Whether JSON leaves it out, as it says the same otherwise.
    fn is_for_text(self) -> bool {
        matches!(self, Self::ClfTime | Self::Path | Self::Query)
    }
}

/// What is wrong with a template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// No such field.
    #[error("there is no field `{0}`; there are: {names}", names = names())]
    Unknown(String),
    /// A brace that is alone.
    #[error("expected a field's name between `{{` and `}}`; a brace itself is written twice")]
    Brace,
    /// It would not be one line.
    #[error("expected text on one line, without control characters")]
    Control,
    /// Nothing would be told.
    #[error("expected `json`, `common`, `combined`, or a text with fields such as `{{status}}` in it, got `{0}`")]
    NoField(String),
}

fn names() -> String {
    Field::ALL.map(|(name, _)| name).join(", ")
}

impl std::str::FromStr for Format {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        match text {
            "json" => Ok(Self::Json),
            "common" => template(COMMON),
            "combined" => template(COMBINED),
            own => template(own),
        }
    }
}

fn template(text: &str) -> Result<Format, TemplateError> {
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(TemplateError::Control);
    }
    let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace) = rest.split_at(at);
        plain += before;
        if let Some(after) = brace.strip_prefix("{{").or_else(|| brace.strip_prefix("}}")) {
            plain += &brace[..1];
            rest = after;
            continue;
        }
        let (name, after) =
            brace.strip_prefix('{').and_then(|name| name.split_once('}')).ok_or(TemplateError::Brace)?;
        let field = Field::ALL.iter().find(|(known, _)| *known == name);
        let (_, field) = field.ok_or_else(|| TemplateError::Unknown(name.escape_debug().to_string()))?;
        if !plain.is_empty() {
            pieces.push(Piece::Plain(std::mem::take(&mut plain).into()));
        }
        pieces.push(Piece::Field(*field));
        rest = after;
    }
    plain += rest;
    if pieces.is_empty() {
        return Err(TemplateError::NoField(text.into()));
    }
    if !plain.is_empty() {
        pieces.push(Piece::Plain(plain.into()));
    }
    Ok(Format::Template(pieces.into()))
}

impl Format {
    /// Writes one exchange's line, without its end.
    pub fn write(&self, told: &Told, line: &mut Vec<u8>) {
        match self {
            Self::Json => json(told, line),
            Self::Template(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Plain(text) => line.extend_from_slice(text.as_bytes()),
                        Piece::Field(field) => text(value(told, *field), line),
                    }
                }
            }
        }
    }
}

/// What a field says.
enum Value<'a> {
    /// Safe as it is.
    Own(Cow<'a, str>),
    /// Somebody else's bytes.
    Foreign(&'a [u8]),
    Number(u64),
    Seconds(Duration),
    /// The same, of what takes less than a microsecond.
    Nanoseconds(Duration),
    Tries(&'a [Try]),
    Nothing,
}

fn value(told: &Told, field: Field) -> Value<'_> {
    let last = told.tries.last();
    match field {
        Field::Time => Value::Own(format!("{:.3}", time(told)).into()),
        Field::ClfTime => {
            Value::Own(time(told).to_zoned(TimeZone::UTC).strftime("%d/%b/%Y:%H:%M:%S +0000").to_string().into())
        }
        Field::RequestId => Value::Foreign(told.id.as_bytes()),
        Field::Client => own(told.client.or(told.peer.map(|peer| peer.ip())).map(|client| client.to_string())),
        Field::Peer => own(told.peer.map(|peer| peer.to_string())),
        Field::Listener => Value::Own((&*told.listener).into()),
        Field::Scheme => Value::Own(told.scheme.into()),
        Field::Method => foreign(told.method.as_ref().map(|method| method.as_str().as_bytes())),
        Field::Host => foreign(told.host.bytes()),
        Field::Target => foreign(told.target.bytes()),
        Field::Path => foreign(split(&told.target).0),
        Field::Query => foreign(split(&told.target).1),
        Field::Version => own(told.version.map(version)),
        Field::UserAgent => foreign(told.user_agent.bytes()),
        Field::Referer => foreign(told.referer.bytes()),
        Field::Vip => own(told.vip.as_deref()),
        Field::Release => number(told.vip.is_some().then_some(told.release)),
        Field::Policy => own(told.policy.as_deref()),
        Field::DecisionTime => told.decision.map_or(Value::Nothing, |(_, took)| Value::Nanoseconds(took)),
        Field::Reason => foreign(told.reason.bytes()),
        Field::Pool => own(told.pool.as_deref()),
        Field::Member => own(last.map(|tried| tried.member.to_string())),
        Field::Tries => Value::Tries(&told.tries),
        Field::ConnectTime => seconds(last.and_then(|tried| tried.connecting)),
        Field::FirstByteTime => seconds(last.and_then(|tried| tried.first_byte)),
        Field::Status => number(told.status.map(|status| status.as_u16().into())),
        Field::ReceivedBytes => Value::Number(told.received_bytes),
        Field::SentBytes => Value::Number(told.sent_bytes),
        Field::Duration => Value::Seconds(told.duration()),
        Field::Ended => Value::Own(told.ended.name().into()),
        Field::Fault => Value::Own(told.ended.fault().name().into()),
        Field::Error => foreign(told.error.as_ref().map(|error| error.as_bytes())),
        Field::TraceId => own(told.trace.map(|trace| format!("{:032x}", trace.id))),
    }
}

fn own<'a>(text: Option<impl Into<Cow<'a, str>>>) -> Value<'a> {
    text.map_or(Value::Nothing, |text| Value::Own(text.into()))
}

fn foreign(bytes: Option<&[u8]>) -> Value<'_> {
    bytes.map_or(Value::Nothing, Value::Foreign)
}

fn number<'a>(number: Option<u64>) -> Value<'a> {
    number.map_or(Value::Nothing, Value::Number)
}

fn seconds<'a>(time: Option<Duration>) -> Value<'a> {
    time.map_or(Value::Nothing, Value::Seconds)
}

fn time(told: &Told) -> Timestamp {
    Timestamp::from_nanosecond(told.began_unix_nanos.into()).unwrap_or_default()
}

/// Path and query.
fn split(target: &Text) -> (Option<&[u8]>, Option<&[u8]>) {
    let Some(target) = target.bytes() else { return (None, None) };
    match memchr::memchr(b'?', target) {
        Some(at) => (Some(&target[..at]), Some(&target[at + 1..])),
        None => (Some(target), None),
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

fn text(value: Value<'_>, line: &mut Vec<u8>) {
    let _ = match value {
        Value::Own(text) => {
            escape(text.as_bytes(), line);
            Ok(())
        }
        Value::Foreign(bytes) => {
            escape(bytes, line);
            Ok(())
        }
        Value::Number(number) => write!(line, "{number}"),
        Value::Seconds(time) => write!(line, "{:.6}", time.as_secs_f64()),
        Value::Nanoseconds(time) => write!(line, "{:.9}", time.as_secs_f64()),
        Value::Tries([]) | Value::Nothing => line.write_all(b"-"),
        Value::Tries(tries) => {
            let tries: Vec<_> = tries.iter().map(|it| format!("{}={}", it.member, it.came.name())).collect();
            escape(tries.join(",").as_bytes(), line);
            Ok(())
        }
    };
}

/// As Apache and nginx do.
fn escape(bytes: &[u8], line: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f..=0xff => {
                let _ = write!(line, "\\x{byte:02X}");
            }
            _ => line.push(*byte),
        }
    }
}

fn json(told: &Told, line: &mut Vec<u8>) {
    line.push(b'{');
    for (at, (name, field)) in Field::ALL.iter().filter(|(_, field)| !field.is_for_text()).enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(line, "{comma}\"{name}\":");
        let _ = match value(told, *field) {
            Value::Own(text) => quote(&text, line),
            Value::Foreign(bytes) => quote(&String::from_utf8_lossy(bytes), line),
            Value::Number(number) => write!(line, "{number}"),
            Value::Seconds(time) => write!(line, "{:.6}", time.as_secs_f64()),
            Value::Nanoseconds(time) => write!(line, "{:.9}", time.as_secs_f64()),
            Value::Tries(tries) => json_tries(tries, line),
            Value::Nothing => line.write_all(b"null"),
        };
    }
    line.push(b'}');
}

fn json_tries(tries: &[Try], line: &mut Vec<u8>) -> std::io::Result<()> {
    line.push(b'[');
    for (at, tried) in tries.iter().enumerate() {
        line.extend_from_slice(if at > 0 { b",{\"member\":" } else { b"{\"member\":" });
        quote(&tried.member.to_string(), line)?;
        write!(line, ",\"came\":\"{}\"", tried.came.name())?;
        match tried.status {
            Some(status) => write!(line, ",\"status\":{}", status.as_u16())?,
            None => line.extend_from_slice(b",\"status\":null"),
        }
        for (name, time) in [("connect_time", tried.connecting), ("first_byte_time", tried.first_byte)] {
            match time {
                Some(time) => write!(line, ",\"{name}\":{:.6}", time.as_secs_f64())?,
                None => write!(line, ",\"{name}\":null")?,
            }
        }
        line.push(b'}');
    }
    line.push(b']');
    Ok(())
}

/// A text of JSON. What terminals obey is escaped, too, which JSON does not ask for.
fn quote(text: &str, line: &mut Vec<u8>) -> std::io::Result<()> {
    line.push(b'"');
    for c in text.chars() {
        match c {
            '"' => line.extend_from_slice(b"\\\""),
            '\\' => line.extend_from_slice(b"\\\\"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}') => {
                write!(line, "\\u{:04x}", u32::from(c))?;
            }
            // Not by `write!`, which takes a hundred instructions for each.
            c => line.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    line.push(b'"');
    Ok(())
}

#[cfg(test)]
mod tests;
