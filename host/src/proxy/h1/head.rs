//! Reads heads and trailers, to the letter of RFC 9112: CRLF ends a line, and nothing else does.
//!
//! A head is found by its lines ([`Lines`]), and then read where it lies: what is kept of it is copied once.

use bytes::{Buf as _, Bytes, BytesMut};
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode, Uri, Version};
use memchr::memchr;

use crate::grammar::is_of_text;
use crate::proxy::fields::{BadField, Fields};
use crate::proxy::message::{RequestHead, Response};

/// How long a head may be.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of all lines together.
    pub bytes: usize,
    /// Fields.
    pub fields: usize,
}

/// Why bytes are no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// RFC 9112, 2.2: a line that ends in LF alone, or holds a CR.
    #[error("a line does not end in CRLF")]
    LineEnd,
    /// RFC 9112, 3: not method, target and version with one space between each.
    #[error("the request line is not one")]
    RequestLine,
    /// RFC 9112, 3.2: not a target, or with bytes that no target may have.
    #[error("the request target is not one")]
    Target,
    /// RFC 9110, 15.6.6: a major version other than 1.
    #[error("this version of HTTP is not spoken here")]
    Version,
    /// RFC 9112, 4: not version, three digits and a reason.
    #[error("the status line is not one")]
    StatusLine,
    /// RFC 9112, 5: not a name, a colon and a value.
    #[error("a header field is not one")]
    Field,
    /// RFC 9112, 5.2: a line that begins with white space.
    #[error("a header field is folded")]
    Fold,
    /// RFC 9112, 3: a request line longer than the limit.
    #[error("the request target is too long")]
    TargetTooLong,
    /// RFC 6585, 5: more bytes or fields than the limit.
    #[error("the header fields are too many or too long")]
    TooLong,
}

/// Where lines end in what is read so far, so that no byte is looked at twice when a head comes in pieces.
#[derive(Debug, Default)]
pub struct Lines {
    /// One past the LF of each line.
    ends: Vec<usize>,
    /// How far was looked.
    seen: usize,
}

/// Lines that there is always room for, once there was one head: those of an ordinary request.
const ENDS_KEPT: usize = 32;

/// Lines before a request line that are empty, as some clients send after a body, and are skipped (RFC 9112, 2.2).
const EMPTY_LINES_MAX: usize = 4;

impl Lines {
    /// Takes a whole head off `input`, its empty line included, as `read` reads it; `None` where more must come.
    ///
    /// # Errors
    /// When it cannot become one, or is none.
    pub fn take<T>(
        &mut self,
        input: &mut BytesMut,
        limits: HeadLimits,
        read: impl FnOnce(&[u8], &Self) -> Result<T, BadHead>,
    ) -> Result<Option<T>, BadHead> {
        Ok(self.read(input, limits, read)?.map(|(head, end)| {
            input.advance(end);
            head
        }))
    }

    /// Reads the head at the front of `input`; answers it and where it ends, or `None` where more must come.
    ///
    /// # Errors
    /// When it cannot become one, or is none.
    pub fn read<T>(
        &mut self,
        input: &[u8],
        limits: HeadLimits,
        read: impl FnOnce(&[u8], &Self) -> Result<T, BadHead>,
    ) -> Result<Option<(T, usize)>, BadHead> {
        let Some(end) = self.find(input, limits)? else { return Ok(None) };
        let head = read(&input[..end], self)?;
        self.ends.clear();
        self.seen = 0;
        Ok(Some((head, end)))
    }

    /// Where the head at the front of `input` ends.
    fn find(&mut self, input: &[u8], limits: HeadLimits) -> Result<Option<usize>, BadHead> {
        loop {
            let begin = self.ends.last().copied().unwrap_or(0);
            let Some(found) = memchr(b'\n', &input[self.seen..]) else {
                self.seen = input.len();
                if input.len() > limits.bytes {
                    return Err(self.too_long());
                }
                return Ok(None);
            };
            let end = self.seen + found + 1;
            self.seen = end;
            // First: that a line is too long shows before its end has come, and may not depend on how much came at once.
            if end > limits.bytes || self.ends.len() > limits.fields + 1 {
                return Err(self.too_long());
            }
            if input[begin..end].len() < 2 || input[end - 2] != b'\r' {
                return Err(BadHead::LineEnd);
            }
            self.ends.push(end);
            if end - begin == 2 {
                return Ok(Some(end));
            }
        }
    }

