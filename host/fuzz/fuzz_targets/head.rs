//! A head that is accepted is in the one normal form: brought into it again, it stays as it is.

#![no_main]

use hyper::Method;
use hyper::http::request::Parts;
use libfuzzer_sys::fuzz_target;
use switchback::proxy::head::{Head, is_authority};

fuzz_target!(|text: &[u8]| {
    let Some(parts) = switchback_fuzz::head(text) else { return };
    let Some(once) = normal(parts) else { return };
    // RFC 9112, 3.2.4: of the server as a whole.
    let is_of_server = once.method == Method::OPTIONS && once.uri.path() == "*";
    assert!(once.uri.path().starts_with('/') || is_of_server);
    assert_eq!((once.uri.scheme(), once.uri.authority()), (None, None));
    assert_eq!(once.headers.get_all("host").iter().count(), 1);
    for of_the_connection in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        assert!(!once.headers.contains_key(of_the_connection), "{of_the_connection}");
    }
    let twice = normal(once.clone()).expect("what is in normal form is accepted");
    assert_eq!((&twice.method, &twice.uri, twice.version), (&once.method, &once.uri, once.version));
    assert_eq!(twice.headers, once.headers);
});

/// The head as the member gets it, on which the policy agrees.
fn normal(parts: Parts) -> Option<Parts> {
    let head = Head::new(parts, &switchback_fuzz::client(false)).ok()?;
    let (method, authority) = (head.method().to_owned(), head.authority().to_owned());
    let (path, query) = (head.path().to_owned(), head.query().map(ToOwned::to_owned));
    // Lookups read what is there, and never fail.
    for name in head.header_names() {
        assert!(head.header(name).is_some());
        let _ = (head.cookie(name), head.query_parameter(name));
    }
    let parts = head.into_parts();
    assert!(is_authority(authority.as_bytes()) && !authority.bytes().any(|byte| byte.is_ascii_uppercase()));
    assert_eq!(parts.headers["host"], authority);
    assert_eq!((parts.method.as_str(), parts.uri.path(), parts.uri.query()), (&*method, &*path, query.as_deref()));
    Some(parts)
}
