//! What stands in a list of proxies: addresses, and the hosts they were asked for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::header::HeaderValue;

use crate::proxy::head::is_authority;

/// The address in an element of `X-Forwarded-For`, which has no standard: an IPv6 address may be bare.
pub(super) fn address_in_any_form(text: &[u8]) -> Option<IpAddr> {
    let bare = || std::str::from_utf8(text).ok()?.parse::<Ipv6Addr>().ok();
    address(text).or_else(|| bare().map(|address| IpAddr::from(address).to_canonical()))
}

/// The address in a `node` (RFC 7239, 6): `192.0.2.7`, `[2001:db8::7]`, each with or without a port. `unknown` and
/// obfuscated identifiers name nobody.
pub(super) fn address(node: &[u8]) -> Option<IpAddr> {
    let node = std::str::from_utf8(node).ok()?;
    let (address, port) = match node.strip_prefix('[') {
        Some(node) => {
            let (address, port) = node.split_once(']')?;
            (IpAddr::from(address.parse::<Ipv6Addr>().ok()?), port)
        }
        None => {
            let (address, port) = node.split_at(node.find(':').unwrap_or(node.len()));
            (IpAddr::from(address.parse::<Ipv4Addr>().ok()?), port)
        }
    };
    let is_good = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    is_good.then(|| address.to_canonical())
}

/// `node-port`: five digits at most, or an obfuscated one.
fn is_port(port: &str) -> bool {
    match port.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
        None => (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// One authority in normal form, lower-case. A comma is allowed in a host's name (RFC 3986, 3.2.2), and here says that
/// there are two of them.
pub(super) fn host(text: &[u8]) -> Option<HeaderValue> {
    let names_a_host = text.first().is_some_and(|byte| *byte != b':');
    if !names_a_host || text.contains(&b',') || !is_authority(text) {
        return None;
    }
    HeaderValue::from_bytes(&text.to_ascii_lowercase()).ok()
}
