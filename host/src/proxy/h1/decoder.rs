//! Takes a body out of its framing, piece by piece, as it comes.

use bytes::{Bytes, BytesMut};
use hyper::body::Frame;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, COOKIE, EXPECT, HOST,
    HeaderMap, HeaderName, MAX_FORWARDS, PROXY_AUTHORIZATION, RANGE, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use memchr::memchr;

use super::framing::Framing;
use super::head::{self, BadHead, HeadLimits, Lines};
use crate::grammar::{is_of_text, is_space, split_token};

/// Bytes of one chunk's first line: a size and perhaps extensions.
const CHUNK_LINE_BYTES_MAX: usize = 1024;

/// Bytes of all chunk extensions of a body: nobody reads them, and a body can consist of little else.
const EXTENSION_BYTES_MAX: usize = 16 * 1024;

/// Where a body's reader stands.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    limits: HeadLimits,
    extension_bytes: usize,
}

#[derive(Debug)]
enum State {
    Length(u64),
    ChunkLine,
    ChunkData(u64),
    ChunkEnd,
    Trailers(Lines),
    UntilClose,
    Done,
}

/// What could be taken out.
#[derive(Debug)]
pub enum Decoded {
    /// A piece of content, or the trailers.
    Frame(Frame<Bytes>),
    /// Nothing before more is read.
    Wanting,
    /// The body has ended.
    End,
}

/// Why bytes are no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    /// RFC 9112, 7.1: not hexadecimal digits that fit into 64 bits.
    #[error("a chunk's size is not one")]
    ChunkSize,
    /// RFC 9112, 7.1.1: not names and values, or more than anybody needs.
    #[error("a chunk's extension is not one")]
    ChunkExtension,
    /// RFC 9112, 7.1: a chunk does not end where its size says.
    #[error("a chunk does not end where its size says")]
    ChunkEnd,
    /// RFC 9112, 7.1.2.
    #[error("the trailers cannot be read: {0}")]
    Trailers(BadHead),
    /// RFC 9112, 8: the connection ended first.
    #[error("the body ends too early")]
    Incomplete,
}

impl Decoder {
    /// At the beginning of a body.
    pub fn new(framing: Framing, limits: HeadLimits) -> Self {
        let state = match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkLine,
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, limits, extension_bytes: 0 }
    }

    /// Whether the body has been taken out whole.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The bytes that are still to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Length(length) => Some(length),
            _ => None,
        }
    }

    /// Takes the next piece out of `input`. `ended` says that nothing will follow it.
    ///
    /// # Errors
    /// When it cannot be told where the body ends; then nothing after it can be understood either.
    pub fn decode(&mut self, input: &mut BytesMut, ended: bool) -> Result<Decoded, BadBody> {
        let decoded = self.step(input)?;
        if ended && matches!(decoded, Decoded::Wanting) {
            if matches!(self.state, State::UntilClose) {
                self.state = State::Done;
                return Ok(Decoded::End);
            }
            return Err(BadBody::Incomplete);
        }
        Ok(decoded)
    }

    fn step(&mut self, input: &mut BytesMut) -> Result<Decoded, BadBody> {
        loop {
            match &mut self.state {
                State::Done => return Ok(Decoded::End),
                State::UntilClose => return Ok(piece(input, u64::MAX).map_or(Decoded::Wanting, data)),
                State::Length(left) => {
                    let Some(piece) = piece(input, *left) else { return Ok(Decoded::Wanting) };
                    *left -= piece.len() as u64;
                    if *left == 0 {
                        self.state = State::Done;
                    }
                    return Ok(data(piece));
                }
                State::ChunkLine => {
                    let Some(line) = line(input)? else { return Ok(Decoded::Wanting) };
                    let (size, extensions) = chunk_size(&line)?;
                    self.extension_bytes += extensions;
                    if self.extension_bytes > EXTENSION_BYTES_MAX {
                        return Err(BadBody::ChunkExtension);
                    }
                    self.state = if size == 0 { State::Trailers(Lines::default()) } else { State::ChunkData(size) };
                }
                State::ChunkData(left) => {
                    let Some(piece) = piece(input, *left) else { return Ok(Decoded::Wanting) };
                    *left -= piece.len() as u64;
                    if *left == 0 {
                        self.state = State::ChunkEnd;
                    }
                    return Ok(data(piece));
                }
                State::ChunkEnd => match input.get(..2) {
                    Some(b"\r\n") => {
                        let _ = input.split_to(2);
                        self.state = State::ChunkLine;
                    }
                    Some(_) => return Err(BadBody::ChunkEnd),
                    None if input.first().is_some_and(|byte| *byte != b'\r') => return Err(BadBody::ChunkEnd),
                    None => return Ok(Decoded::Wanting),
                },
                State::Trailers(lines) => {
                    let trailers = lines.take(input, self.limits, head::trailers).map_err(BadBody::Trailers)?;
                    let Some(trailers) = trailers else { return Ok(Decoded::Wanting) };
                    self.state = State::Done;
                    return Ok(match allowed(trailers) {
                        trailers if trailers.is_empty() => Decoded::End,
                        trailers => Decoded::Frame(Frame::trailers(trailers)),
                    });
                }
            }
        }
    }
}

