//! What targets share: a client, and a request head made of text, so that seeds can be read and written by people.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Uri, Version};
use switchback::proxy::exchange::Client;
use switchback::proxy::forwarded::Scheme;
use switchback::proxy::listener::Listener;
use switchback::proxy::tls::certificates::Certificates;
use switchback::spec::ListenerSpec;

/// Somebody whom no listener trusts, over a plain connection.
pub fn client() -> Client {
    let spec = ListenerSpec::plain("127.0.0.1:80".parse().expect("an address"));
    let listener = Listener::new("", spec, &Certificates::default()).expect("it has no certificates to be wrong");
    Client::new("192.0.2.7:5".parse().ok(), None, Scheme::Http, listener.into())
}

/// The fields in lines of `name: value`; lines that cannot be fields are left out.
pub fn fields(text: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(line[colon + 1..].trim_ascii()));
        if let (Ok(name), Ok(value)) = (name, value) {
            // A map takes 32,768 names at most.
            let _ = fields.try_append(name, value);
        }
    }
    fields
}

/// A head of `method target version` and fields, if each part is one that could come from a client.
pub fn head(text: &[u8]) -> Option<Parts> {
    let (line, rest) = text.split_at(text.iter().position(|byte| *byte == b'\n')?);
    let mut words = line.split(|byte| *byte == b' ');
    let mut parts = Request::new(()).into_parts().0;
    parts.method = Method::from_bytes(words.next()?).ok()?;
    parts.uri = Uri::try_from(words.next()?).ok()?;
    parts.version = match words.next()? {
        b"HTTP/1.0" => Version::HTTP_10,
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/2" => Version::HTTP_2,
        _ => return None,
    };
    parts.headers = fields(rest);
    Some(parts)
}
