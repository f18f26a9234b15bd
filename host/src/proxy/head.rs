//! The head of one request, in the one normal form that the policy decides on and the member gets.
//!
//! Made once from what the client sent, after the checks that hyper leaves to us. Lookups read it in place; nothing is
//! copied before somebody asks.

mod normal;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use h2::ext::Protocol;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Uri, Version};

pub use self::normal::is_authority;
use self::normal::{authority, join_cookies, origin_form, rounds, write_host};
use super::error::Malformed;
use super::exchange::Client;
use super::fields::name::{CLIENT_CERT, CONNECTION, COOKIE, EXPECT, HOST, UPGRADE};
use super::fields::{Fields, Value};
use super::forwarded::{self, Origin, Peer, Scheme};
use super::headers;
use super::message::RequestHead;
use super::router::without_port;
use super::tls::identity::Identity;
use super::websocket;
use crate::grammar::is_token;

/// A request's head, checked.
pub struct Head {
    /// Method, target in origin form, version and fields; `Host` is always there and says the authority.
    request: Box<RequestHead>,
    /// Host and port as the client named them, lower-case.
    authority: Box<str>,
    /// How the connection is secured.
    scheme: Scheme,
    /// What trusted proxies in front of us said.
    origin: Origin,
    /// Where the connection came from.
    peer: Option<IpAddr>,
    upgrade: Option<HeaderValue>,
    takes_trailers: bool,
    /// `None` until it is known.
    vip: Option<Arc<str>>,
    identity: Option<Arc<Identity>>,
}

/// How often a request may come through here: more is a circle, and not a chain of proxies.
const ROUNDS_MAX: usize = 16;

impl Head {
    /// Checks a head and brings it into normal form.
    ///
    /// # Errors
    /// What RFC 9110 and RFC 9112 say must be refused, and what we do not offer.
    pub fn new(mut request: Box<RequestHead>, client: &Client) -> Result<Self, Malformed> {
        let tunnel = request.protocol.take();
        if request.method == Method::CONNECT {
            // RFC 8441, 4: with a protocol, it is what HTTP/1 says by GET and Upgrade.
            let protocol = tunnel.as_ref().map_or("", Protocol::as_str);
            if !is_token(protocol.as_bytes()) {
                return Err(Malformed::Connect);
            }
            let protocol = HeaderValue::from_str(protocol).map_err(|_| Malformed::Connect)?;
            request.method = Method::GET;
            if protocol == "websocket" {
                let mut nonce = [0; 16];
                getrandom::fill(&mut nonce).expect("the system has randomness");
                request.fields.insert(websocket::KEY, websocket::key(nonce));
            }
            request.fields.insert(UPGRADE, protocol);
            request.fields.insert(CONNECTION, "upgrade");
        }
        let target = origin_form(&request)?;
        let authority = authority(&request)?;
        request.target = target.unwrap_or(request.target);
        if let Some(expect) = request.fields.get(EXPECT)
            && !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")
        {
            return Err(Malformed::Expectation);
        }
        if rounds(&request.fields) > ROUNDS_MAX {
            return Err(Malformed::Loop);
        }
        let origin = forwarded::believed(&request.fields, &client.peer, &client.listener.spec);
        join_cookies(&mut request.fields);
        let upgrade = headers::upgrade(&request);
        // HTTP/2 has trailers without being asked (RFC 9113, 8.1).
        let takes_trailers = request.version == Version::HTTP_2 || headers::takes_trailers(&request.fields);
        // What belongs to the connection is no more the policy's to see than the member's.
        headers::strip_connection_fields(&mut request.fields);
        write_host(&mut request.fields, &authority);
        let (scheme, peer) = (client.scheme, client.peer.address());
        let head =
            Self { request, authority, scheme, origin, peer, upgrade, takes_trailers, vip: None, identity: None };
        Ok(head.with_identity(client.identity.clone()))
    }