    /// Drops empty lines at the front of `input`; answers whether a line that is not empty may begin there.
    ///
    /// # Errors
    /// When there are too many of them.
    pub fn skip_empty(&mut self, input: &mut BytesMut, skipped: &mut usize) -> Result<bool, BadHead> {
        while input.first() == Some(&b'\r') {
            match input.get(1) {
                None => return Ok(false),
                Some(b'\n') if *skipped < EMPTY_LINES_MAX => {
                    let _ = input.split_to(2);
                    *skipped += 1;
                }
                Some(_) => return Err(BadHead::RequestLine),
            }
        }
        Ok(!input.is_empty())
    }

    /// Gives back the memory that a long head has taken.
    pub fn rest(&mut self) {
        self.ends.shrink_to(ENDS_KEPT);
    }

    fn too_long(&self) -> BadHead {
        if self.ends.is_empty() { BadHead::TargetTooLong } else { BadHead::TooLong }
    }

    /// The first line of the head that was found, and the fields behind it.
    fn split<'a>(&self, head: &'a [u8]) -> Option<(&'a [u8], Section<'a, '_>)> {
        // The last line is the empty one.
        let (first, ends) = self.ends.split_first()?;
        let (_, ends) = ends.split_last()?;
        Some((&head[..first - 2], Section { bytes: head, begin: *first, ends }))
    }
}

/// Lines of fields, each with its CRLF.
struct Section<'a, 'b> {
    bytes: &'a [u8],
    begin: usize,
    ends: &'b [usize],
}

impl Section<'_, '_> {
    fn read(&self) -> Result<Fields, BadField> {
        let end = self.ends.last().copied().unwrap_or(self.begin);
        Fields::read(&self.bytes[self.begin..end], self.begin, self.ends)
    }
}

/// Reads a request's head that [`Lines::take`] has found.
///
/// # Errors
/// What RFC 9112 does not allow.
pub fn request(head: &[u8], lines: &Lines) -> Result<RequestHead, BadHead> {
    let (line, fields) = lines.split(head).ok_or(BadHead::RequestLine)?;
    let first = memchr(b' ', line).ok_or(BadHead::RequestLine)?;
    let second = first + 1 + memchr(b' ', &line[first + 1..]).ok_or(BadHead::RequestLine)?;
    let method = Method::from_bytes(&line[..first]).map_err(|_| BadHead::RequestLine)?;
    if method == "PRI" {
        // RFC 9113, 11.6: no request has it, so that none looks like HTTP/2.
        return Err(BadHead::RequestLine);
    }
    let version = request_version(&line[second + 1..])?;
    let target = &line[first + 1..second];
    if target.is_empty() {
        return Err(BadHead::RequestLine);
    }
    if !target.iter().all(|byte| is_of_target(*byte)) {
        return Err(BadHead::Target);
    }
    let target = if method == Method::OPTIONS && is_absolute_without_path(target) {
        // RFC 9112, 3.2.4: it asks about the server as a whole.
        Uri::from_static("*")
    } else {
        Uri::try_from(target).map_err(|_| BadHead::Target)?
    };
    Ok(RequestHead { method, target, version, fields: fields.read()?, protocol: None })
}

/// Reads an answer's head that [`Lines::take`] has found.
///
/// # Errors
/// What RFC 9112 does not allow.
pub fn answer(head: &[u8], lines: &Lines) -> Result<Response<()>, BadHead> {
    let (line, fields) = lines.split(head).ok_or(BadHead::StatusLine)?;
    let (version, rest) = line.split_at_checked(8).ok_or(BadHead::StatusLine)?;
    let version = match version {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        _ => return Err(BadHead::StatusLine),
    };
    let (status, reason) = match rest {
        [b' ', hundreds, tens, ones, reason @ ..] => ([*hundreds, *tens, *ones], reason),
        _ => return Err(BadHead::StatusLine),
    };
    // RFC 9112, 4: the space before the reason is there even where the reason is not. Many leave it out all the same.
    let reason_is_good = match reason {
        [] => true,
        [b' ', text @ ..] => text.iter().all(|byte| is_of_text(*byte)),
        _ => false,
    };
    let status = StatusCode::from_bytes(&status).ok().filter(|status| reason_is_good && status.as_u16() < 600);
    let status = status.ok_or(BadHead::StatusLine)?;
    let text = reason.get(1..).unwrap_or_default();
    let is_usual = status.canonical_reason().is_some_and(|usual| usual.as_bytes() == text);
    let reason = (!is_usual).then(|| Bytes::copy_from_slice(text));
    Ok(Response { status, version, reason, fields: fields.read()?, body: () })
}

