//! What happens to header fields on their way through: those of one connection stay behind, those of an intermediary
//! are added.

use hyper::header::{HeaderName, HeaderValue};
use hyper::{StatusCode, Version};

use super::exchange::{Client, ExchangeId};
use super::fields::name::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST,
    HTTP2_SETTINGS, KEEP_ALIVE, Known, PROXY_CONNECTION, RANGE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
    X_REQUEST_ID,
};
use super::fields::{Fields, Value};
use super::forwarded::Peer;
use super::h1::member::MemberFault;
use super::head::{Head, version_name};
use super::header_rules::HeaderRules;
use super::message::{RequestHead, Response};
use crate::policy::answer::Route;

/// The id that a trusted proxy in front of us gave a request.
pub fn believed_id(fields: &Fields, peer: &Peer) -> Option<ExchangeId> {
    /// Longer ones are no names.
    const BYTES_MAX: usize = 128;
    if !peer.is_trusted() {
        return None;
    }
    let id = fields.get(X_REQUEST_ID)?;
    let bytes = id.as_bytes();
    let is_good = !bytes.is_empty() && bytes.len() <= BYTES_MAX && bytes.iter().all(u8::is_ascii_graphic);
    is_good.then(|| ExchangeId::Given(id.to_value()))
}

/// Whether the sender reads trailers (RFC 9110, 10.1.4).
pub fn takes_trailers(fields: &Fields) -> bool {
    let mut codings = fields.get_all(TE).flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// The protocols that a request offers to switch to (RFC 9110, 7.8), where it may and says so in both places.
pub fn upgrade(request: &RequestHead) -> Option<HeaderValue> {
    let RequestHead { fields, version, .. } = request;
    let offered = fields.get(UPGRADE)?;
    // Of HTTP/2, an extended CONNECT was made one.
    if *version == Version::HTTP_10 || !connection_has(fields, "upgrade") {
        return None;
    }
    // HTTP/2 and TLS are spoken hop by hop: a member that switched to them would talk past us, and past the policy
    // (RFC 9113, 3.1, has taken `h2c` back).
    let offers = offered.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let hop_by_hop = |offer: &[u8]| {
        let name = offer.split(|byte| *byte == b'/').next().unwrap_or_default().to_ascii_lowercase();
        matches!(&*name, b"h2c" | b"h2" | b"http" | b"tls" | b"")
    };
    let is_alone = fields.get_all(UPGRADE).count() == 1;
    (is_alone && !offers.into_iter().any(hop_by_hop)).then(|| offered.to_value())
}

/// Makes a request's fields those that the member gets: without what only the client said, with what an intermediary
/// says, and then as the vip and the policy want them.
pub fn to_member(head: &mut Head, client: &Client, id: &ExchangeId, rules: &HeaderRules, route: Option<&mut Route>) {
    let via = via(head.version());
    head.write_forwarded(&client.peer);
    let (upgrade, takes_trailers) = (head.upgrade().cloned(), head.takes_trailers());
    let fields = head.fields_mut();
    fields.append(VIA, via);
    fields.insert_with(X_REQUEST_ID, |out| id.write(out));
    rules.apply(fields);
    if let Some(route) = route {
        for name in &route.remove {
            fields.remove(name);
        }
        for (name, value) in route.set.drain(..) {
            fields.insert(name, value);
        }
    }
    // RFC 9110, 7.8 and 10.1.4: both are for the next hop only, and said again by us.
    match (upgrade, takes_trailers) {
        (Some(upgrade), _) => {
            fields.insert(UPGRADE, upgrade);
            fields.insert(CONNECTION, "upgrade");
        }
        (None, true) => {
            fields.insert(TE, "trailers");
            fields.insert(CONNECTION, "te");
        }
        (None, false) => {}
    }
}

/// Makes a member's answer the one that the client gets.
///
/// # Errors
/// When it switches to a protocol that was not offered.
pub fn to_client(
    response: &mut Response<()>,
    upgrade: Option<&HeaderValue>,
    keeps_trailers: bool,
    route: Option<&mut Route>,
) -> Result<(), MemberFault> {
    let switches = response.status == StatusCode::SWITCHING_PROTOCOLS;
    let via = via(version_name(response.version));
    let fields = &mut response.fields;
    let switched = if switches { fields.get(UPGRADE).map(Value::to_value) } else { None };
    strip_connection_fields(fields);
    if !keeps_trailers {
        fields.remove(TRAILER);
    }
    if switches {
        let switched = switched.filter(|switched| is_offered(upgrade, switched)).ok_or(MemberFault::UnaskedUpgrade)?;
        fields.insert(UPGRADE, switched);
        fields.insert(CONNECTION, "upgrade");
    }
    fields.append(VIA, via);
    if let Some(route) = route {
        for (name, value) in route.add.drain(..) {
            fields.append(name, value);
        }
    }
    Ok(())
}

/// The version in which a message was received, and who passes it on (RFC 9110, 7.6.3).
fn via(version: &str) -> &'static str {
    match version {
        "HTTP/1.0" => "1.0 switchback",
        "HTTP/2" => "2.0 switchback",
        _ => "1.1 switchback",
    }
}

