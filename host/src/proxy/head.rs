//! The head of one request, in the one normal form that the policy decides on and the member gets.
//!
//! Made once from what the client sent, after the checks that hyper leaves to us. Lookups read it in place; nothing is
//! copied before somebody asks.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hyper::header::{COOKIE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Version};

use super::error::Malformed;
use super::headers;
use super::tls::identity::Identity;

/// A request's head, checked.
pub struct Head {
    /// Method, target in origin form, version and fields; `Host` is always there and says the authority.
    parts: Parts,
    /// Host and port as the client named them, lower-case.
    authority: HeaderValue,
    client: IpAddr,
    vip: Arc<str>,
    identity: Option<Arc<Identity>>,
}

impl Head {
    /// Checks a head and brings it into normal form.
    ///
    /// # Errors
    /// What RFC 9112 says must be refused, and what we do not offer.
    pub fn new(mut parts: Parts, client: IpAddr) -> Result<Self, Malformed> {
        if parts.method == Method::CONNECT {
            return Err(Malformed::Connect);
        }
        if !headers::has_known_coding(&parts.headers) {
            return Err(Malformed::Coding);
        }
        let host = host(&parts)?;
        // RFC 9112, 3.2.2: the authority of an absolute target replaces what Host says. One without a scheme is no target
        // at all (`GET shop`), and neither is what has no path of its own (`*`).
        let authority = match (parts.uri.scheme(), parts.uri.authority()) {
            (Some(scheme), Some(authority)) if scheme == "http" || scheme == "https" => {
                if !is_authority(authority.as_str().as_bytes()) {
                    return Err(Malformed::Target);
                }
                HeaderValue::from_str(authority.as_str()).map_err(|_| Malformed::Target)?
            }
            (None, None) if parts.uri.path().starts_with('/') => host.unwrap_or_else(|| HeaderValue::from_static("")),
            _ => return Err(Malformed::Target),
        };
        if parts.uri.authority().is_some() {
            let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
            // `http://host?query` has an empty path, which is sent as `/` (RFC 9112, 3.2.1).
            let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
            parts.uri = target.parse().map_err(|_| Malformed::Target)?;
        }
        let authority = lower_case(authority)?;
        // What belongs to the connection is no more the policy's to see than the member's.
        headers::from_client(&mut parts.headers);
        parts.headers.insert(HOST, authority.clone());
        Ok(Self { parts, authority, client, vip: Arc::from(""), identity: None })
    }

    /// A head as a policy sees it when it is staged.
    pub fn probe(method: &'static str, target: &'static str, fields: &[(&'static str, &[u8])]) -> Self {
        let mut parts = hyper::Request::builder()
            .method(method)
            .uri(target)
            .body(())
            .expect("a probe's target is well-formed")
            .into_parts()
            .0;
        for (name, value) in fields {
            let value = HeaderValue::from_bytes(value).expect("a probe's fields are well-formed");
            parts.headers.append(*name, value);
        }
        let authority = HeaderValue::from_static("probe.invalid");
        parts.headers.insert(HOST, authority.clone());
        Self { parts, authority, client: Ipv4Addr::new(192, 0, 2, 1).into(), vip: Arc::from("probe"), identity: None }
    }

    /// The method, such as `GET`.
    pub fn method(&self) -> &str {
        self.parts.method.as_str()
    }

    /// How the client reached us.
    #[allow(clippy::unused_self, reason = "listeners speak plain HTTP so far")]
    pub fn scheme(&self) -> &'static str {
        "http"
    }

    /// Host and, where the client named one, port; lower-case; empty where HTTP/1.0 named none.
    pub fn authority(&self) -> &str {
        self.authority.to_str().unwrap_or_default()
    }

    /// The path; begins with `/`.
    pub fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// What follows `?`.
    pub fn query(&self) -> Option<&str> {
        self.parts.uri.query()
    }

    /// The first value of a query parameter, decoded as forms are.
    pub fn query_parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        let pairs = self.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.into_iter().find(|(key, _)| form_decoded(key) == name).map(|(_, value)| form_decoded(value))
    }

