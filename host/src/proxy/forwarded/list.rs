//! The list of proxies that a request came through: read from us outwards as far as they are trusted, and passed on
//! with the peer appended.

use std::io::Write as _;
use std::net::IpAddr;

use hyper::header::FORWARDED;

use super::{Origin, Peer, Scheme, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use super::{node, rfc7239};
use crate::proxy::fields::Fields;
use crate::spec::ListenerSpec;
use crate::spec::listener::Believe;

/// Elements that are looked at. Who stands behind that many proxies of ours is not told from the next.
const ELEMENTS_MAX: usize = 32;

/// What of a list is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    /// From us outwards; the last is the client.
    addresses: Vec<IpAddr>,
    /// The same elements as they came, where the list is `Forwarded`: with parameters that are not ours to know.
    elements: Vec<u8>,
}

/// Reads the kind of list that is believed.
pub(super) fn read(fields: &Fields, listener: &ListenerSpec) -> Origin {
    match listener.believe {
        Believe::XForwarded => x_forwarded(fields, listener),
        Believe::Forwarded => forwarded(fields, listener),
    }
}

/// Nobody wrote down what `X-Forwarded-*` means: each proxy appends its peer's address to the first, and the other two
/// say what the client asked the first proxy for, if that knew them.
fn x_forwarded(fields: &Fields, listener: &ListenerSpec) -> Origin {
    let lines = fields.get_all(X_FORWARDED_FOR).rev();
    let elements = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let mut addresses = Vec::new();
    // Empty elements of a list count for nothing (RFC 9110, 5.6.1.2).
    for element in elements.filter(|element| !element.is_empty()).take(ELEMENTS_MAX) {
        let Some(address) = node::address_in_any_form(element) else { break };
        addresses.push(address);
        if !listener.trusts(address) {
            break;
        }
    }
    let scheme = fields.get_all(X_FORWARDED_PROTO).next_back();
    let mut hosts = fields.get_all(X_FORWARDED_HOST);
    let host = hosts.next().filter(|_| hosts.next().is_none());
    Origin {
        client: addresses.last().copied(),
        scheme: scheme
            .and_then(|value| value.as_bytes().rsplit(|byte| *byte == b',').next())
            .and_then(|scheme| Scheme::named(scheme.trim_ascii())),
        host: host.and_then(|value| node::host(value.as_bytes())),
        list: List { addresses, elements: Vec::new() },
    }
}

/// RFC 7239: an element says whom a proxy was asked by, and for what. So the one that names the client says also how
/// the client asked. If no element names anybody, the last one still is what our peer said.
fn forwarded(fields: &Fields, listener: &ListenerSpec) -> Origin {
    // A quoted string may hold commas, so a line is read from its beginning; and if it is not well-formed, where its
    // last element begins is anybody's guess.
    let lines = fields.get_all(FORWARDED).rev();
    let elements = lines
        .map_while(|line| rfc7239::line(line.as_bytes(), ELEMENTS_MAX))
        .flat_map(|elements| elements.into_iter().rev())
        .take(ELEMENTS_MAX);
    let mut origin = Origin::default();
    let mut believed = Vec::new();
    for (at, element) in elements.enumerate() {
        if element.is_ambiguous {
            break;
        }
        let address = element.node.as_deref().and_then(node::address);
        if address.is_some() || at == 0 {
            origin.scheme = element.proto.as_deref().and_then(Scheme::named);
            origin.host = element.host.as_deref().and_then(node::host);
        }
        let Some(address) = address else { break };
        origin.list.addresses.push(address);
        believed.push(element.text);
        if !listener.trusts(address) {
            break;
        }
    }
    believed.reverse();
    origin.client = origin.list.addresses.last().copied();
    origin.list.elements = believed.join(&b", "[..]);
    origin
}

impl List {
    /// Writes the list as `X-Forwarded-For`, the peer appended.
    ///
    /// The peer of a Unix socket has no address. Where others are named that is no news, and a word in its place would
    /// stop those who walk the list as we do.
    pub(super) fn x_forwarded_for(&self, peer: &Peer, text: &mut Vec<u8>) {
        if self.addresses.is_empty() {
            return text.extend_from_slice(peer.forwarded_for.as_bytes());
        }
        for (at, address) in self.addresses.iter().rev().chain(&peer.address).enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(text, "{separator}{address}").expect("a vector takes all");
        }
    }

    /// Writes the list as `Forwarded`, the peer's element appended. `said` is the scheme and authority that the client asked
    /// for, `ours` what the peer asked us for.
    pub(super) fn forwarded(&self, peer: &Peer, said: (Scheme, &[u8]), ours: (Scheme, &[u8]), text: &mut Vec<u8>) {
        if self.addresses.is_empty() {
            return rfc7239::element(&peer.node, said, text);
        }
        text.extend_from_slice(&self.elements);
        if self.elements.is_empty() {
            // Section 7.4: what another kind of list says is told in this one, too.
            for (at, address) in self.addresses.iter().rev().enumerate() {
                let node = rfc7239::node(Some(*address));
                if at == 0 {
                    rfc7239::element(&node, said, text);
                } else {
                    text.extend_from_slice(b", ");
                    text.extend_from_slice(node.as_bytes());
                }
            }
        }
        if peer.address.is_some() {
            text.extend_from_slice(b", ");
            rfc7239::element(&peer.node, ours, text);
        }
    }
}
