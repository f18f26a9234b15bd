//! A request's head means the same in whatever pieces it comes, to another parser, and when it is written out again.

#![no_main]

use bytes::BytesMut;
use httparse::{EMPTY_HEADER, Status};
use hyper::{Method, Uri, Version};
use libfuzzer_sys::fuzz_target;
use switchback::proxy::h1::head::{BadHead, HeadLimits, Lines, request};
use switchback::proxy::h1::{encoder, framing};
use switchback::proxy::message::RequestHead;
use switchback_fuzz::however_cut;
use switchback_fuzz::reference::{SLOTS, has_bare_lf, of_fields, plain, sorted};

/// Small enough to be met.
const LIMITS: HeadLimits = HeadLimits { bytes: 1024, fields: 16 };

fuzz_target!(|bytes: &[u8]| {
    let read = |pieces: &[&[u8]]| read(pieces).map(|read| read.map(|(head, length)| (format!("{head:?}"), length)));
    let _ = however_cut(bytes, read);
    match read_whole(bytes) {
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
fn read(pieces: &[&[u8]]) -> Result<Option<(RequestHead, usize)>, BadHead> {
    let (mut lines, mut input, mut skipped, mut length) = (Lines::default(), BytesMut::new(), 0, 0);
    for piece in pieces {
        input.extend_from_slice(piece);
        length += piece.len();
        if lines.skip_empty(&mut input, &mut skipped)?
            && let Some(head) = lines.take(&mut input, LIMITS, request)?
        {
            return Ok(Some((head, length - input.len())));
        }
    }
    Ok(None)
}

fn read_whole(bytes: &[u8]) -> Result<Option<(RequestHead, usize)>, BadHead> {
    read(&[bytes])
}

fn check(head: &RequestHead) {
    assert!(!head.target.to_string().bytes().any(|byte| byte <= b' ' || byte >= 0x7f), "{head:?}");
    assert!(head.method != "PRI");
    for (_, value) in head.fields.iter() {
        assert!(!value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{head:?}");
        assert_eq!(value.as_bytes().trim_ascii(), value.as_bytes(), "{head:?}");
    }
    assert!(head.fields.len() <= LIMITS.fields);
}

/// Another parser, which is asked to forgive nothing, reads the same.
fn check_elsewhere(head: &RequestHead, bytes: &[u8]) {
    assert!(!has_bare_lf(bytes));
    let mut fields = [EMPTY_HEADER; SLOTS];
    let mut other = httparse::Request::new(&mut fields);
    let read = other.parse(bytes);
    if read == Err(httparse::Error::Version) {
        // It knows no minor version but 0 and 1.
        let line = bytes.split(|byte| *byte == b'\r').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
        assert!(!line.ends_with(b"HTTP/1.0") && !line.ends_with(b"HTTP/1.1") && head.version == Version::HTTP_11);
        return;
    }
    assert_eq!(read, Ok(Status::Complete(bytes.len())), "{head:?}");
    assert_eq!(other.method, Some(head.method.as_str()));
    assert_eq!(other.version, Some(u8::from(head.version == Version::HTTP_11)));
    let target = other.path.expect("it was read whole");
    let is_of_server = head.method == Method::OPTIONS && head.target == "*";
    assert!(is_of_server || target.parse::<Uri>().expect("it is one") == head.target, "{target:?}");
    assert_eq!(sorted(plain(other.headers)), of_fields(&head.fields));
}

/// As the member gets it, it says the same.
fn check_written(head: &RequestHead) {
    let mut output = BytesMut::new();
    encoder::request_line(&mut output, &head.method, &head.target.to_string());
    head.fields.write_to(&mut output, &[]);
    output.extend_from_slice(b"\r\n");
    let (mut lines, room) = (Lines::default(), HeadLimits { bytes: 8 * LIMITS.bytes, fields: LIMITS.fields });
    let again = lines.take(&mut output, room, request).expect("what is written can be read").expect("it is whole");
    assert!(output.is_empty());
    assert_eq!((&again.method, again.target.to_string()), (&head.method, head.target.to_string()));
    assert_eq!(again.fields, head.fields);
    if head.version == Version::HTTP_11 {
        let framing = |head: &RequestHead| framing::of_request(head.version, &head.fields);
        assert_eq!(framing(&again), framing(head));
    }
}

/// What is refused here and read elsewhere is refused for a reason.
fn check_refused(bad: BadHead, bytes: &[u8]) {
    let mut fields = [EMPTY_HEADER; SLOTS];
    let mut other = httparse::Request::new(&mut fields);
    let Ok(Status::Complete(length)) = other.parse(bytes) else { return };
    let bytes = &bytes[..length];
    let empty_lines = bytes.chunks(2).take_while(|two| two == b"\r\n").count();
    let target = other.path.expect("it was read whole");
    assert!(
        match bad {
            BadHead::LineEnd => has_bare_lf(bytes),
            BadHead::Target =>
                target.contains(|one| "#\"<>".contains(one)) || target.parse::<Uri>().is_err() || !target.is_ascii(),
            BadHead::TooLong | BadHead::TargetTooLong => length > LIMITS.bytes || other.headers.len() > LIMITS.fields,
            BadHead::RequestLine => empty_lines > 4 || other.method == Some("PRI"),
            // Bytes behind an LF that only the other one takes for an end.
            _ => false,
        },
        "{bad:?}: {:?}",
        String::from_utf8_lossy(bytes)
    );
}
