//! The target that a member is asked for is the client's, letter by letter; only what is before the path goes to Host.

#![no_main]

use hyper::{Request, Uri};
use libfuzzer_sys::fuzz_target;
use switchback::proxy::head::Head;

fuzz_target!(|target: &str| {
    let Ok(uri) = Uri::try_from(target) else { return };
    let request = Request::builder().uri(uri).header("host", "shop.example").body(()).expect("each part is good");
    let Ok(head) = Head::new(request.into_parts().0, &switchback_fuzz::client(false)) else { return };
    let (authority, expected) = read(target);
    assert_eq!(head.authority(), authority.to_ascii_lowercase());
    let parts = head.into_parts();
    let sent = parts.uri.to_string();
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