    /// The first value of a field.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.parts.headers.get(name).map(HeaderValue::as_bytes)
    }

    /// All values of a field.
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.parts.headers.get_all(name).iter().map(HeaderValue::as_bytes)
    }

    /// The names of all fields.
    pub fn header_names(&self) -> impl Iterator<Item = &str> {
        self.parts.headers.keys().map(HeaderName::as_str)
    }

    /// All fields.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    /// The value of the first cookie of that name (RFC 6265, 5.4).
    pub fn cookie(&self, name: &str) -> Option<&[u8]> {
        let name = name.as_bytes();
        let pairs =
            self.parts.headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
        pairs.into_iter().find_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
    }

    /// The address the connection came from.
    pub fn client(&self) -> IpAddr {
        self.client
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
        match self.parts.version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2",
            _ => "HTTP/1.1",
        }
    }

    /// The vip that asks.
    pub fn vip(&self) -> &str {
        &self.vip
    }

    /// Says which vip the request belongs to, once that is known.
    pub fn enter(&mut self, vip: &Arc<str>) {
        self.vip = vip.clone();
    }

    /// The fields, to be changed on their way to the member.
    pub fn fields_mut(&mut self) -> &mut HeaderMap {
        &mut self.parts.headers
    }

    /// What is sent to the member.
    pub fn into_parts(self) -> Parts {
        self.parts
    }
}

/// The one value of Host (RFC 9112, 3.2): missing is allowed before HTTP/1.1 only, two are never.
fn host(parts: &Parts) -> Result<Option<HeaderValue>, Malformed> {
    let mut values = parts.headers.get_all(HOST).iter();
    match (values.next(), values.next()) {
        (Some(host), None) if is_authority(host.as_bytes()) => Ok(Some(host.clone())),
        (None, None) if parts.version < Version::HTTP_11 || parts.uri.authority().is_some() => Ok(None),
        (None, None) => Err(Malformed::HostMissing),
        _ => Err(Malformed::Host),
    }
}

/// Whether these bytes can be host and port (RFC 3986, 3.2.2 and 3.2.3): no user, no path, nothing that a member could
/// read differently than we do. Empty is allowed, and means that the target has no authority.
fn is_authority(bytes: &[u8]) -> bool {
    /// A name of the DNS has 253 characters at most (RFC 1035, 2.3.4), and a port five.
    const BYTES_MAX: usize = 260;
    if bytes.len() > BYTES_MAX {
        return false;
    }
    let (host, port) = match bytes.iter().rposition(|byte| *byte == b':') {
        Some(colon) if !bytes[colon..].contains(&b']') => (&bytes[..colon], &bytes[colon + 1..]),
        _ => (bytes, &b""[..]),
    };
    let inner = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]"));
    let host_is_good = match inner {
        Some(literal) => std::str::from_utf8(literal).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok()),
        None => host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(byte)),
    };
    host_is_good && port.iter().all(u8::is_ascii_digit)
}

fn lower_case(value: HeaderValue) -> Result<HeaderValue, Malformed> {
    if !value.as_bytes().iter().any(u8::is_ascii_uppercase) {
        return Ok(value);
    }
    HeaderValue::from_bytes(&value.as_bytes().to_ascii_lowercase()).map_err(|_| Malformed::Host)
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
        let mut request = hyper::Request::builder().uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        Head::new(request.body(()).unwrap().into_parts().0, Ipv4Addr::LOCALHOST.into())
    }

    #[test]
    fn an_absolute_target_is_brought_to_origin_form() {
        let head = head("http://Shop.example:81/a?b", &[("host", "other.example")]).unwrap();
        assert_eq!((head.authority(), head.path(), head.query()), ("shop.example:81", "/a", Some("b")));
        assert_eq!(head.header("host"), Some(&b"shop.example:81"[..]));
    }

    #[test]
    fn what_is_no_target_does_not_become_one() {
        for target in ["foo", "host:80", "*", "http://user@a/", "ftp://a/"] {
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
        check(&[("host", "a/b")], Some(Malformed::Host));
        check(&[("host", "user@a")], Some(Malformed::Host));
        check(&[("host", "a:8x")], Some(Malformed::Host));
        check(&[("host", "[::1")], Some(Malformed::Host));
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