    /// A head as a policy sees it when it is staged.
    pub fn probe(method: &'static str, target: &'static str, fields: &[(&'static str, &[u8])]) -> Self {
        let fields = fields.iter().map(|(name, value)| {
            let value = HeaderValue::from_bytes(value).expect("a probe's fields are well-formed");
            (HeaderName::from_static(name), value)
        });
        let mut request = Box::new(RequestHead {
            method: method.parse().expect("a probe's method is well-formed"),
            target: Uri::from_static(target),
            version: Version::HTTP_11,
            fields: fields.collect(),
            protocol: None,
        });
        let authority = "probe.invalid";
        request.fields.insert(HOST, authority);
        Self {
            request,
            authority: authority.into(),
            scheme: Scheme::Http,
            origin: Origin::default(),
            peer: Some(Ipv4Addr::new(192, 0, 2, 1).into()),
            upgrade: None,
            takes_trailers: false,
            vip: Some(Arc::from("probe")),
            identity: None,
        }
    }

    /// The method, such as `GET`.
    pub fn method(&self) -> &str {
        self.request.method.as_str()
    }

    /// How the client reached us, or the first proxy in front of us that is trusted.
    pub fn origin_scheme(&self) -> Scheme {
        self.origin.scheme.unwrap_or(self.scheme)
    }

    /// What trusted proxies in front of us said.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The protocols that the client offers to switch to, where it does (RFC 9110, 7.8).
    pub fn upgrade(&self) -> Option<&HeaderValue> {
        self.upgrade.as_ref()
    }

    /// Whether the client reads trailers.
    pub fn takes_trailers(&self) -> bool {
        self.takes_trailers
    }

    /// The authority without its port.
    pub fn host(&self) -> &str {
        without_port(self.authority())
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        self.request.target.path_and_query().map_or("/", |target| target.as_str())
    }

    /// Host and, where the client named one, port; lower-case; empty where HTTP/1.0 named none.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path; begins with `/`.
    pub fn path(&self) -> &str {
        self.request.target.path()
    }

    /// What follows `?`.
    pub fn query(&self) -> Option<&str> {
        self.request.target.query()
    }

    /// The first value of a query parameter, decoded as forms are.
    pub fn query_parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        let pairs = self.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.into_iter().find(|(key, _)| form_decoded(key) == name).map(|(_, value)| form_decoded(value))
    }

    /// The first value of a field.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.request.fields.named(name).next().map(Value::as_bytes)
    }

    /// All values of a field.
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.request.fields.named(name).map(Value::as_bytes)
    }

    /// The names of all fields, each once.
    pub fn header_names(&self) -> impl Iterator<Item = &str> {
        let fields = &self.request.fields;
        let is_first = |at: usize, name: &str| !fields.iter().take(at).any(|(earlier, _)| earlier == name);
        fields.iter().enumerate().filter(move |(at, (name, _))| is_first(*at, name)).map(|(_, (name, _))| name)
    }

    /// All fields.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.request.fields.iter().map(|(name, value)| (name, value.as_bytes()))
    }

    /// The value of the first cookie of that name (RFC 6265, 5.4).
    pub fn cookie(&self, name: &str) -> Option<&[u8]> {
        let name = name.as_bytes();
        let values = self.request.fields.get_all(COOKIE).map(Value::as_bytes);
        let pairs = values.flat_map(|value| value.split(|byte| *byte == b';'));
        pairs.into_iter().find_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
    }

    /// The client's address: what trusted proxies in front of us say, or where the connection came from; `None` over a
    /// Unix socket of which nobody says more.
    pub fn client(&self) -> Option<IpAddr> {
        self.origin.client.or(self.peer)
    }

    /// Who the client has proven to be, by a certificate that was verified.
    pub fn client_certificate(&self) -> Option<&Identity> {
        self.identity.as_deref()
    }

    /// The same head, from a client that has proven to be this one.
    #[must_use]
    pub fn with_identity(self, identity: Option<Arc<Identity>>) -> Self {
        Self { identity, ..self }
    }

    /// The version the client speaks.
    pub fn version(&self) -> &'static str {
        version_name(self.request.version)
    }

    /// The vip that asks; empty before it is known.
    pub fn vip(&self) -> &str {
        self.vip.as_deref().unwrap_or_default()
    }

    /// Says which vip the request belongs to, once that is known.
    pub fn enter(&mut self, vip: &Arc<str>) {
        self.vip = Some(vip.clone());
    }

    /// The fields.
    pub fn fields(&self) -> &Fields {
        &self.request.fields
    }

    /// The fields, to be changed on their way to the member.
    pub fn fields_mut(&mut self) -> &mut Fields {
        &mut self.request.fields
    }

    /// Writes what the member is told of whom the request speaks for.
    pub fn write_forwarded(&mut self, peer: &Peer) {
        forwarded::write(&mut self.request.fields, peer, &self.origin, self.scheme, &self.authority);
        if let Some(identity) = &self.identity {
            // RFC 9440, 2.2.
            self.request.fields.insert(CLIENT_CERT, identity.client_cert_field());
        }
    }

    /// What is sent to the member.
    pub fn into_request(self) -> Box<RequestHead> {
        self.request
    }
}

/// What a version is called.
pub fn version_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

