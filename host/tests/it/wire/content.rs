//! Where a message's content ends (RFC 9112, 6 and 7), to the letter.

use super::strict::{Checked, Fields, Head, fault, line, lines};

/// How long the content of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes.
    Length(usize),
    /// Until the last chunk.
    Chunked,
    /// Until the connection ends.
    UntilClose,
}

/// Content as far as it has come.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) body: Vec<u8>,
    pub(super) trailers: Fields,
    /// How many bytes it took; none while more must come.
    pub(super) used: Option<usize>,
}

/// Fields that no trailer section may have (RFC 9110, 6.5.1): they frame, route, authenticate or say what content is.
const NEVER_TRAILERS: [&str; 15] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "host",
    "max-forwards",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The framing of a request (RFC 9112, 6.3).
pub(super) fn of_request(head: &Head) -> Checked<Framing> {
    Ok(said(&head.fields)?.unwrap_or(Framing::Length(0)))
}

/// The framing of an answer (RFC 9112, 6.3) to a request with the method HEAD or another.
pub(super) fn of_answer(head: &Head, to_head: bool) -> Checked<Framing> {
    let said = said(&head.fields)?;
    let status = &*head.start[1];
    if (status.starts_with('1') || status == "204") && said.is_some() {
        return Err(format!("a {status} that says how long its content is"));
    }
    let without = to_head || status.starts_with('1') || matches!(status, "204" | "304");
    Ok(if without { Framing::Length(0) } else { said.unwrap_or(Framing::UntilClose) })
}

fn said(fields: &Fields) -> Checked<Option<Framing>> {
    let coding = fields.only("transfer-encoding")?;
    let length = fields.only("content-length")?;
    match (coding, length) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err("Content-Length beside Transfer-Encoding".into()),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Some(Framing::Chunked)),
        (Some(coding), None) => Err(fault("a coding other than chunked", coding)),
        (None, Some(length)) => {
            let text = std::str::from_utf8(length).unwrap_or_default();
            let number: usize = text.parse().map_err(|_| fault("no length", length))?;
            // Written anew, a number has one form only.
            if number.to_string() == text { Ok(Some(Framing::Length(number))) } else { Err(fault("no length", length)) }
        }
    }
}

/// Reads content from the front of `bytes`; `ended` says that no more will come.
pub(super) fn read(framing: Framing, bytes: &[u8], ended: bool) -> Checked<Content> {
    match framing {
        Framing::Length(length) => {
            let body = bytes[..length.min(bytes.len())].to_vec();
            let used = (body.len() == length).then_some(length);
            Ok(Content { body, trailers: Fields::default(), used })
        }
        Framing::UntilClose => {
            Ok(Content { body: bytes.to_vec(), trailers: Fields::default(), used: ended.then_some(bytes.len()) })
        }
        Framing::Chunked => chunked(bytes),
    }
}

fn chunked(bytes: &[u8]) -> Checked<Content> {
    let mut content = Content { body: Vec::new(), trailers: Fields::default(), used: None };
    let mut at = 0;
    while let Some((size, used)) = line(&bytes[at..])? {
        // Extensions are for one hop only (RFC 9112, 7.1.1), and we have none to tell.
        if size.is_empty() || size.len() > 16 || !size.iter().all(u8::is_ascii_hexdigit) {
            return Err(fault("no chunk size", size));
        }
        let size = usize::from_str_radix(&String::from_utf8_lossy(size), 16).map_err(|error| error.to_string())?;
        at += used;
        if size == 0 {
            let Some((fields, used)) = lines(&bytes[at..])? else { break };
            content.trailers = Fields::read(&fields)?;
            if let Some((name, _)) = content.trailers.0.iter().find(|(name, _)| NEVER_TRAILERS.contains(&&**name)) {
                return Err(format!("`{name}` in a trailer section"));
            }
            content.used = Some(at + used);
            break;
        }
        let rest = &bytes[at..];
        content.body.extend_from_slice(&rest[..size.min(rest.len())]);
        match rest.get(size..size + 2) {
            Some(b"\r\n") => at += size + 2,
            Some(other) => return Err(fault("no CRLF after a chunk", other)),
            None => break,
        }
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_read_to_the_letter() {
        let check = |bytes: &[u8], expected: Option<Option<usize>>| {
            assert_eq!(read(Framing::Chunked, bytes, true).ok().map(|content| content.used), expected, "{bytes:?}");
        };
        check(b"5\r\nhello\r\n0\r\n\r\n", Some(Some(15)));
        check(b"5\r\nhello\r\n0\r\nx: y\r\n\r\nGET", Some(Some(21)));
        check(b"5\r\nhello\r\n0\r\n", Some(None));
        check(b"5\r\nhel", Some(None));
        for wrong in [&b"5\nhello\r\n"[..], b"5;a\r\n", b" 5\r\n", b"5\r\nhelloo\r\n", b"0\r\nhost: a\r\n\r\n"] {
            check(wrong, None);
        }
    }
}