fn data(piece: Bytes) -> Decoded {
    Decoded::Frame(Frame::data(piece))
}

fn piece(input: &mut BytesMut, most: u64) -> Option<Bytes> {
    let length = usize::try_from(most).unwrap_or(usize::MAX).min(input.len());
    (length > 0).then(|| input.split_to(length).freeze())
}

/// A chunk's first line, without its end.
fn line(input: &mut BytesMut) -> Result<Option<Bytes>, BadBody> {
    // What is no digit now will not become one.
    if input.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) {
        return Err(BadBody::ChunkSize);
    }
    match memchr(b'\n', input) {
        Some(end) if end >= CHUNK_LINE_BYTES_MAX => Err(BadBody::ChunkExtension),
        Some(end) => {
            let line = input.split_to(end + 1).freeze();
            match line.strip_suffix(b"\r\n") {
                Some(content) => Ok(Some(line.slice_ref(content))),
                None => Err(BadBody::ChunkSize),
            }
        }
        None if input.len() >= CHUNK_LINE_BYTES_MAX => Err(BadBody::ChunkExtension),
        None => Ok(None),
    }
}

/// The size on a chunk's first line, and how many bytes its extensions have.
fn chunk_size(line: &[u8]) -> Result<(u64, usize), BadBody> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extensions) = line.split_at(digits);
    // 16 digits always fit; more would have to begin with zeros, which only somebody does who wants to confuse.
    if size.is_empty() || size.len() > 16 {
        return Err(BadBody::ChunkSize);
    }
    let value = |digit: &u8| u64::from(char::from(*digit).to_digit(16).unwrap_or(0));
    let size = size.iter().fold(0, |size, digit| size << 4 | value(digit));
    if !extensions.is_empty() && !matches!(extensions[0], b';' | b' ' | b'\t') {
        return Err(BadBody::ChunkSize);
    }
    if !are_extensions(extensions) {
        return Err(BadBody::ChunkExtension);
    }
    Ok((size, extensions.len()))
}

/// `*( BWS ";" BWS name [ BWS "=" BWS value ] )`, where a value is a token or a quoted string.
fn are_extensions(mut text: &[u8]) -> bool {
    while !text.is_empty() {
        let Some(after) = skip_space(text).strip_prefix(b";") else { return false };
        let Some(after) = skip_token(skip_space(after)) else { return false };
        text = after;
        if let Some(value) = skip_space(after).strip_prefix(b"=") {
            let value = skip_space(value);
            let after = if value.first() == Some(&b'"') { skip_quoted(value) } else { skip_token(value) };
            let Some(after) = after else { return false };
            text = after;
        }
    }
    true
}

fn skip_space(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|byte| is_space(**byte)).count();
    &text[spaces..]
}

fn skip_token(text: &[u8]) -> Option<&[u8]> {
    let (token, rest) = split_token(text);
    (!token.is_empty()).then_some(rest)
}

fn skip_quoted(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"\"")?;
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', byte, after @ ..] if is_of_text(*byte) => after,
            [byte, after @ ..] if *byte != b'\\' && is_of_text(*byte) => after,
            _ => return None,
        };
    }
}

/// Fields that mean something only before the content (RFC 9110, 6.5.1): in a trailer they could change, for whoever
/// merges it into the head, how the message was framed, routed or allowed.
const NOT_IN_TRAILERS: [HeaderName; 20] = [
    TRANSFER_ENCODING,
    CONTENT_LENGTH,
    HOST,
    CONNECTION,
    TRAILER,
    TE,
    UPGRADE,
    EXPECT,
    MAX_FORWARDS,
    RANGE,
    AUTHORIZATION,
    PROXY_AUTHORIZATION,
    COOKIE,
    SET_COOKIE,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    CONTENT_RANGE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("x-forwarded-for"),
];

