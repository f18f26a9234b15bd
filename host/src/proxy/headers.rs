//! What happens to header fields on their way through: those of one connection stay behind, those of an intermediary
//! are added.

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};

use super::exchange::{Client, ExchangeId};
use super::head::Head;
use crate::policy::answer::Route;

/// Names the exchange, to the member and in our own answers.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Takes away what belongs to the client's connection.
pub fn from_client(fields: &mut HeaderMap) {
    // RFC 9110, 10.1.4: TE is for the next hop only, but that trailers are welcome is said again by us.
    let takes_trailers = fields.get(TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    strip_connection_fields(fields);
    if takes_trailers {
        fields.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Adds what an intermediary adds, and what the policy wants.
///
/// What clients say in `X-Forwarded-*` is replaced: nobody in front of us is known to be trustworthy.
pub fn to_member(head: &mut Head, client: &Client, id: ExchangeId, route: Option<&mut Route>) {
    let fields = head.fields_mut();
    fields.insert(X_FORWARDED_FOR, client.forwarded_for.clone());
    fields.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    if let Some(host) = fields.get(HOST).cloned() {
        fields.insert(X_FORWARDED_HOST, host);
    }
    fields.append(VIA, HeaderValue::from_static("1.1 switchback"));
    fields.insert(X_REQUEST_ID, id.to_value());
    if let Some(route) = route {
        for name in &route.remove {
            fields.remove(name);
        }
        for (name, value) in route.set.drain(..) {
            fields.insert(name, value);
        }
    }
}

/// Makes a member's fields those that the client gets.
pub fn to_client(fields: &mut HeaderMap, route: Option<&mut Route>) {
    // RFC 9112, 6.3: with both, the coding says where the content ends. Whoever is told the length would cut it there.
    if fields.contains_key(TRANSFER_ENCODING) {
        fields.remove(CONTENT_LENGTH);
    }
    strip_connection_fields(fields);
    if let Some(route) = route {
        for (name, value) in route.add.drain(..) {
            fields.append(name, value);
        }
    }
}

/// Whether a message's content can be read: chunked is the one transfer coding that is undone here, and another, passed
/// on without being named, would be taken for content (RFC 9112, 6.1).
pub fn has_known_coding(fields: &HeaderMap) -> bool {
    fields.get_all(TRANSFER_ENCODING).iter().all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

/// Removes the fields that belong to one connection (RFC 9110, 7.6.1), and all that `Connection` names.
fn strip_connection_fields(fields: &mut HeaderMap) {
    if fields.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = fields
            .get_all(CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            // A sender has no business naming these; dropping them would change what the message means.
            .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
            .collect();
        fields.remove(CONNECTION);
        for name in named {
            fields.remove(name);
        }
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
        fields.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::listener::Listener;
    use crate::proxy::tls::certificates::Certificates;
    use crate::spec::ListenerSpec;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
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
    fn a_length_beside_a_coding_is_dropped() {
        let mut fields = map(&[("content-length", "3"), ("transfer-encoding", "chunked"), ("etag", "x")]);
        to_client(&mut fields, None);
        assert_eq!(fields, map(&[("etag", "x")]));
    }

    #[test]
    fn what_clients_claim_about_forwarding_is_replaced() {
        let mut head = Head::probe("GET", "/", &[("x-forwarded-for", b"6.6.6.6"), ("te", b"Trailers"), ("x-a", b"1")]);
        from_client(head.fields_mut());
        let listener = ListenerSpec::plain("127.0.0.1:80".parse().unwrap());
        let listener = Listener::new("127.0.0.1:80", listener, &Certificates::default()).unwrap();
        let client = Client::new("[::ffff:192.0.2.7]:5".parse().unwrap(), listener.into());
        let id = crate::proxy::exchange::ExchangeIds::default().next();
        to_member(&mut head, &client, id, None);
        assert_eq!(head.header_values("x-forwarded-for").collect::<Vec<_>>(), [b"192.0.2.7"]);
        assert_eq!(head.header("x-forwarded-host"), Some(&b"probe.invalid"[..]));
        assert_eq!(head.header("te"), Some(&b"trailers"[..]));
        assert_eq!(head.header("via"), Some(&b"1.1 switchback"[..]));
        assert_eq!(head.header("x-a"), Some(&b"1"[..]));
    }
}
