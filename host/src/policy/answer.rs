//! A guest's answer, checked: what comes out of here can be acted on without another look.
//!
//! A guest may answer anything its types allow: ten megabytes of headers, a value with a line end in it, status 42. All
//! of it is refused here, as a fault of the policy.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{StatusCode, header::HeaderMap};

use super::wasm::{WireField, WireResponse, WireRoute, WireTimeouts};
use super::{Fault, text};

/// Header fields one answer may carry.
const FIELDS_MAX: usize = 64;
/// Bytes of all their names and values together.
const FIELD_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a body that a policy answers with; more than that belongs on a member.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an affinity key.
const AFFINITY_BYTES_MAX: usize = 1024;

/// What a policy decided.
#[derive(Debug)]
pub enum Answer {
    /// The request goes to the pool at this position of the manifest, and so.
    Route(u32, Option<Box<Route>>),
    /// The policy answers itself.
    Respond(Box<Respond>),
}

/// How a request goes to its pool.
#[derive(Debug)]
pub struct Route {
    /// Requests with equal keys belong to the same member.
    pub affinity: Option<Vec<u8>>,
    /// Request fields to set.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Request fields to remove.
    pub remove: Vec<HeaderName>,
    /// Response fields to add.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// How long members may take, where the policy wants it to be another time.
    pub timeouts: RouteTimeouts,
    /// Why, safe to log.
    pub reason: Option<String>,
}

/// How long members may take for one request; what is `None` is as the vip or the pool says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteTimeouts {
    /// Until an answer begins.
    pub response: Option<Duration>,
    /// For which it may fall silent.
    pub between_bytes: Option<Duration>,
    /// For the whole exchange.
    pub whole: Option<Duration>,
}

/// An answer without a member.
#[derive(Debug)]
pub struct Respond {
    /// 200 to 599.
    pub status: StatusCode,
    /// The response's fields.
    pub headers: HeaderMap,
    /// The response's content.
    pub body: Bytes,
    /// Why, safe to log.
    pub reason: Option<String>,
}

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nonsense {
    /// The pool's position is beyond the manifest's pools.
    #[error("chose pool {0}, but its manifest names {1} pools")]
    Pool(u32, usize),
    /// Not a status of RFC 9110, 15, or an interim one.
    #[error("answered with status {0}, expected 200 to 599")]
    Status(u16),
    /// Not a token (RFC 9110, 5.1).
    #[error("header name `{0}` is not a token")]
    Name(String),
    /// The field frames the message or belongs to the connection: it is the proxy's alone.
    #[error("header `{0}` may not be set or removed by a policy")]
    Reserved(HeaderName),
    /// Not a field value (RFC 9110, 5.5).
    #[error("the value of header `{0}` holds bytes that a header may not carry")]
    Value(HeaderName),
    /// Too many fields.
    #[error("answered with {0} header fields, at most {FIELDS_MAX} are allowed")]
    Fields(usize),
    /// Fields that are too long.
    #[error("answered with header fields of more than {FIELD_BYTES_MAX} bytes")]
    FieldBytes,
    /// A body that is too long.
    #[error("answered with a body of {0} bytes, at most {BODY_BYTES_MAX} are allowed")]
    Body(usize),
    /// A key that is too long.
    #[error("answered with an affinity key of {0} bytes, at most {AFFINITY_BYTES_MAX} are allowed")]
    Affinity(usize),
    /// A time in which nothing can happen.
    #[error("asked for a timeout of zero")]
    Timeout,
}

/// Checks an answer that names one of `pools` by its position, and the timeouts that were asked for beside it.
pub(super) fn route(wire: WireRoute, timeouts: Option<WireTimeouts>, pools: usize) -> Result<Answer, Fault> {
    if wire.pool as usize >= pools {
        return Err(Nonsense::Pool(wire.pool, pools).into());
    }
    if is_plain(&wire) && timeouts.is_none() {
        return Ok(Answer::Route(wire.pool, None));
    }
    if let Some(key) = wire.affinity.as_ref().filter(|key| key.len() > AFFINITY_BYTES_MAX) {
        return Err(Nonsense::Affinity(key.len()).into());
    }
    let mut budget = Budget::new(
        wire.set_request_headers.len() + wire.remove_request_headers.len() + wire.add_response_headers.len(),
    )?;
    let route = Route {
        affinity: wire.affinity,
        set: budget.fields(wire.set_request_headers)?,
        remove: wire.remove_request_headers.iter().map(|name| budget.name(name)).collect::<Result<_, _>>()?,
        add: budget.fields(wire.add_response_headers)?,
        timeouts: timeouts.map(self::timeouts).transpose()?.unwrap_or_default(),
        reason: wire.reason.map(reason),
    };
    Ok(Answer::Route(wire.pool, Some(Box::new(route))))
}

/// Whether it names a pool and nothing else, as most answers do.
fn is_plain(wire: &WireRoute) -> bool {
    wire.affinity.is_none()
        && wire.set_request_headers.is_empty()
        && wire.remove_request_headers.is_empty()
        && wire.add_response_headers.is_empty()
        && wire.reason.is_none()
}

fn timeouts(wire: WireTimeouts) -> Result<RouteTimeouts, Nonsense> {
    let time = |millis: Option<u32>| match millis {
        Some(0) => Err(Nonsense::Timeout),
        millis => Ok(millis.map(|millis| Duration::from_millis(millis.into()))),
    };
    Ok(RouteTimeouts {
        response: time(wire.response_millis)?,
        between_bytes: time(wire.between_bytes_millis)?,
        whole: time(wire.whole_millis)?,
    })
}

