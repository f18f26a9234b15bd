//! An answer's head means the same in whatever pieces it comes, to another parser, and when it is written out again.

#![no_main]

use bytes::{Bytes, BytesMut};
use httparse::{EMPTY_HEADER, Status};
use hyper::ext::ReasonPhrase;
use hyper::{Method, Version};
use libfuzzer_sys::fuzz_target;
use switchback::proxy::h1::encoder;
use switchback::proxy::h1::framing::{Framing, has_no_content, of_answer};
use switchback::proxy::h1::head::{BadHead, HeadLimits, Lines, answer};
use switchback::proxy::message::Response;
use switchback_fuzz::however_cut;
use switchback_fuzz::reference::{SLOTS, has_bare_lf, of_fields, plain, sorted};

/// Small enough to be met.
const LIMITS: HeadLimits = HeadLimits { bytes: 1024, fields: 16 };

fuzz_target!(|bytes: &[u8]| {
    let read_cut = |pieces: &[&[u8]]| read(pieces).map(|read| read.map(|(head, length)| (format!("{head:?}"), length)));
    let _ = however_cut(bytes, read_cut);
    match read(&[bytes]) {
        Ok(None) => {}
        Ok(Some((head, length))) => {
            check(&head);
            check_elsewhere(&head, &bytes[..length]);
            check_written(&head);
        }
        Err(bad) => check_refused(bad, bytes),
    }
});

/// The first head, and how many bytes it took; `None` where there are too few of them.
fn read(pieces: &[&[u8]]) -> Result<Option<(Response<()>, usize)>, BadHead> {
    let (mut lines, mut input, mut length) = (Lines::default(), BytesMut::new(), 0);
    for piece in pieces {
        input.extend_from_slice(piece);
        length += piece.len();
        if let Some(head) = lines.take(&mut input, LIMITS, answer)? {
            return Ok(Some((head, length - input.len())));
        }
    }
    Ok(None)
}

/// What its reason is, where that could be another than the usual one.
fn reason(head: &Response<()>) -> &[u8] {
    let usual = head.status.canonical_reason().unwrap_or_default();
    head.reason.as_ref().map_or(usual.as_bytes(), Bytes::as_ref)
}

fn check(head: &Response<()>) {
    assert!((100..600).contains(&head.status.as_u16()));
    assert!(ReasonPhrase::try_from(reason(head)).is_ok(), "{head:?}");
    for (_, value) in head.fields.iter() {
        assert!(!value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{head:?}");
        assert_eq!(value.as_bytes().trim_ascii(), value.as_bytes(), "{head:?}");
    }
    assert!(head.fields.len() <= LIMITS.fields);
    let framing = |method| of_answer(&method, head.status, head.version, &head.fields);
    match framing(Method::GET) {
        Ok(Framing::Length(0)) | Err(_) => {}
        Ok(_) => assert!(!has_no_content(head.status)),
    }
    // Whether a head can be read must not depend on what was asked, and one without content has none.
    assert_eq!(framing(Method::HEAD), framing(Method::GET).map(|_| Framing::Length(0)));
}

/// Another parser, which is asked to forgive nothing, reads the same.
fn check_elsewhere(head: &Response<()>, bytes: &[u8]) {
    assert!(!has_bare_lf(bytes));
    let mut fields = [EMPTY_HEADER; SLOTS];
    let mut other = httparse::Response::new(&mut fields);
    assert_eq!(other.parse(bytes), Ok(Status::Complete(bytes.len())), "{head:?}");
    assert_eq!(other.code, Some(head.status.as_u16()));
    assert_eq!(other.version, Some(u8::from(head.version == Version::HTTP_11)));
    // It passes over reasons that are not ASCII.
    assert!(!reason(head).is_ascii() || other.reason.map(str::as_bytes) == Some(reason(head)), "{head:?}");
    assert_eq!(sorted(plain(other.headers)), of_fields(&head.fields));
}

/// As the client gets it, it says the same.
fn check_written(head: &Response<()>) {
    let mut output = BytesMut::new();
    encoder::status_line(&mut output, head.status, reason(head));
    head.fields.write_to(&mut output, &[]);
    output.extend_from_slice(b"\r\n");
    let (mut lines, room) = (Lines::default(), HeadLimits { bytes: 8 * LIMITS.bytes, fields: LIMITS.fields });
    let again = lines.take(&mut output, room, answer).expect("what is written can be read").expect("it is whole");
    assert!(output.is_empty());
    assert_eq!((again.status, &again.reason, &again.fields), (head.status, &head.reason, &head.fields));
    if head.version == Version::HTTP_11 {
        let framing = |head: &Response<()>| of_answer(&Method::GET, head.status, head.version, &head.fields);
        assert_eq!(framing(&again), framing(head));
    }
}

/// What is refused here and read elsewhere is refused for a reason.
fn check_refused(bad: BadHead, bytes: &[u8]) {
    let mut fields = [EMPTY_HEADER; SLOTS];
    let mut other = httparse::Response::new(&mut fields);
    let Ok(Status::Complete(length)) = other.parse(bytes) else { return };
    let bytes = &bytes[..length];
    let status = other.code.expect("it was read whole");
    assert!(
        match bad {
            BadHead::LineEnd => has_bare_lf(bytes),
            BadHead::TooLong | BadHead::TargetTooLong => length > LIMITS.bytes || other.headers.len() > LIMITS.fields,
            // It passes over empty lines before an answer.
            BadHead::StatusLine => !(100..600).contains(&status) || bytes.starts_with(b"\r\n"),
            _ => bytes.starts_with(b"\r\n"),
        },
        "{bad:?}: {:?}",
        String::from_utf8_lossy(bytes)
    );
}
