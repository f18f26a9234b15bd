//! The grammar of `Forwarded` (RFC 7239, section 4), read and written.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::IpAddr;

use super::Scheme;
use crate::grammar::{is_of_token, split_token};

/// What one proxy said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Element<'a> {
    /// All of it, as it came.
    pub(super) text: &'a [u8],
    /// Whom it was asked by.
    pub(super) node: Option<Cow<'a, [u8]>>,
    /// The Host that it was asked for.
    pub(super) host: Option<Cow<'a, [u8]>>,
    /// The scheme that it was asked by.
    pub(super) proto: Option<Cow<'a, [u8]>>,
    /// A parameter is there twice, so the next reader might take the other one ("must not occur more than once"), or
    /// there are too many of them to tell.
    pub(super) is_ambiguous: bool,
}

/// Parameters of one element. Four are defined.
const PARAMETERS_MAX: usize = 16;

/// The last elements of one line of `Forwarded`, no more than `max`; `None` if it is not well-formed.
///
/// Spaces around `;` are taken, which this grammar does not allow and the later one of parameters does (RFC 9110,
/// 5.6.6).
pub(super) fn line(bytes: &[u8], max: usize) -> Option<VecDeque<Element<'_>>> {
    let mut elements = VecDeque::new();
    let mut rest = bytes;
    loop {
        let (element, after) = read_element(rest.trim_ascii_start())?;
        // Empty elements of a list count for nothing (RFC 9110, 5.6.1.2).
        if !element.text.is_empty() {
            if elements.len() == max {
                elements.pop_front();
            }
            elements.push_back(element);
        }
        match after.split_first() {
            None => return Some(elements),
            Some((_comma, after)) => rest = after,
        }
    }
}

/// `[ forwarded-pair ] *( ";" [ forwarded-pair ] )`, up to a comma or the end.
fn read_element(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let mut element = Element::default();
    let mut names: [&[u8]; PARAMETERS_MAX] = [b""; PARAMETERS_MAX];
    let mut pairs = 0;
    let mut rest = bytes;
    loop {
        let (name, after) = split_token(rest);
        if !name.is_empty() {
            let (value, after) = read_value(after.strip_prefix(b"=")?)?;
            let earlier = &names[..pairs.min(PARAMETERS_MAX)];
            element.is_ambiguous |= pairs >= PARAMETERS_MAX || earlier.iter().any(|n| n.eq_ignore_ascii_case(name));
            if let Some(place) = names.get_mut(pairs) {
                *place = name;
            }
            pairs += 1;
            match name {
                name if name.eq_ignore_ascii_case(b"for") => element.node = Some(value),
                name if name.eq_ignore_ascii_case(b"host") => element.host = Some(value),
                name if name.eq_ignore_ascii_case(b"proto") => element.proto = Some(value),
                _ => {}
            }
            rest = after;
        }
        element.text = &bytes[..bytes.len() - rest.len()];
        rest = rest.trim_ascii_start();
        match rest.first() {
            None | Some(b',') => return Some((element, rest)),
            Some(b';') => rest = rest[1..].trim_ascii_start(),
            Some(_) => return None,
        }
    }
}

/// `token / quoted-string`, without quotes and escapes.
fn read_value(bytes: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let Some(quoted) = bytes.strip_prefix(b"\"") else {
        let (value, after) = split_token(bytes);
        return (!value.is_empty()).then_some((Cow::Borrowed(value), after));
    };
    // RFC 9110, 5.6.4. What a quoted string may hold besides its end and escapes is all that a field value may.
    let mut value = Cow::Borrowed(&b""[..]);
    let mut rest = quoted;
    loop {
        let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        let (before, after) = rest.split_at(plain);
        if value.is_empty() {
            value = Cow::Borrowed(before);
        } else {
            value.to_mut().extend_from_slice(before);
        }
        match after {
            [b'"', after @ ..] => return Some((value, after)),
            [b'\\', escaped, after @ ..] => {
                value.to_mut().push(*escaped);
                rest = after;
            }
            _ => return None,
        }
    }
}

/// The parameter `for`. An IPv6 address stands in brackets, which are no part of a token (section 6); who has no
/// address is `unknown` (section 6.2).
pub(super) fn node(address: Option<IpAddr>) -> String {
    match address {
        Some(IpAddr::V4(address)) => format!("for={address}"),
        Some(IpAddr::V6(address)) => format!("for=\"[{address}]\""),
        None => "for=unknown".into(),
    }
}

/// Appends our element: `for=192.0.2.7;host=shop.example;proto=https`.
pub(super) fn element(node: &str, (scheme, host): (Scheme, &[u8]), text: &mut Vec<u8>) {
    text.extend_from_slice(node.as_bytes());
    if !host.is_empty() {
        text.extend_from_slice(b";host=");
        if host.iter().all(|byte| is_of_token(*byte)) {
            text.extend_from_slice(host);
        } else {
            quoted(host, text);
        }
    }
    text.extend_from_slice(b";proto=");
    text.extend_from_slice(scheme.as_str().as_bytes());
}

/// Appends a host as a quoted string (RFC 9110, 5.6.4): a port's colon is no part of a token.
fn quoted(host: &[u8], text: &mut Vec<u8>) {
    text.push(b'"');
    for byte in host {
        if matches!(byte, b'"' | b'\\') {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text.push(b'"');
}
