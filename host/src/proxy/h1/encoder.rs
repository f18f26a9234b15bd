//! Writes heads and bodies: always anew, never the bytes that came in.

use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::Frame;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, StatusCode, Version};

use super::wire::Wire;
use crate::proxy::fields::name::Name;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// So many bytes are still to come; the length was announced.
    Length(u64),
    /// In chunks; trailers may follow.
    Chunked,
    /// As it is, to the end of the connection.
    UntilClose,
}

/// A body has more or fewer bytes than was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the content is not as long as was announced")]
pub struct NotAsLong;

impl Encoder {
    /// Puts a piece of content, or trailers, on the wire. Asks [`Wire::has_room`] first.
    ///
    /// # Errors
    /// When it is more than was announced: the rest would be taken for the next message.
    pub fn encode(&mut self, frame: Frame<Bytes>, wire: &mut Wire) -> Result<(), NotAsLong> {
        let data = match frame.into_data() {
            Ok(data) => data,
            // Where content is not chunked there is no place for trailers (RFC 9110, 6.5).
            Err(frame) => {
                if let (Self::Chunked, Ok(trailers)) = (*self, frame.into_trailers()) {
                    wire.output().extend_from_slice(b"0\r\n");
                    fields(wire.output(), &trailers);
                    wire.output().extend_from_slice(b"\r\n");
                    *self = Self::Length(0);
                }
                return Ok(());
            }
        };
        // A chunk of length zero would be the last one.
        if data.is_empty() {
            return Ok(());
        }
        match self {
            Self::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(NotAsLong)?;
                wire.push(data, b"");
            }
            Self::Chunked => {
                chunk_size(wire.output(), data.len());
                wire.push(data, b"\r\n");
            }
            Self::UntilClose => wire.push(data, b""),
        }
        Ok(())
    }

    /// Ends the body.
    ///
    /// # Errors
    /// When it was less than announced.
    pub fn end(&mut self, wire: &mut Wire) -> Result<(), NotAsLong> {
        match self {
            Self::Length(0) | Self::UntilClose => Ok(()),
            Self::Length(_) => Err(NotAsLong),
            Self::Chunked => {
                wire.output().extend_from_slice(b"0\r\n\r\n");
                *self = Self::Length(0);
                Ok(())
            }
        }
    }
}

/// Writes a request line.
pub fn request_line(output: &mut BytesMut, method: &Method, target: &str) {
    output.reserve(method.as_str().len() + target.len() + 16);
    output.extend_from_slice(method.as_str().as_bytes());
    output.put_u8(b' ');
    output.extend_from_slice(target.as_bytes());
    output.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Writes a status line. We always speak 1.1 (RFC 9110, 2.5); what a client of 1.0 cannot read is left out elsewhere.
pub fn status_line(output: &mut BytesMut, status: StatusCode, reason: &[u8]) {
    output.extend_from_slice(b"HTTP/1.1 ");
    output.extend_from_slice(status.as_str().as_bytes());
    output.put_u8(b' ');
    output.extend_from_slice(reason);
    output.extend_from_slice(b"\r\n");
}

/// Writes fields, a line each.
pub fn fields(output: &mut BytesMut, fields: &HeaderMap) {
    for (name, value) in fields {
        field(output, name, value);
    }
}

/// Writes one field.
pub fn field(output: &mut BytesMut, name: impl Name, value: &HeaderValue) {
    output.extend_from_slice(name.bytes());
    output.extend_from_slice(b": ");
    output.extend_from_slice(value.as_bytes());
    output.extend_from_slice(b"\r\n");
}

/// Writes `content-length` with this number.
pub fn content_length(output: &mut BytesMut, length: u64) {
    output.extend_from_slice(b"content-length: ");
    decimal(output, length);
    output.extend_from_slice(b"\r\n");
}

/// Whether a version knows chunks, interim answers and connections that stay open unasked.
pub fn is_modern(version: Version) -> bool {
    version != Version::HTTP_10
}

fn decimal(output: &mut BytesMut, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    output.extend_from_slice(&digits[at..]);
}

fn chunk_size(output: &mut BytesMut, size: usize) {
    let mut started = false;
    for shift in (0..usize::BITS / 4).rev() {
        let digit = (size >> (shift * 4)) & 15;
        started |= digit != 0;
        if started {
            output.put_u8(b"0123456789abcdef"[digit]);
        }
    }
    output.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_they_are() {
        for number in [0, 7, 10, 4096, u64::MAX] {
            let mut output = BytesMut::new();
            decimal(&mut output, number);
            assert_eq!(output, number.to_string().as_bytes());
        }
        for size in [1, 15, 16, 65_536, 0x00ab_cdef] {
            let mut output = BytesMut::new();
            chunk_size(&mut output, size);
            assert_eq!(output, format!("{size:x}\r\n").as_bytes());
        }
    }
}
