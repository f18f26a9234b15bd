//! A head that is accepted is in the one normal form: brought into it again, it stays as it is.

#![no_main]

use hyper::Method;
use libfuzzer_sys::fuzz_target;
use switchback::proxy::head::{Head, is_authority};
use switchback::proxy::message::RequestHead;

fuzz_target!(|text: &[u8]| {
    let Some(request) = switchback_fuzz::head(text) else { return };
    let Some(once) = normal(Box::new(request)) else { return };
    // RFC 9112, 3.2.4: of the server as a whole.
    let is_of_server = once.method == Method::OPTIONS && once.target.path() == "*";
    assert!(once.target.path().starts_with('/') || is_of_server);
    assert_eq!((once.target.scheme(), once.target.authority()), (None, None));
    assert_eq!(once.fields.named("host").count(), 1);
    for of_the_connection in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        assert!(once.fields.named(of_the_connection).next().is_none(), "{of_the_connection}");
    }
    let twice = normal(once.clone()).expect("what is in normal form is accepted");
    assert_eq!((&twice.method, &twice.target, twice.version), (&once.method, &once.target, once.version));
    assert_eq!(twice.fields, once.fields);
});

/// The head as the member gets it, on which the policy agrees.
fn normal(request: Box<RequestHead>) -> Option<Box<RequestHead>> {
    let head = Head::new(request, &switchback_fuzz::client(false)).ok()?;
    let (method, authority) = (head.method().to_owned(), head.authority().to_owned());
    let (path, query) = (head.path().to_owned(), head.query().map(ToOwned::to_owned));
    // Lookups read what is there, and never fail.
    for name in head.header_names() {
        assert!(head.header(name).is_some());
        let _ = (head.cookie(name), head.query_parameter(name));
    }
    let request = head.into_request();
    assert!(is_authority(authority.as_bytes()) && !authority.bytes().any(|byte| byte.is_ascii_uppercase()));
    assert_eq!(request.fields.named("host").next().expect("it has one").as_bytes(), authority.as_bytes());
    assert_eq!((request.method.as_str(), request.target.path(), request.target.query()), (&*method, &*path, query.as_deref()));
    Some(request)
}
