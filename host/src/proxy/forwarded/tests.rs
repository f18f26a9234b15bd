mod told;

use std::net::IpAddr;

use hyper::header::{HeaderName, HeaderValue};

use super::*;
use crate::spec::listener::Believe;

/// A listener that trusts 10.0.0.0/8 and fd00::/8.
fn listener(believe: Believe) -> ListenerSpec {
    let trusted = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
    ListenerSpec { trusted, believe, ..ListenerSpec::plain("127.0.0.1:80".parse().unwrap()) }
}

fn map(fields: &[(&'static str, &str)]) -> Fields {
    let mut map = Fields::default();
    for (name, value) in fields {
        map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    map
}

/// What is believed of a peer at this address, or of a Unix socket's where it is empty.
fn from(peer: &str, believe: Believe, fields: &[(&'static str, &str)]) -> Origin {
    let listener = listener(believe);
    believed(&map(fields), &Peer::new(peer.parse().ok(), &listener), &listener)
}

/// The client of a request whose list came from a trusted peer; empty if it names none.
fn check_client(believe: Believe, lines: &[&str], expected: &str) {
    let name = if believe == Believe::Forwarded { "forwarded" } else { "x-forwarded-for" };
    let fields: Vec<_> = lines.iter().map(|line| (name, *line)).collect();
    let client = from("10.0.0.1", believe, &fields).client;
    assert_eq!(client, expected.parse::<IpAddr>().ok(), "{lines:?}");
}

fn check_list(lines: &[&str], expected: &str) {
    check_client(Believe::XForwarded, lines, expected);
}

fn check_elements(lines: &[&str], expected: &str) {
    check_client(Believe::Forwarded, lines, expected);
}

#[test]
fn only_trusted_peers_and_those_of_unix_sockets_are_believed() {
    let fields = [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "a")];
    for peer in ["10.0.0.1", "::ffff:10.0.0.1", "fd00::1", ""] {
        assert_eq!(from(peer, Believe::XForwarded, &fields).client, "192.0.2.7".parse().ok(), "{peer}");
    }
    for peer in ["192.0.2.1", "11.0.0.1", "::1", "fe00::1", "::10.0.0.1"] {
        assert_eq!(from(peer, Believe::XForwarded, &fields), Origin::default(), "{peer}");
    }
}

#[test]
fn only_the_kind_that_is_believed_is_read() {
    let fields = [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "https"), ("forwarded", "for=192.0.2.8")];
    assert_eq!(from("10.0.0.1", Believe::XForwarded, &fields).client, "192.0.2.7".parse().ok());
    let origin = from("10.0.0.1", Believe::Forwarded, &fields);
    assert_eq!((origin.client, origin.scheme), ("192.0.2.8".parse().ok(), None));
}

#[test]
fn a_list_is_walked_from_us_outwards_while_it_is_trusted() {
    check_list(&["192.0.2.7"], "192.0.2.7");
    check_list(&["6.6.6.6, 192.0.2.7"], "192.0.2.7");
    check_list(&["6.6.6.6, 192.0.2.7, 10.0.0.2,10.0.0.3"], "192.0.2.7");
    check_list(&["6.6.6.6", "192.0.2.7, 10.0.0.2", "10.0.0.3"], "192.0.2.7");
    // All of them trusted: the outermost.
    check_list(&["10.0.0.2, 10.0.0.3"], "10.0.0.2");
    // RFC 9110, 5.6.1.2: empty elements count for nothing.
    check_list(&[" , 192.0.2.7 ,, \t10.0.0.2\t,", ","], "192.0.2.7");
    check_list(&[], "");
    check_list(&["", ", ,"], "");
}

#[test]
fn a_walk_ends_before_what_is_no_address() {
    for wrong in
        ["unknown", "_hidden", "localhost", "192.0.2", "192.0.2.07", "192.0.2.7:", "192.0.2.7:x", "\"192.0.2.7\""]
    {
        check_list(&[&format!("192.0.2.7, {wrong}")], "");
        check_list(&[&format!("192.0.2.7, {wrong}, 10.0.0.2")], "10.0.0.2");
    }
    for wrong in
        ["[::1", "::1]", "[192.0.2.7]", "[::1]x", "[::1]:", "[::1]:123456", "fe80::1%eth0", "192.0.2.7 8", "\u{e4}"]
    {
        check_list(&[wrong], "");
    }
}

#[test]
fn addresses_are_read_with_ports_and_brackets() {
    check_list(&["192.0.2.7:4711"], "192.0.2.7");
    check_list(&["2001:DB8::7"], "2001:db8::7");
    check_list(&["[2001:db8::7]"], "2001:db8::7");
    check_list(&["[2001:db8::7]:4711"], "2001:db8::7");
    // However it is written, it is an IPv4 address.
    check_list(&["::ffff:192.0.2.7"], "192.0.2.7");
    check_list(&["192.0.2.7, [::ffff:10.0.0.2]:80"], "192.0.2.7");
}

#[test]
fn no_more_than_32_elements_are_looked_at() {
    let list = |proxies: usize, first: &str, element: &str| {
        let elements: Vec<_> = std::iter::once(first).chain(std::iter::repeat_n(element, proxies)).collect();
        elements.join(", ")
    };
    check_list(&[&list(31, "192.0.2.7", "10.0.0.2")], "192.0.2.7");
    check_list(&[&list(32, "192.0.2.7", "10.0.0.2")], "10.0.0.2");
    check_elements(&[&list(31, "for=192.0.2.7", "for=10.0.0.2")], "192.0.2.7");
    check_elements(&[&list(32, "for=192.0.2.7", "for=10.0.0.2")], "10.0.0.2");
}

#[test]
fn the_scheme_is_the_last_one_that_was_said() {
    let check = |values: &[&str], expected| {
        let fields: Vec<_> = values.iter().map(|value| ("x-forwarded-proto", *value)).collect();
        assert_eq!(from("10.0.0.1", Believe::XForwarded, &fields).scheme, expected, "{values:?}");
    };
    check(&["https"], Some(Scheme::Https));
    check(&["HTTP"], Some(Scheme::Http));
    check(&["http, https"], Some(Scheme::Https));
    check(&["https", "http"], Some(Scheme::Http));
    for wrong in ["", "https,", "ws", "httpss", "https:", "\"https\""] {
        check(&["https", wrong], None);
    }
}

#[test]
fn the_host_is_one_authority() {
    let check = |values: &[&str], expected: Option<&'static str>| {
        let fields: Vec<_> = values.iter().map(|value| ("x-forwarded-host", *value)).collect();
        let host = from("10.0.0.1", Believe::XForwarded, &fields).host;
        assert_eq!(host, expected.map(HeaderValue::from_static), "{values:?}");
    };
    check(&["Shop.example"], Some("shop.example"));
    check(&["shop.example:8443"], Some("shop.example:8443"));
    check(&["[2001:DB8::7]:8443"], Some("[2001:db8::7]:8443"));
    check(&["a", "b"], None);
    for wrong in ["", ":80", "a, b", "a,b", "a b", "user@a", "a/b", "a:x", "[::1", "\u{e4}"] {
        check(&[wrong], None);
    }
}

#[test]
fn forwarded_is_read_as_its_examples_are_written() {
    // RFC 7239, 4, 6 and 7.1.
    check_elements(&["for=\"_gazonk\""], "");
    check_elements(&["For=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17");
    check_elements(&["for=192.0.2.60;proto=http;by=203.0.113.43"], "192.0.2.60");
    check_elements(&["for=192.0.2.43, for=198.51.100.17"], "198.51.100.17");
    check_elements(&["for=192.0.2.43, for=\"[2001:db8:cafe::17]\", for=unknown"], "");
    check_elements(&["for=192.0.2.43", "for=\"[fd00::17]\"", "for=10.0.0.2"], "192.0.2.43");
    check_elements(&["for=192.0.2.43,for=\"10.0.0.2:_https\";by=\"_a,b;c\""], "192.0.2.43");
}

#[test]
fn forwarded_is_read_by_all_of_its_grammar() {
    for good in [
        "FOR=192.0.2.7",
        ";for=192.0.2.7;",
        "by=10.0.0.1;;for=192.0.2.7",
        "for=192.0.2.7;x=\"a\\\"b,c;for=6.6.6.6\"",
        "for=\"1\\92.0.2.7\"",
        "for=\"\\1\\9\\2.0.2.7\"",
        "for=\"192.0.2.7:80\"",
        "for=6.6.6.6, , for=192.0.2.7 ,",
        // Which RFC 9110, 5.6.6 allows for other fields' parameters.
        "for=192.0.2.7 ; proto=https",
        "for=6.6.6.6;for=6.6.6.6, for=192.0.2.7",
    ] {
        check_elements(&[good], "192.0.2.7");
    }
}

#[test]
fn a_line_that_is_not_well_formed_is_not_believed_and_ends_the_walk() {
    for wrong in [
        "for=192.0.2.7:80",
        "for=[::1]",
        "for=\"192.0.2.7",
        "for=\"192.0.2.7\\",
        "for=\"192.0.2.7\"x",
        "for=192.0.2.7 proto=https",
        "for =192.0.2.7",
        "for= 192.0.2.7",
        "for=",
        "for",
        "=192.0.2.7",
        "for=192.0.2.7=",
        "192.0.2.7",
        "x=\", for=192.0.2.7",
        "for=6.6.6.6 x, for=192.0.2.7",
    ] {
        check_elements(&[wrong], "");
        check_elements(&["for=192.0.2.7", wrong, "for=10.0.0.2"], "10.0.0.2");
    }
}

#[test]
fn an_element_that_is_not_clear_ends_the_walk() {
    for wrong in [
        "proto=https",
        "for=2001:db8::7;x=\"\"",
        "for=\"2001:db8::7\"",
        "for=unknown",
        // RFC 7239, 4: "each parameter must not occur more than once per field-value".
        "for=192.0.2.7;FOR=192.0.2.7",
        "for=192.0.2.7;host=a;Host=b",
        "for=192.0.2.7;secret=a;secret=b",
        "for=192.0.2.7;a=;",
        &(0..16).fold("for=192.0.2.7".into(), |text: String, at| format!("{text};x{at}=1")),
    ] {
        check_elements(&[wrong], "");
    }
    check_elements(&["for=192.0.2.8;by=_a;BY=_b, for=10.0.0.2"], "10.0.0.2");
}

#[test]
fn scheme_and_host_are_those_of_the_element_that_names_the_client() {
    let check = |line: &str, scheme, host: Option<&'static str>| {
        let origin = from("10.0.0.1", Believe::Forwarded, &[("forwarded", line)]);
        assert_eq!((origin.scheme, origin.host), (scheme, host.map(HeaderValue::from_static)), "{line}");
    };
    check("for=192.0.2.7;proto=HTTPS;host=\"A.example:81\"", Some(Scheme::Https), Some("a.example:81"));
    check("for=192.0.2.7;proto=https;host=a, for=10.0.0.2;proto=http;host=b", Some(Scheme::Https), Some("a"));
    check("for=6.6.6.6;proto=http;host=evil, for=192.0.2.7, for=10.0.0.2;proto=http;host=b", None, None);
    check("for=_x;proto=https;host=a, for=10.0.0.2;proto=http;host=b", Some(Scheme::Http), Some("b"));
    check("for=192.0.2.7;proto=ftp;host=\"a b\"", None, None);
    check("for=192.0.2.7;proto=\"http\\s\";host=\"\\a\"", Some(Scheme::Https), Some("a"));
    // The peer said so, even if it does not say of whom.
    check("for=192.0.2.7;proto=http, for=unknown;proto=https;host=a", Some(Scheme::Https), Some("a"));
    check("proto=https;host=a;proto=http", None, None);
}
