//! gRPC's own health check, `grpc.health.v1.Health/Check`.
//!
//! Its two messages have one field each, so they are written and read by hand.

use bytes::{BufMut, Bytes, BytesMut};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE, USER_AGENT as USER_AGENT_FIELD};
use hyper::{Method, Request, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Sick, USER_AGENT, http2};
use crate::proxy::health::pair::Pair;

const PATH: &str = "/grpc.health.v1.Health/Check";

/// Bytes of an answer. It has two; more are fields that we do not know.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// Bytes of what a member says in one field that are passed on.
const SHOWN_BYTES_MAX: usize = 120;

/// Before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Asks for the health of a service. `heard` becomes true with the answer's head.
///
/// # Errors
/// What is wrong with it.
pub(super) async fn ask<M, S>(service: &str, pair: &Pair<M>, stream: &mut S, heard: &mut bool) -> Result<(), Sick>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = Request::builder()
        .method(Method::POST)
        .uri(http2::uri(pair, &pair.authority, PATH)?)
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT_FIELD, USER_AGENT)
        .body(())
        .expect("its parts are good");
    let mut content = Vec::new();
    let look = |piece: &[u8]| {
        content.extend_from_slice(piece);
        content.len() <= ANSWER_BYTES_MAX
    };
    let answer =
        http2::exchange(stream, request, message(service), heard, |head| head.status() == StatusCode::OK, look).await?;
    let fields = answer.head.headers();
    if answer.head.status() != StatusCode::OK {
        return Err(Sick::NotGrpc(format!("status {}", answer.head.status().as_u16())));
    }
    let kind = fields.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !kind.starts_with(b"application/grpc") {
        return Err(Sick::NotGrpc(format!("content of type \"{}\"", shown(kind))));
    }
    if content.len() > ANSWER_BYTES_MAX {
        return Err(Sick::NotGrpc(format!("more than {ANSWER_BYTES_MAX} bytes")));
    }
    // An answer that consists of trailers alone has them as its head.
    status(if answer.trailers.is_empty() { fields } else { &answer.trailers })?;
    match serving(&content).ok_or_else(|| Sick::NotGrpc("a message that cannot be read".into()))? {
        1 => Ok(()),
        other => Err(Sick::GrpcHealth(serving_name(other))),
    }
}

/// `HealthCheckRequest { string service = 1; }`, behind its prefix.
fn message(service: &str) -> Bytes {
    let mut field = BytesMut::new();
    // proto3 leaves out what is empty.
    if !service.is_empty() {
        field.put_u8(1 << 3 | 2);
        put_varint(&mut field, service.len());
        field.put_slice(service.as_bytes());
    }
    let mut message = BytesMut::with_capacity(PREFIX_BYTES + field.len());
    message.put_u8(0);
    message.put_u32(u32::try_from(field.len()).expect("a service's name is short"));
    message.put_slice(&field);
    message.freeze()
}

fn put_varint(output: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        output.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    output.put_u8(value as u8);
}

/// How the call went.
fn status(fields: &HeaderMap) -> Result<(), Sick> {
    let code = fields.get("grpc-status").ok_or_else(|| Sick::NotGrpc("no grpc-status".into()))?;
    if code.as_bytes() == b"0" {
        return Ok(());
    }
    let message = fields.get("grpc-message").map(HeaderValue::as_bytes).unwrap_or_default();
    Err(Sick::GrpcStatus { code: code_name(code), message: shown(message) })
}

fn shown(text: &[u8]) -> String {
    text[..text.len().min(SHOWN_BYTES_MAX)].escape_ascii().to_string()
}

/// The status in `HealthCheckResponse { ServingStatus status = 1; }`, behind its prefix. Fields that are not known are
/// skipped, as protobuf has it.
fn serving(content: &[u8]) -> Option<u64> {
    let (prefix, mut message) = content.split_at_checked(PREFIX_BYTES)?;
    let (compressed, length) = prefix.split_first()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    // We offer no compression.
    if *compressed != 0 || length as usize != message.len() {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = take_varint(&mut message)?,
            (_, 0) => drop(take_varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn serving_name(status: u64) -> String {
    match status {
        0 => "UNKNOWN".into(),
        2 => "NOT_SERVING".into(),
        3 => "SERVICE_UNKNOWN".into(),
        other => other.to_string(),
    }
}

/// A code with its name, for those that health services answer with.
fn code_name(code: &HeaderValue) -> String {
    let name = match code.as_bytes() {
        b"2" => " UNKNOWN",
        b"4" => " DEADLINE_EXCEEDED",
        b"5" => " NOT_FOUND",
        b"7" => " PERMISSION_DENIED",
        b"8" => " RESOURCE_EXHAUSTED",
        b"12" => " UNIMPLEMENTED",
        b"13" => " INTERNAL",
        b"14" => " UNAVAILABLE",
        b"16" => " UNAUTHENTICATED",
        _ => "",
    };
    format!("{}{name}", shown(code.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_service_if_there_is_one() {
        assert_eq!(&message("")[..], b"\0\0\0\0\0");
        assert_eq!(&message("shop")[..], b"\0\0\0\0\x06\x0a\x04shop");
        assert_eq!(&message(&"a".repeat(300))[..8], b"\0\0\0\x01\x2f\x0a\xac\x02");
    }

    #[test]
    fn a_status_is_found_among_fields_that_are_not_known() {
        let check = |message: &[u8], expected| {
            let mut content = vec![0, 0, 0, 0, message.len() as u8];
            content.extend_from_slice(message);
            assert_eq!(serving(&content), expected, "{message:?}");
        };
        check(b"", Some(0));
        check(b"\x08\x01", Some(1));
        check(b"\x08\x02", Some(2));
        check(b"\x10\xac\x02\x1a\x03abc\x25abcd\x29abcdefgh\x08\x01", Some(1));
        for broken in [
            &b"\x08"[..],
            b"\x08\x80",
            b"\x1a\x05abc",
            b"\x0b",
            b"\x25abc",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            check(broken, None);
        }
        for broken in [&b""[..], b"\0\0\0\0", b"\x01\0\0\0\0", b"\0\0\0\0\x01", b"\0\0\0\0\0\0"] {
            assert_eq!(serving(broken), None, "{broken:?}");
        }
    }
}
