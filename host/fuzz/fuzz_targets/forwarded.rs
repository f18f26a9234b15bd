//! Whatever fields say of forwarding, what members are told is well-formed, and the next proxy reads in it what we did.
//!
//! The first byte says who the peer is and what is believed, the rest are fields.

#![no_main]

use std::net::IpAddr;

use hyper::header::{FORWARDED, HeaderName};
use libfuzzer_sys::fuzz_target;
use switchback::proxy::fields::Fields;
use switchback::proxy::forwarded::{Origin, Peer, Scheme, believed, write};
use switchback::proxy::head::is_authority;
use switchback::spec::ListenerSpec;
use switchback::spec::listener::Believe;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, text)) = bytes.split_first() else { return };
    let peer = match kind & 3 {
        0 => None,
        1 => Some(IpAddr::from([192, 0, 2, 7])),
        2 => Some(IpAddr::from([10, 0, 0, 1])),
        _ => Some(IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1])),
    };
    let listener = listener(if kind & 4 == 0 { Believe::XForwarded } else { Believe::Forwarded });
    let peer = Peer::new(peer, &listener);
    let authority = if kind & 8 == 0 { "shop.example" } else { "[2001:db8::9]:81" };
    let mut fields = switchback_fuzz::fields(text);

    let origin = believed(&fields, &peer, &listener);
    assert!(peer.is_trusted() || origin == Origin::default());
    assert!(origin.client.is_none_or(|client| client == client.to_canonical()));
    assert!(origin.host.as_ref().is_none_or(|host| !host.is_empty() && is_authority(host.as_bytes())));

    write(&mut fields, &peer, &origin, Scheme::Http, authority);
    for name in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"] {
        assert_eq!(fields.named(name).count(), 1, "{name}");
    }
    assert!(peer.is_trusted() || ["client-cert", "client-cert-chain"].iter().all(|name| fields.named(name).next().is_none()));

    for believe in [Believe::XForwarded, Believe::Forwarded] {
        check_next(believe, &fields, &peer, &origin);
    }
});

/// What a proxy behind us believes that trusts us and whom we trust.
fn check_next(believe: Believe, fields: &Fields, peer: &Peer, origin: &Origin) {
    // Of a list that is full, one more element is one too many.
    let value = |name| fields.get(name).expect("it was just written");
    let elements = |name| value(name).as_bytes().split(|byte| *byte == b',').count();
    let is_full = elements(X_FORWARDED_FOR) >= 32 || elements(FORWARDED) >= 32;
    if is_full {
        return;
    }
    let listener = listener(believe);
    let next = believed(fields, &Peer::new(Some([10, 0, 0, 9].into()), &listener), &listener);
    assert_eq!(next.client, origin.client.or(peer.address()), "{fields:?}");
    if believe == Believe::XForwarded {
        assert_eq!(next.scheme, Some(origin.scheme.unwrap_or(Scheme::Http)));
        assert_eq!(next.host, Some(value(X_FORWARDED_HOST).to_value()));
    }
}

fn listener(believe: Believe) -> ListenerSpec {
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("a network")).to_vec();
    ListenerSpec { trusted, believe, ..ListenerSpec::plain("127.0.0.1:80".parse().expect("an address")) }
}