fn is_offered(offered: Option<&HeaderValue>, switched: &HeaderValue) -> bool {
    let offers = offered.into_iter().flat_map(|offered| offered.as_bytes().split(|byte| *byte == b','));
    offers.map(<[u8]>::trim_ascii).any(|offer| offer.eq_ignore_ascii_case(switched.as_bytes()))
}

/// The one transfer coding that is spoken here.
pub const CHUNKED: HeaderValue = HeaderValue::from_static("chunked");

/// Whether `Connection` names this option; `option` is lower-case.
pub fn connection_has(fields: &Fields, option: &str) -> bool {
    let mut options = fields.get_all(CONNECTION).flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    options.any(|named| named.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
}

/// Fields that a sender has no business naming in `Connection` (RFC 9110, 7.6.1): without them, the message would mean
/// something else, and whoever named them would have chosen what.
const FOR_ALL: [Known; 8] =
    [HOST, CONTENT_LENGTH, CONTENT_TYPE, CONTENT_ENCODING, AUTHORIZATION, COOKIE, RANGE, CACHE_CONTROL];

/// Removes the fields that belong to one connection (RFC 9110, 7.6.1), and all that `Connection` names.
pub fn strip_connection_fields(fields: &mut Fields) {
    if fields.contains(CONNECTION) {
        let named: Vec<HeaderName> = fields
            .get_all(CONNECTION)
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .filter(|name| FOR_ALL.iter().all(|kept| kept.as_str() != name.as_str()))
            .collect();
        fields.remove(CONNECTION);
        for name in named {
            fields.remove(name);
        }
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, HTTP2_SETTINGS, TE, TRANSFER_ENCODING, UPGRADE] {
        fields.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> Fields {
        let mut map = Fields::default();
        for (name, value) in fields {
            map.append(HeaderName::from_static(name), *value);
        }
        map
    }

    #[test]
    fn fields_of_the_connection_stay_behind() {
        let mut fields = map(&[
            ("connection", "close, X-Mine"),
            ("connection", "x-other , host"),
            ("x-mine", "1"),
            ("x-other", "2"),
            ("host", "a"),
            ("keep-alive", "timeout=5"),
            ("upgrade", "h2c"),
            ("accept", "*/*"),
        ]);
        strip_connection_fields(&mut fields);
        assert_eq!(fields, map(&[("host", "a"), ("accept", "*/*")]));
    }

    #[test]
    fn a_member_is_told_what_an_intermediary_tells() {
        let mut head = Head::probe("GET", "/", &[("x-forwarded-for", b"6.6.6.6"), ("x-a", b"1")]);
        let id = crate::proxy::exchange::ExchangeIds::default().next();
        to_member(&mut head, &Client::somebody(), &id, &HeaderRules::default(), None);
        assert_eq!(head.header_values("x-forwarded-for").collect::<Vec<_>>(), [b"192.0.2.7"]);
        assert_eq!(head.header("x-forwarded-host"), Some(&b"probe.invalid"[..]));
        assert_eq!(head.header("via"), Some(&b"1.1 switchback"[..]));
        assert_eq!(head.header("x-a"), Some(&b"1"[..]));
    }

    #[test]
    fn protocols_of_a_hop_are_not_offered_to_members() {
        let check = |offered: &'static str, expected: Option<&str>| {
            let request = RequestHead {
                method: hyper::Method::GET,
                target: hyper::Uri::from_static("/"),
                version: Version::HTTP_11,
                fields: map(&[("connection", "Upgrade"), ("upgrade", offered)]),
                protocol: None,
            };
            assert_eq!(upgrade(&request).as_ref().and_then(|value| value.to_str().ok()), expected, "{offered}");
        };
        check("websocket", Some("websocket"));
        check("chat/2, IRC", Some("chat/2, IRC"));
        for offered in ["h2c", "H2C, websocket", "HTTP/2.0", "TLS/1.3", "websocket,"] {
            check(offered, None);
        }
    }
}
