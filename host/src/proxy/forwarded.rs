//! Whom a request speaks for: what trusted proxies in front of us said of it, and what members are told.
//!
//! A connection makes its [`Peer`] once; for each request, [`believed`] reads the fields and [`write()`] puts ours in
//! their place. Only the kind of list that the listener believes is read: of the other kind, a proxy that does not know
//! it passes on what its client wrote. Whether what is believed also chooses a vip is not decided here.

mod list;
mod node;
mod rfc7239;

use std::net::IpAddr;

use hyper::header::HeaderValue;

use self::list::List;
use super::fields::Fields;
use super::fields::name::{
    CLIENT_CERT, CLIENT_CERT_CHAIN, FORWARDED, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO,
};
use crate::spec::ListenerSpec;

/// The other end of a connection, as forwarding sees it: made once, before the first request.
#[derive(Clone, Debug)]
pub struct Peer {
    /// `None` is a Unix socket's.
    address: Option<IpAddr>,
    is_trusted: bool,
    /// All that `X-Forwarded-For` says where nobody in front of us is believed.
    forwarded_for: HeaderValue,
    /// The first parameter of our own element of `Forwarded`.
    node: Box<str>,
}

/// How a client reached us, or the first proxy that is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain text.
    Http,
    /// Over TLS.
    Https,
}

/// What trusted proxies said of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The outermost address that a trusted proxy gave. `None`: nobody did, and the peer is all that is known.
    pub client: Option<IpAddr>,
    /// How the client reached the first of them.
    pub scheme: Option<Scheme>,
    /// The authority that the client asked for, lower-case.
    pub host: Option<HeaderValue>,
    /// The rest of what is believed, as it is passed on.
    list: List,
}

impl Peer {
    /// The peer at `address`: that of the TCP connection, or the one that a PROXY protocol header put in its place.
    /// `None` is the peer of a Unix socket, trusted because that socket's file let it in.
    pub fn new(address: Option<IpAddr>, listener: &ListenerSpec) -> Self {
        let address = address.map(|address| address.to_canonical());
        let forwarded_for = match address {
            Some(address) => HeaderValue::from_str(&address.to_string()).expect("an IP address is a field value"),
            None => HeaderValue::from_static("unknown"),
        };
        let is_trusted = address.is_none_or(|address| listener.trusts(address));
        Self { address, is_trusted, forwarded_for, node: rfc7239::node(address).into() }
    }

    /// Where it is; `None` is the peer of a Unix socket.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Whether what it says of others is believed.
    pub fn is_trusted(&self) -> bool {
        self.is_trusted
    }
}

impl Scheme {
    /// Its name, as in a URI.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The scheme of that name, in any case (RFC 3986, 3.1).
    fn named(name: &[u8]) -> Option<Self> {
        [Self::Http, Self::Https].into_iter().find(|scheme| name.eq_ignore_ascii_case(scheme.as_str().as_bytes()))
    }
}

/// What the trusted proxies among those that a request came through said of it; nothing, if the last one is not
/// trusted.
pub fn believed(fields: &Fields, peer: &Peer, listener: &ListenerSpec) -> Origin {
    if !peer.is_trusted {
        return Origin::default();
    }
    list::read(fields, listener)
}

/// Replaces what a request's fields say of whom it speaks for by what the member may believe.
///
/// `scheme` and `authority` are those of our own connection and of the request as it came; `origin` prevails where it
/// says something. Of lists, what trusted proxies said stays, with the peer appended; what stood before it, anybody
/// could have written. A certificate that somebody untrusted says it verified is no certificate (RFC 9440, 4).
pub fn write(fields: &mut Fields, peer: &Peer, origin: &Origin, scheme: Scheme, authority: &str) {
    if !peer.is_trusted {
        fields.remove(CLIENT_CERT);
        fields.remove(CLIENT_CERT_CHAIN);
    }
    let host = origin.host.as_ref().map_or(authority.as_bytes(), HeaderValue::as_bytes);
    let said = (origin.scheme.unwrap_or(scheme), host);
    let ours = (scheme, authority.as_bytes());
    fields.insert_with(X_FORWARDED_FOR, |out| origin.list.x_forwarded_for(peer, out));
    fields.insert(X_FORWARDED_PROTO, said.0.as_str());
    fields.insert_with(FORWARDED, |out| origin.list.forwarded(peer, said, ours, out));
    // HTTP/1.0 need not name a host (RFC 9112, 3.2).
    if host.is_empty() {
        fields.remove(X_FORWARDED_HOST);
    } else {
        fields.insert_with(X_FORWARDED_HOST, |out| out.extend_from_slice(host));
    }
}

#[cfg(test)]
mod tests;