/// Reads a trailer section that [`Lines::take`] has found.
///
/// # Errors
/// What RFC 9112 does not allow.
pub fn trailers(section: &[u8], lines: &Lines) -> Result<HeaderMap, BadHead> {
    let (_, ends) = lines.ends.split_last().ok_or(BadHead::Field)?;
    Ok(Section { bytes: section, begin: 0, ends }.read()?.to_map())
}

impl From<BadField> for BadHead {
    fn from(bad: BadField) -> Self {
        match bad {
            BadField::Folded => Self::Fold,
            BadField::Malformed => Self::Field,
        }
    }
}

/// RFC 9112, 2.3, and RFC 9110, 2.5: a higher minor version is spoken as the highest that is known.
fn request_version(text: &[u8]) -> Result<Version, BadHead> {
    match text {
        b"HTTP/1.1" => Ok(Version::HTTP_11),
        b"HTTP/1.0" => Ok(Version::HTTP_10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            if *major == b'1' {
                Ok(Version::HTTP_11)
            } else {
                Err(BadHead::Version)
            }
        }
        _ => Err(BadHead::RequestLine),
    }
}

fn is_absolute_without_path(target: &[u8]) -> bool {
    let colon = memchr(b':', target).filter(|colon| target[..*colon].iter().all(u8::is_ascii_alphanumeric));
    let after_scheme = colon.and_then(|colon| target[colon..].strip_prefix(b"://"));
    after_scheme.is_some_and(|rest| !rest.iter().any(|byte| matches!(byte, b'/' | b'?')))
}

