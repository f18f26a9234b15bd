//! Errors as gRPC clients read them: status 200, and what went wrong in the trailers.

use std::fmt::Write as _;

use hyper::StatusCode;
use hyper::header::HeaderValue;

use super::fields::name::{CONTENT_TYPE, Known};
use super::fields::{Fields, Value};
use super::message::Response;
use super::response::Body;

const GRPC_STATUS: Known = Known::new("grpc-status");
const GRPC_MESSAGE: Known = Known::new("grpc-message");

/// Whether a request is a call of gRPC.
pub fn is_call(fields: &Fields) -> bool {
    let kind = fields.get(CONTENT_TYPE).map(Value::as_bytes).unwrap_or_default();
    let rest = kind.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// An answer that consists of trailers alone ("Trailers-Only" in gRPC over HTTP/2), which are then the head.
pub fn error(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = Response::new(Body::full(""));
    let fields = &mut response.fields;
    fields.insert(CONTENT_TYPE, "application/grpc");
    fields.insert(GRPC_STATUS, code(status));
    if let Ok(message) = HeaderValue::from_str(&percent_encoded(message)) {
        fields.insert(GRPC_MESSAGE, message);
    }
    response
}

/// As gRPC's "HTTP to gRPC Status Code Mapping" has it, so that a client sees what it would make of our status itself.
fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 | 431 => "13",             // INTERNAL
        401 => "16",                   // UNAUTHENTICATED
        403 => "7",                    // PERMISSION_DENIED
        404 | 501 => "12",             // UNIMPLEMENTED
        413 => "8",                    // RESOURCE_EXHAUSTED
        408 | 429 | 502..=504 => "14", // UNAVAILABLE
        _ => "2",                      // UNKNOWN
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_known_by_their_content_type() {
        let check = |kind: &'static str, expected| {
            let mut fields = Fields::default();
            fields.insert(CONTENT_TYPE, kind);
            assert_eq!(is_call(&fields), expected, "{kind}");
        };
        check("application/grpc", true);
        check("application/grpc+proto", true);
        check("application/grpc-web", false);
        check("application/json", false);
    }

    #[test]
    fn an_error_is_said_in_trailers_alone() {
        let response = error(StatusCode::BAD_GATEWAY, "50% ü");
        assert_eq!(response.status, StatusCode::OK);
        let said = |name| response.fields.get(name).and_then(Value::to_str);
        assert_eq!((said(GRPC_STATUS), said(GRPC_MESSAGE)), (Some("14"), Some("50%25 %C3%BC")));
    }
}
