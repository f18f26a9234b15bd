//! Requests that end here: those that ask the proxy itself, and those to a vip that sends clients elsewhere.

use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION, MAX_FORWARDS};
use hyper::{Method, StatusCode};

use super::error::Malformed;
use super::head::Head;
use super::message::Response;
use super::response::Body;

/// What is said of the server as a whole: any method is passed on but CONNECT.
const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS, TRACE";

/// Fields that a trace must not show (RFC 9110, 9.3.8): whoever can have one made could read them.
const SECRETS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// The answer to a request that goes no further: `OPTIONS *` asks about the server as a whole (RFC 9110, 9.3.7), and
/// TRACE and OPTIONS say how far they shall go (RFC 9110, 7.6.2).
///
/// # Errors
/// When it does not say that in a way that can be understood.
pub fn ends_here(head: &mut Head) -> Result<Option<Response<Body>>, Malformed> {
    let is_trace = head.method() == Method::TRACE;
    if !is_trace && head.method() != Method::OPTIONS {
        return Ok(None);
    }
    if head.path() == "*" {
        return Ok(Some(options()));
    }
    let mut values = head.header_values(MAX_FORWARDS.as_str());
    let Some(value) = values.next() else { return Ok(None) };
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    if values.next().is_some() || !is_number {
        return Err(Malformed::MaxForwards);
    }
    // More than fits is as good as for ever.
    let left: u64 = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
    drop(values);
    if left == 0 {
        return Ok(Some(if is_trace { trace(head) } else { options() }));
    }
    head.fields_mut().insert(MAX_FORWARDS, HeaderValue::from(left - 1));
    Ok(None)
}

fn options() -> Response<Body> {
    let mut response = Response::new(Body::full(""));
    response.fields.insert(ALLOW, METHODS);
    response
}

/// The request as it came here (RFC 9110, 9.3.8).
fn trace(head: &Head) -> Response<Body> {
    let mut text = format!("{} {} HTTP/1.1\r\n", head.method(), head.target()).into_bytes();
    for (name, value) in head.headers().filter(|(name, _)| !SECRETS.contains(name)) {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    let mut response = Response::new(Body::full(text));
    response.fields.insert(CONTENT_TYPE, "message/http");
    response
}

/// Sends a client to the same place over `https`. 308 keeps the method and the content (RFC 9110, 15.4.9).
pub fn redirect_to_https(head: &Head, port: u16) -> Response<Body> {
    let host = head.host();
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let mut response = Response::new(Body::full(""));
    response.status = StatusCode::PERMANENT_REDIRECT;
    if let Ok(location) = HeaderValue::try_from(format!("https://{host}{port}{}", head.target())) {
        response.fields.insert(LOCATION, location);
    }
    response.fields.insert(CACHE_CONTROL, "no-store");
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(
        method: &'static str,
        target: &'static str,
        max_forwards: &'static [u8],
    ) -> Result<Option<u16>, Malformed> {
        let mut head = Head::probe(method, target, &[("max-forwards", max_forwards)]);
        ends_here(&mut head).map(|response| response.map(|response| response.status.as_u16()))
    }

    #[test]
    fn a_request_that_may_go_no_further_ends_here() {
        assert_eq!(answered("TRACE", "/", b"0"), Ok(Some(200)));
        assert_eq!(answered("OPTIONS", "/", b"0"), Ok(Some(200)));
        assert_eq!(answered("OPTIONS", "*", b"9"), Ok(Some(200)));
        assert_eq!(answered("OPTIONS", "/", b"1"), Ok(None));
        assert_eq!(answered("GET", "/", b"0"), Ok(None));
        assert_eq!(answered("OPTIONS", "/", b"-1"), Err(Malformed::MaxForwards));
    }

    #[test]
    fn one_that_goes_on_may_go_one_step_less() {
        let mut head = Head::probe("TRACE", "/", &[("max-forwards", b"07")]);
        assert!(ends_here(&mut head).unwrap().is_none());
        assert_eq!(head.header("max-forwards"), Some(&b"6"[..]));
    }

    #[test]
    fn a_trace_shows_no_secrets() {
        let head = Head::probe("TRACE", "/a?b", &[("cookie", b"c"), ("x-a", b"1"), ("authorization", b"d")]);
        let Body::Full(Some(text)) = trace(&head).body else { panic!("expected content") };
        assert_eq!(&text[..], b"TRACE /a?b HTTP/1.1\r\nx-a: 1\r\nhost: probe.invalid\r\n\r\n");
    }

    #[test]
    fn the_redirect_keeps_host_path_and_query() {
        let location = |port| {
            let response = redirect_to_https(&Head::probe("GET", "/a?b=c", &[]), port);
            response.fields.get(LOCATION).unwrap().to_value()
        };
        assert_eq!(location(443), "https://probe.invalid/a?b=c");
        assert_eq!(location(8443), "https://probe.invalid:8443/a?b=c");
    }
}