/// What a target may consist of: visible ASCII, without `#`, which no target has, and `"`, `<`, `>`, which no URI has.
/// Others that RFC 3986 leaves out (`|`, `^`, braces) are sent by browsers as they are.
fn is_of_target(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>')
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 1024, fields: 4 };

    fn read(bytes: &[u8]) -> Result<Option<RequestHead>, BadHead> {
        let (mut lines, mut input) = (Lines::default(), BytesMut::from(bytes));
        lines.take(&mut input, LIMITS, request)
    }

    fn refused(bytes: &[u8]) -> BadHead {
        read(bytes).expect_err(&String::from_utf8_lossy(bytes))
    }

    #[test]
    fn a_head_is_read_whole_however_it_comes() {
        let bytes = b"GET /a?b HTTP/1.1\r\nHost: a\r\nX-Y:\t b c \r\n\r\nrest";
        let (mut lines, mut input) = (Lines::default(), BytesMut::new());
        let mut taken = None;
        for byte in bytes {
            input.extend_from_slice(&[*byte]);
            if taken.is_none() {
                taken = lines.take(&mut input, LIMITS, request).unwrap();
            }
        }
        let head = taken.unwrap();
        assert_eq!(
            (head.method, head.target.to_string(), head.version),
            (Method::GET, "/a?b".into(), Version::HTTP_11)
        );
        let fields: Vec<_> = head.fields.iter().map(|(name, value)| (name, value.to_str().unwrap())).collect();
        assert_eq!(fields, [("host", "a"), ("x-y", "b c")]);
        assert_eq!(&input[..], b"rest");
    }

    #[test]
    fn only_crlf_ends_a_line() {
        assert_eq!(refused(b"GET / HTTP/1.1\nHost: a\n\n"), BadHead::LineEnd);
        assert_eq!(refused(b"GET / HTTP/1.1\r\nHost: a\n\r\n"), BadHead::LineEnd);
        assert_eq!(refused(b"GET / HTTP/1.1\r\nHost: a\r\n\n"), BadHead::LineEnd);
        assert_eq!(refused(b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n"), BadHead::Field);
        assert_eq!(refused(b"GET / HTTP/1.1\r\nA: b\r\r\n\r\n"), BadHead::Field);
    }

    #[test]
    fn what_is_no_request_line_is_refused() {
        let check =
            |line: &str, expected| assert_eq!(refused(format!("{line}\r\n\r\n").as_bytes()), expected, "{line}");
        for line in
            ["GET /", "GET  / HTTP/1.1", "GET / HTTP/1.1 ", "GET /a b HTTP/1.1", " GET / HTTP/1.1", "GET\t/ HTTP/1.1"]
        {
            check(line, BadHead::RequestLine);
        }
        for line in ["GET / http/1.1", "GET / HTTP/1.10", "GET / HTTP/1", "G@T / HTTP/1.1", "GET / HTTP/1.1x"] {
            check(line, BadHead::RequestLine);
        }
        check("GET /a#b HTTP/1.1", BadHead::Target);
        check("GET /ä HTTP/1.1", BadHead::Target);
        check("GET / HTTP/2.0", BadHead::Version);
        assert_eq!(read(b"GET / HTTP/1.9\r\n\r\n").unwrap().unwrap().version, Version::HTTP_11);
    }

    #[test]
    fn what_is_no_field_is_refused() {
        let check = |field: &[u8], expected| {
            let bytes = [b"GET / HTTP/1.1\r\n", field, b"\r\n\r\n"].concat();
            assert_eq!(refused(&bytes), expected, "{}", String::from_utf8_lossy(field));
        };
        check(b"A : b", BadHead::Field);
        check(b"A\t: b", BadHead::Field);
        check(b": b", BadHead::Field);
        check(b"A", BadHead::Field);
        check(b"A: b\0", BadHead::Field);
        check(b"A: b\x7f", BadHead::Field);
        check(b"A\x80: b", BadHead::Field);
        check(b" A: b", BadHead::Fold);
        check(b"A: b\r\n c", BadHead::Fold);
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_is_whole() {
        assert_eq!(refused(&[b"GET /".as_slice(), &[b'a'; 2000]].concat()), BadHead::TargetTooLong);
        assert_eq!(refused(&[b"GET / HTTP/1.1\r\nA: ".as_slice(), &[b'a'; 2000]].concat()), BadHead::TooLong);
        let many = [b"GET / HTTP/1.1\r\n".as_slice(), &b"A: b\r\n".repeat(5), b"\r\n"].concat();
        assert_eq!(refused(&many), BadHead::TooLong);
    }

    #[test]
    fn a_line_that_is_too_long_is_so_whatever_ends_it() {
        let bytes = [b"GET /".as_slice(), &[b'a'; 2000], b"\n"].concat();
        for step in [1, 700, 3000] {
            let (mut lines, mut input) = (Lines::default(), BytesMut::new());
            let refused = bytes.chunks(step).find_map(|piece| {
                input.extend_from_slice(piece);
                lines.take(&mut input, LIMITS, request).err()
            });
            assert_eq!(refused, Some(BadHead::TargetTooLong), "by {step}");
        }
    }

    #[test]
    fn only_an_absolute_target_without_a_path_asks_about_the_whole_server() {
        let check = |target: &str, expected: &str| {
            let head = read(format!("OPTIONS {target} HTTP/1.1\r\n\r\n").as_bytes()).unwrap().unwrap();
            assert_eq!(head.target.to_string(), expected);
        };
        check("http://a", "*");
        check("HTTPS://a:8443", "*");
        check("/login?next=https://b", "/login?next=https://b");
        check("http://a/b?c=https://d", "http://a/b?c=https://d");
    }

    #[test]
    fn answers_are_read_with_and_without_a_reason() {
        let read = |bytes: &[u8]| {
            let (mut lines, mut input) = (Lines::default(), BytesMut::from(bytes));
            lines.take(&mut input, LIMITS, answer).map(|head| head.unwrap().status.as_u16())
        };
        assert_eq!(read(b"HTTP/1.1 200 OK\r\n\r\n"), Ok(200));
        assert_eq!(read(b"HTTP/1.0 404\r\n\r\n"), Ok(404));
        assert_eq!(read(b"HTTP/1.1 404 \r\n\r\n"), Ok(404));
        for bad in
            ["HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1  200 OK", "HTTP/2 200", "HTTP/1.1 099 x", "ICY 200 OK"]
        {
            assert_eq!(read(format!("{bad}\r\n\r\n").as_bytes()), Err(BadHead::StatusLine), "{bad}");
        }
    }
}
