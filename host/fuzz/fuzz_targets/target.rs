//! The target that a member is asked for is the client's, letter by letter; only what is before the path goes to Host.

#![no_main]

use hyper::header::HOST;
use hyper::{Method, Uri, Version};
use libfuzzer_sys::fuzz_target;
use switchback::proxy::fields::Fields;
use switchback::proxy::head::Head;
use switchback::proxy::message::RequestHead;

fuzz_target!(|target: &str| {
    let Ok(uri) = Uri::try_from(target) else { return };
    let mut fields = Fields::default();
    fields.insert(HOST, "shop.example");
    let version = Version::HTTP_11;
    let request = Box::new(RequestHead { method: Method::GET, target: uri, version, fields, protocol: None });
    let Ok(head) = Head::new(request, &switchback_fuzz::client(false)) else { return };
    let (authority, expected) = read(target);
    assert_eq!(head.authority(), authority.to_ascii_lowercase());
    let sent = head.into_request().target.to_string();
    assert_eq!(sent, expected);
    assert!(!sent.bytes().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control()), "{sent:?}");
});

/// The authority and the origin form, read as plainly as RFC 9112, 3.2 and RFC 3986, 3 allow.
fn read(target: &str) -> (&str, String) {
    // A fragment is no part of a request's target.
    let target = target.split('#').next().unwrap_or_default();
    if target.starts_with('/') {
        return ("shop.example", target.to_owned());
    }
    let (scheme, rest) = target.split_once("://").expect("only absolute and origin form are accepted");
    assert!(["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)), "{scheme}");
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    (authority, if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
}