/// Trailers without what must not be among them.
pub fn allowed(mut trailers: HeaderMap) -> HeaderMap {
    for name in NOT_IN_TRAILERS {
        trailers.remove(name);
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 1024, fields: 4 };

    /// Content and trailers, however the bytes come; and what was left over.
    fn decode(framing: Framing, bytes: &[u8], step: usize) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), BadBody> {
        let (mut decoder, mut input) = (Decoder::new(framing, LIMITS), BytesMut::new());
        let (mut content, mut trailers, mut coming) = (Vec::new(), HeaderMap::new(), bytes.chunks(step));
        loop {
            match decoder.decode(&mut input, coming.len() == 0)? {
                Decoded::Frame(frame) => match frame.into_data() {
                    Ok(data) => content.extend_from_slice(&data),
                    Err(frame) => trailers = frame.into_trailers().unwrap(),
                },
                Decoded::Wanting => input.extend_from_slice(coming.next().unwrap()),
                Decoded::End => {
                    let left: Vec<u8> = input.iter().chain(coming.flatten()).copied().collect();
                    return Ok((content, trailers, left));
                }
            }
        }
    }

    fn check(bytes: &str, content: &str, left: &str) {
        for step in [1, 2, 3, 1000] {
            let decoded = decode(Framing::Chunked, bytes.as_bytes(), step).unwrap();
            assert_eq!((&*decoded.0, &*decoded.2), (content.as_bytes(), left.as_bytes()), "{bytes:?} by {step}");
        }
    }

    fn refused(bytes: &str, expected: BadBody) {
        for step in [1, 1000] {
            assert_eq!(decode(Framing::Chunked, bytes.as_bytes(), step).unwrap_err(), expected, "{bytes:?} by {step}");
        }
    }

    #[test]
    fn chunks_become_content() {
        check("3\r\nabc\r\n0\r\n\r\n", "abc", "");
        check("3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\nGET", "abc0123456789", "GET");
        check("3;a=b;c=\"d\\\"; e\" ;f\r\nabc\r\n0\r\n\r\n", "abc", "");
    }

    #[test]
    fn a_size_that_is_none_is_refused() {
        for size in ["", "x", "+3", "-3", "0x3", "3_", "3 3", "11111111111111111", " 3"] {
            let bytes = format!("{size}\r\nabc\r\n0\r\n\r\n");
            let refused = decode(Framing::Chunked, bytes.as_bytes(), 1).unwrap_err();
            assert!(matches!(refused, BadBody::ChunkSize | BadBody::ChunkExtension), "{size:?}: {refused:?}");
        }
        refused("3\nabc\r\n0\r\n\r\n", BadBody::ChunkSize);
        refused("3\r\nabcd\r\n0\r\n\r\n", BadBody::ChunkEnd);
        refused("3\r\nabc\n0\r\n\r\n", BadBody::ChunkEnd);
        refused(&format!("{}\r\n", "x".repeat(2000)), BadBody::ChunkSize);
    }

    #[test]
    fn an_extension_that_is_none_is_refused() {
        for extension in [";", ";=", ";a=", ";a=\"b", ";a=b c", ";a=\"\x01\"", ";\ra"] {
            refused(&format!("3{extension}\r\nabc\r\n0\r\n\r\n"), BadBody::ChunkExtension);
        }
        let long = format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(2000));
        refused(&long, BadBody::ChunkExtension);
        refused(&format!("1;{}\r\na\r\n", "a".repeat(900)).repeat(20), BadBody::ChunkExtension);
    }

    #[test]
    fn trailers_are_read_without_those_that_change_the_message() {
        let bytes = b"0\r\nX-Sum: 1\r\nContent-Length: 5\r\nHost: b\r\n\r\n";
        let (_, trailers, _) = decode(Framing::Chunked, bytes, 1).unwrap();
        assert_eq!(trailers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["x-sum"]);
        refused("0\r\nX : 1\r\n\r\n", BadBody::Trailers(BadHead::Field));
        refused("0\r\nX: 1\n\r\n", BadBody::Trailers(BadHead::LineEnd));
    }

    #[test]
    fn a_body_that_ends_early_is_noticed() {
        for bytes in ["3\r\nab", "3\r\nabc", "3\r\nabc\r\n", "3\r\nabc\r\n0\r\n", "3\r\nabc\r\n0\r\n\r"] {
            refused(bytes, BadBody::Incomplete);
        }
        assert_eq!(decode(Framing::Length(3), b"ab", 1).unwrap_err(), BadBody::Incomplete);
        assert_eq!(decode(Framing::Length(3), b"abcd", 9).unwrap().2, b"d");
        assert_eq!(decode(Framing::UntilClose, b"abc", 2).unwrap().0, b"abc");
    }
}
