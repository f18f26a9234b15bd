//! How long a body is (RFC 9112, 6.3), where only one reading is possible; every other is refused.

use hyper::{Method, StatusCode, Version};

use crate::grammar::is_token;
use crate::proxy::fields::Fields;
use crate::proxy::fields::name::{CONTENT_LENGTH, TRANSFER_ENCODING};

/// What says where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// The chunk of length zero.
    Chunked,
    /// The end of the connection.
    UntilClose,
}

/// Why nobody can say where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFraming {
    /// RFC 9112, 6.1: both, so that two readers may each believe another.
    #[error("it has both Content-Length and Transfer-Encoding")]
    Both,
    /// RFC 9110, 8.6: not one number.
    #[error("Content-Length is not one number")]
    Length,
    /// RFC 9112, 6.1: not a list that ends in `chunked`, once; or in HTTP/1.0, which has none.
    #[error("Transfer-Encoding is not `chunked`")]
    Coding,
    /// RFC 9112, 6.1: a coding other than `chunked`.
    #[error("the transfer coding is not one that is understood here")]
    UnknownCoding,
}

/// The framing of a request.
///
/// # Errors
/// When there is more than one way to read it, or none.
pub fn of_request(version: Version, fields: &Fields) -> Result<Framing, BadFraming> {
    Ok(said(version, fields)?.unwrap_or(Framing::Length(0)))
}

/// The framing of the answer to a request with this method.
///
/// # Errors
/// When there is more than one way to read it, or none.
pub fn of_answer(
    method: &Method,
    status: StatusCode,
    version: Version,
    fields: &Fields,
) -> Result<Framing, BadFraming> {
    let said = said(version, fields)?;
    if method == Method::HEAD || has_no_content(status) {
        return Ok(Framing::Length(0));
    }
    Ok(said.unwrap_or(Framing::UntilClose))
}

/// Whether an answer of this status ends with its head (RFC 9112, 6.3).
pub fn has_no_content(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

fn said(version: Version, fields: &Fields) -> Result<Option<Framing>, BadFraming> {
    let has_length = fields.contains(CONTENT_LENGTH);
    if fields.contains(TRANSFER_ENCODING) {
        if has_length {
            return Err(BadFraming::Both);
        }
        if version == Version::HTTP_10 {
            return Err(BadFraming::Coding);
        }
        return coding(fields).map(|()| Some(Framing::Chunked));
    }
    if has_length { Ok(length(fields)?.map(Framing::Length)) } else { Ok(None) }
}

/// The length that is said, if one is (RFC 9110, 8.6).
///
/// # Errors
/// When it is said twice, or is no number.
pub fn length(fields: &Fields) -> Result<Option<u64>, BadFraming> {
    let mut lengths = fields.get_all(CONTENT_LENGTH);
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(None),
        (Some(length), None) => number(length.as_bytes()).map(Some).ok_or(BadFraming::Length),
        (Some(_), Some(_)) => Err(BadFraming::Length),
    }
}

/// Accepts `chunked` alone.
fn coding(fields: &Fields) -> Result<(), BadFraming> {
    let mut values = fields.get_all(TRANSFER_ENCODING);
    if let (Some(only), None) = (values.next(), values.next())
        && only.as_bytes().eq_ignore_ascii_case(b"chunked")
    {
        return Ok(());
    }
    let is_chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
    let all = fields.get_all(TRANSFER_ENCODING);
    let codings: Vec<&[u8]> = all.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).collect();
    let chunked = codings.iter().filter(|coding| is_chunked(coding)).count();
    let others_are_tokens = codings.iter().all(|coding| is_token(coding.trim_ascii()));
    // Where `chunked` is said once and last, or not at all, only what comes before it is not understood.
    let chunked_is_last = codings.last().is_some_and(|last| is_chunked(last));
    if others_are_tokens && (chunked == 0 || chunked == 1 && chunked_is_last) {
        return Err(BadFraming::UnknownCoding);
    }
    Err(BadFraming::Coding)
}

/// `1*DIGIT` that fits.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn check(version: Version, fields: &[(&'static str, &str)], expected: Result<Framing, BadFraming>) {
        let mut map = Fields::default();
        for (name, value) in fields {
            map.append(HeaderName::from_static(name), value.parse::<HeaderValue>().unwrap());
        }
        assert_eq!(of_request(version, &map), expected, "{fields:?}");
    }

    #[test]
    fn one_length_or_one_coding_frames_a_request() {
        check(Version::HTTP_11, &[], Ok(Framing::Length(0)));
        check(Version::HTTP_11, &[("content-length", "5")], Ok(Framing::Length(5)));
        check(Version::HTTP_11, &[("transfer-encoding", "Chunked")], Ok(Framing::Chunked));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let both = [("content-length", "5"), ("transfer-encoding", "chunked")];
        check(Version::HTTP_11, &both, Err(BadFraming::Both));
        check(Version::HTTP_11, &[both[1], both[0]], Err(BadFraming::Both));
        check(Version::HTTP_11, &[both[0], both[0]], Err(BadFraming::Length));
        for length in ["5, 5", "+5", "-1", "0x5", "", "5 5", "18446744073709551616", "５"] {
            check(Version::HTTP_11, &[("content-length", length)], Err(BadFraming::Length));
        }
        check(Version::HTTP_10, &[("transfer-encoding", "chunked")], Err(BadFraming::Coding));
        check(Version::HTTP_11, &[both[1], both[1]], Err(BadFraming::Coding));
        for coding in ["chunked, gzip", "chunked, chunked", "", "chunked;a=b", "\"chunked\"", "gzip,,chunked"] {
            check(Version::HTTP_11, &[("transfer-encoding", coding)], Err(BadFraming::Coding));
        }
        for coding in ["gzip", "gzip, chunked", "xchunked", "identity"] {
            check(Version::HTTP_11, &[("transfer-encoding", coding)], Err(BadFraming::UnknownCoding));
        }
    }

    #[test]
    fn an_answer_ends_where_its_status_and_method_say() {
        let of = |method: &Method, status: u16, fields: &Fields| {
            of_answer(method, StatusCode::from_u16(status).unwrap(), Version::HTTP_11, fields).unwrap()
        };
        let mut length = Fields::default();
        assert_eq!(of(&Method::GET, 200, &length), Framing::UntilClose);
        length.insert(CONTENT_LENGTH, "7");
        assert_eq!(of(&Method::GET, 200, &length), Framing::Length(7));
        assert_eq!(of(&Method::HEAD, 200, &length), Framing::Length(0));
        assert_eq!(of(&Method::GET, 304, &length), Framing::Length(0));
    }
}