/// `application/x-www-form-urlencoded` (WHATWG URL, 5.1): `+` is a space, bytes that are no UTF-8 become U+FFFD.
fn form_decoded(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = if byte == b'%' { after.get(..2).and_then(hex_byte) } else { None };
        match escaped {
            Some(decoded) => {
                out.push(decoded);
                rest = &after[2..];
            }
            None => {
                out.push(if byte == b'+' { b' ' } else { byte });
                rest = after;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16);
    let byte = value(digits[0])? * 16 + value(digits[1])?;
    u8::try_from(byte).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(target: &str, fields: &[(&'static str, &'static str)]) -> Result<Head, Malformed> {
        let fields = fields.iter().map(|(name, value)| {
            let value = HeaderValue::from_static(value);
            (HeaderName::from_static(name), value)
        });
        let (method, target, version) = (Method::GET, target.parse().unwrap(), Version::HTTP_11);
        let request = RequestHead { method, target, version, fields: fields.collect(), protocol: None };
        Head::new(request.into(), &Client::somebody())
    }

    #[test]
    fn an_absolute_target_is_brought_to_origin_form() {
        let head = head("http://Shop.example:81/a?b", &[("host", "shop.example:81")]).unwrap();
        assert_eq!((head.authority(), head.path(), head.query()), ("shop.example:81", "/a", Some("b")));
        assert_eq!(head.header("host"), Some(&b"shop.example:81"[..]));
    }

    #[test]
    fn a_target_and_a_host_that_disagree_are_refused() {
        let check =
            |target: &str, host, expected| assert_eq!(head(target, &[("host", host)]).err(), expected, "{host}");
        check("http://a/", "A", None);
        check("http://a/", "a:80", None);
        check("https://a:443/", "a", None);
        check("http://a:81/", "a", Some(Malformed::HostDisagrees));
        check("http://a/", "b", Some(Malformed::HostDisagrees));
        check("http://a/", "", Some(Malformed::HostDisagrees));
    }

    #[test]
    fn what_is_no_target_does_not_become_one() {
        for target in ["foo", "host:80", "*", "http://user@a/", "ftp://a/", "/a\\b"] {
            assert_eq!(head(target, &[("host", "a")]).err(), Some(Malformed::Target), "{target}");
        }
    }

    #[test]
    fn a_host_that_is_missing_repeated_or_no_authority_is_refused() {
        let check = |fields: &[(&'static str, &'static str)], expected| assert_eq!(head("/", fields).err(), expected);
        check(&[("host", "a")], None);
        check(&[("host", "[::1]:80")], None);
        check(&[], Some(Malformed::HostMissing));
        check(&[("host", "a"), ("host", "a")], Some(Malformed::Host));
        for host in ["a/b", "user@a", "a:8x", "[::1", "a:65536", "a b", "a,b"] {
            check(&[("host", host)], Some(Malformed::Host));
        }
    }

    #[test]
    fn an_expectation_that_cannot_be_met_is_refused() {
        let check = |value, expected| assert_eq!(head("/", &[("host", "a"), ("expect", value)]).err(), expected);
        check("100-Continue", None);
        check("200-ok", Some(Malformed::Expectation));
    }

    #[test]
    fn crumbs_of_cookies_are_joined() {
        let head = head("/", &[("host", "a"), ("cookie", "a=1"), ("cookie", "b=2; c=3")]).unwrap();
        assert_eq!(head.header_values("cookie").collect::<Vec<_>>(), [b"a=1; b=2; c=3"]);
    }

    #[test]
    fn crumbs_that_are_empty_are_left_out() {
        let check = |crumbs: [&'static str; 3], expected: &str| {
            let fields = crumbs.map(|crumb| ("cookie", crumb));
            let head = head("/", &[&[("host", "a")][..], &fields].concat()).unwrap();
            assert_eq!(head.header_values("cookie").collect::<Vec<_>>(), [expected.as_bytes()]);
        };
        check(["a=1", "", "b=2"], "a=1; b=2");
        check(["", "a=1", ""], "a=1");
        check(["", "", ""], "");
    }

    #[test]
    fn a_request_that_goes_round_is_stopped() {
        let rounds = |rounds: usize| {
            let via: &'static str = Box::leak(vec!["1.1 switchback"; rounds].join(", ").into_boxed_str());
            head("/", &[("host", "a"), ("via", via)]).err()
        };
        assert_eq!((rounds(16), rounds(17)), (None, Some(Malformed::Loop)));
    }

    #[test]
    fn query_parameters_are_decoded() {
        let head = head("/?a=1&b+c=%41%zz+%ff&a=2&flag", &[("host", "a")]).unwrap();
        assert_eq!(head.query_parameter("a").as_deref(), Some("1"));
        assert_eq!(head.query_parameter("b c").as_deref(), Some("A%zz \u{fffd}"));
        assert_eq!(head.query_parameter("flag").as_deref(), Some(""));
        assert_eq!(head.query_parameter("none"), None);
    }

    #[test]
    fn cookies_are_found_by_whole_name() {
        let head = head("/", &[("host", "a"), ("cookie", "xuid=1; uid=2"), ("cookie", "uid=3;e=")]).unwrap();
        assert_eq!(head.cookie("uid"), Some(&b"2"[..]));
        assert_eq!(head.cookie("e"), Some(&b""[..]));
        assert_eq!(head.cookie("ui"), None);
    }
}
