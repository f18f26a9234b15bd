//! What of a request can be said in more than one way, said in one: its authority, its target, its cookies. And what
//! cannot be said in one way only, refused.

use hyper::{Method, Uri, Version};

use crate::proxy::error::Malformed;
use crate::proxy::fields::name::{COOKIE, HOST, VIA};
use crate::proxy::fields::{Fields, Value};
use crate::proxy::message::RequestHead;

/// The authority that a request is for. RFC 9112, 3.2.2, has the target's replace what Host says; where the two differ,
/// somebody before us may have believed the other, so they must not. Lower-case.
pub(super) fn authority(request: &RequestHead) -> Result<Box<str>, Malformed> {
    let text = |authority: &[u8]| String::from_utf8(authority.to_ascii_lowercase()).map(String::into_boxed_str);
    let mut values = request.fields.get_all(HOST);
    let host = match (values.next(), values.next()) {
        (Some(host), None) if is_authority(host.as_bytes()) => Some(host),
        (None, None) => None,
        _ => return Err(Malformed::Host),
    };
    if request.version == Version::HTTP_11 && host.is_none() {
        return Err(Malformed::HostMissing);
    }
    let Some(of_target) = request.target.authority() else {
        // HTTP/2 has it in one of the two (RFC 9113, 8.3.1); HTTP/1.0 need not have it at all.
        return match host {
            Some(host) => text(host.as_bytes()).map_err(|_| Malformed::Host),
            None if request.version == Version::HTTP_2 => Err(Malformed::HostMissing),
            None => Ok("".into()),
        };
    };
    if !is_authority(of_target.as_str().as_bytes()) || of_target.as_str().is_empty() {
        return Err(Malformed::Target);
    }
    if let Some(host) = host
        && !is_same_authority(request.target.scheme_str(), of_target.as_str(), host.to_str().unwrap_or_default())
    {
        return Err(Malformed::HostDisagrees);
    }
    text(of_target.as_str().as_bytes()).map_err(|_| Malformed::Target)
}

/// Whether two authorities are one, as far as anybody would look (RFC 9110, 4.2.3).
fn is_same_authority(scheme: Option<&str>, one: &str, other: &str) -> bool {
    let default_port = if scheme == Some("https") { ":443" } else { ":80" };
    let plain = |text: &str| {
        let text = text.strip_suffix(default_port).or(text.strip_suffix(':')).unwrap_or(text);
        text.to_ascii_lowercase()
    };
    one.eq_ignore_ascii_case(other) || plain(one) == plain(other)
}

/// Has `Host` say the authority, if it does not say it already.
pub(super) fn write_host(fields: &mut Fields, authority: &str) {
    if fields.get(HOST).map(Value::as_bytes) != Some(authority.as_bytes()) {
        fields.insert_with(HOST, |out| out.extend_from_slice(authority.as_bytes()));
    }
}

/// Path and query, as every member understands them (RFC 9112, 3.2.1), where that is not the target as it came.
pub(super) fn origin_form(request: &RequestHead) -> Result<Option<Uri>, Malformed> {
    let uri = &request.target;
    match (uri.scheme_str(), uri.authority()) {
        (None, None) if uri.path() == "*" && request.method == Method::OPTIONS => return Ok(None),
        (None, None) if !uri.path().starts_with('/') => return Err(Malformed::Target),
        (None, None) | (Some("http" | "https"), Some(_)) => {}
        _ => return Err(Malformed::Target),
    }
    // Some members take it for a slash, and others do not.
    if uri.path().contains('\\') {
        return Err(Malformed::Target);
    }
    if uri.authority().is_none() {
        return Ok(None);
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    if target == "*" && request.method == Method::OPTIONS {
        return Ok(Some(Uri::from_static("*")));
    }
    // `http://host?query` has an empty path, which is sent as `/` (RFC 9112, 3.2.1).
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    target.parse().map(Some).map_err(|_| Malformed::Target)
}

/// HTTP/2 may send a cookie in crumbs, a field each; nobody else knows them (RFC 9113, 8.2.3).
pub(super) fn join_cookies(fields: &mut Fields) {
    let mut crumbs = fields.get_all(COOKIE);
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    drop(crumbs);
    // Behind an empty one the value would end in a space, which HTTP/2 does not allow (RFC 9113, 8.2.1).
    let crumbs = fields.get_all(COOKIE).map(Value::as_bytes).filter(|crumb| !crumb.is_empty());
    let joined = crumbs.collect::<Vec<_>>().join(&b"; "[..]);
    fields.insert_with(COOKIE, |out| out.extend_from_slice(&joined));
}

/// How often it came through a proxy of our name (RFC 9110, 7.6.3).
pub(super) fn rounds(fields: &Fields) -> usize {
    let named = |value: Value<'_>| {
        value.as_bytes().split(|byte| *byte == b',').filter(|hop| hop.trim_ascii().ends_with(b" switchback")).count()
    };
    fields.get_all(VIA).map(named).sum()
}

/// Whether these bytes can be host and port (RFC 3986, 3.2.2 and 3.2.3): no user, no path, nothing that a member could
/// read differently than we do. Empty is allowed, and means that the target has no authority.
pub fn is_authority(bytes: &[u8]) -> bool {
    /// A name of the DNS has 253 characters at most (RFC 1035, 2.3.4), and a port five.
    const BYTES_MAX: usize = 260;
    if bytes.len() > BYTES_MAX {
        return false;
    }
    // A name without a port or an escape, as most are.
    if bytes.iter().all(|byte| IS_OF_NAME[usize::from(*byte)] && *byte != b'%') {
        return true;
    }
    let (host, port) = match bytes.iter().rposition(|byte| *byte == b':') {
        Some(colon) if !bytes[colon..].contains(&b']') => (&bytes[..colon], &bytes[colon + 1..]),
        _ => (bytes, &b""[..]),
    };
    let inner = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]"));
    let host_is_good = match inner {
        Some(literal) => std::str::from_utf8(literal).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok()),
        None => is_name(host),
    };
    let port_is_good = port.is_empty()
        || port.iter().all(u8::is_ascii_digit)
            && std::str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok());
    host_is_good && port_is_good && (!host.is_empty() || bytes.is_empty())
}

/// `reg-name` (RFC 3986, 3.2.2), without the comma, which may as well stand between two of them.
fn is_name(host: &[u8]) -> bool {
    let mut escapes = host.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    let is_escape = |at: usize| host.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    host.iter().all(|byte| IS_OF_NAME[usize::from(*byte)]) && escapes.all(|(at, _)| is_escape(at))
}

/// Whether a byte may be in one.
const IS_OF_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"-._~!$&'()*+;=%";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};