pub(super) fn response(wire: WireResponse) -> Result<Answer, Fault> {
    let status = match StatusCode::from_u16(wire.status) {
        Ok(status) if (200..600).contains(&wire.status) => status,
        _ => return Err(Nonsense::Status(wire.status).into()),
    };
    if wire.body.len() > BODY_BYTES_MAX {
        return Err(Nonsense::Body(wire.body.len()).into());
    }
    let mut headers = HeaderMap::new();
    for (name, value) in Budget::new(wire.headers.len())?.fields(wire.headers)? {
        headers.append(name, value);
    }
    let respond = Respond { status, headers, body: wire.body.into(), reason: wire.reason.map(reason) };
    Ok(Answer::Respond(respond.into()))
}

fn reason(text: String) -> String {
    match text::printable(&text) {
        std::borrow::Cow::Borrowed(_) => text,
        std::borrow::Cow::Owned(escaped) => escaped,
    }
}

/// What is left of the bytes an answer's fields may have.
struct Budget {
    bytes: usize,
}

impl Budget {
    fn new(fields: usize) -> Result<Self, Nonsense> {
        if fields > FIELDS_MAX {
            return Err(Nonsense::Fields(fields));
        }
        Ok(Self { bytes: FIELD_BYTES_MAX })
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Nonsense> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Nonsense::FieldBytes)?;
        Ok(())
    }

    fn name(&mut self, text: &str) -> Result<HeaderName, Nonsense> {
        self.spend(text.len())?;
        let name =
            HeaderName::from_bytes(text.as_bytes()).map_err(|_| Nonsense::Name(text::printable(text).into_owned()))?;
        if is_reserved(&name) {
            return Err(Nonsense::Reserved(name));
        }
        Ok(name)
    }

    fn fields(&mut self, fields: Vec<WireField>) -> Result<Vec<(HeaderName, HeaderValue)>, Nonsense> {
        fields
            .into_iter()
            .map(|field| {
                let name = self.name(&field.name)?;
                self.spend(field.value.len())?;
                let value = HeaderValue::from_maybe_shared(Bytes::from(field.value));
                Ok((name.clone(), value.map_err(|_| Nonsense::Value(name))?))
            })
            .collect()
    }
}

/// Whether a field is the proxy's alone: neither policies nor configured rules change it.
pub fn is_reserved(name: &HeaderName) -> bool {
    RESERVED.contains(name) || name.as_str().starts_with("proxy-")
}

/// Fields that frame a message, belong to one connection (RFC 9110, 7.6.1), or say what was decided on.
const RESERVED: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    HeaderName::from_static("keep-alive"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn respond(status: u16, headers: &[(&str, &[u8])], body: usize) -> Result<Answer, String> {
        let headers =
            headers.iter().map(|(name, value)| WireField { name: (*name).into(), value: value.to_vec() }).collect();
        response(WireResponse { status, headers, body: vec![b'x'; body], reason: None })
            .map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_good_answer_passes() {
        let Ok(Answer::Respond(answer)) = respond(404, &[("x-why", b"gone")], 10) else { panic!("expected an answer") };
        assert_eq!((answer.status.as_u16(), answer.headers["x-why"].as_bytes()), (404, &b"gone"[..]));
    }

    #[test]
    fn timeouts_are_what_was_asked_for_and_never_zero() {
        let check = |[response, between_bytes, whole]: [Option<u32>; 3], expected: Result<RouteTimeouts, Nonsense>| {
            let wire =
                WireTimeouts { response_millis: response, between_bytes_millis: between_bytes, whole_millis: whole };
            assert_eq!(timeouts(wire), expected);
        };
        let time = |millis| Some(Duration::from_millis(millis));
        check([None; 3], Ok(RouteTimeouts::default()));
        check([Some(1), None, Some(3)], Ok(RouteTimeouts { response: time(1), between_bytes: None, whole: time(3) }));
        check(
            [None, Some(u32::MAX), None],
            Ok(RouteTimeouts { between_bytes: time(4_294_967_295), ..Default::default() }),
        );
        for zero in [[Some(0), None, None], [None, Some(0), None], [Some(1), None, Some(0)]] {
            check(zero, Err(Nonsense::Timeout));
        }
    }

    #[test]
    fn what_is_absurd_is_named() {
        let check = |answer: Result<Answer, String>, expected: &str| assert_eq!(answer.unwrap_err(), expected);
        check(respond(42, &[], 0), "answered with status 42, expected 200 to 599");
        check(respond(101, &[], 0), "answered with status 101, expected 200 to 599");
        check(respond(200, &[("bad name", b"")], 0), "header name `bad name` is not a token");
        check(
            respond(200, &[("x", b"a\r\nb: c")], 0),
            "the value of header `x` holds bytes that a header may not carry",
        );
        check(
            respond(200, &[("Transfer-Encoding", b"chunked")], 0),
            "header `transfer-encoding` may not be set or removed by a policy",
        );
        check(
            respond(200, &[("x", &[b'a'; FIELD_BYTES_MAX])], 0),
            "answered with header fields of more than 16384 bytes",
        );
        check(respond(200, &[("x", &b"a"[..]); 65], 0), "answered with 65 header fields, at most 64 are allowed");
        check(respond(200, &[], BODY_BYTES_MAX + 1), "answered with a body of 65537 bytes, at most 65536 are allowed");
    }
}
