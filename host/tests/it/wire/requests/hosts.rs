//! Host (RFC 9112, 3.2; RFC 9110, 7.2): exactly one, and one that everybody reads the same.

use crate::wire::case::{Case, Table};
use crate::wire::seen::get;
use crate::wire::turn::refused;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = invalid().cases();
    cases.extend(valid().cases());
    cases
}

fn with(fields: &[u8]) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\n", fields, b"\r\n\r\n"].concat()
}

fn invalid() -> Table {
    Table::under("RFC 9112, 3.2: 400 where Host is missing, repeated or invalid", refused(&[400]))
        .raw("no Host", b"GET / HTTP/1.1\r\n\r\n")
        .raw("no Host among other fields", with(b"Accept: */*\r\nHosts: a"))
        .raw("two Hosts", with(b"Host: a\r\nHost: b"))
        .raw("the same Host twice", with(b"Host: a\r\nHost: a"))
        .raw("the same Host twice in different case", with(b"Host: a\r\nhost: a"))
        .raw("an empty Host and another", with(b"Host:\r\nHost: a"))
        .raw("two Hosts apart", with(b"Host: a\r\nAccept: */*\r\nHost: b"))
        .raw("three Hosts", with(b"Host: a\r\nHost: a\r\nHost: a"))
        .raw("a space in Host", with(b"Host: a b"))
        .raw("a tab in Host", with(b"Host: a\tb"))
        .raw("a path in Host", with(b"Host: a/b"))
        .raw("a query in Host", with(b"Host: a?b"))
        .raw("a fragment in Host", with(b"Host: a#b"))
        .raw("a user in Host", with(b"Host: user@a"))
        .raw("a scheme in Host", with(b"Host: http://a"))
        .raw("a backslash in Host", with(b"Host: a\\b"))
        .raw("a list of Hosts", with(b"Host: a, b"))
        .raw("a comma in Host", with(b"Host: a,b"))
        .raw("angle brackets in Host", with(b"Host: <a>"))
        .raw("quotes in Host", with(b"Host: \"a\""))
        .raw("NUL in Host", with(b"Host: a\0b"))
        .raw("a byte above ASCII in Host", with(b"Host: \xe9"))
        .raw("half an encoded byte in Host", with(b"Host: a%4"))
        .raw("a port that is a word", with(b"Host: a:http"))
        .raw("a port with a letter", with(b"Host: a:8x"))
        .raw("a port with a sign", with(b"Host: a:+80"))
        .raw("a port below all ports", with(b"Host: a:-1"))
        .raw("a port above all ports", with(b"Host: a:65536"))
        .raw("a port of many digits", with(b"Host: a:18446744073709551696"))
        .raw("two ports", with(b"Host: a:80:80"))
        .raw("a space before the port", with(b"Host: a :80"))
        .raw("a port without a host", with(b"Host: :80"))
        .raw("an IPv6 address without brackets", with(b"Host: ::1"))
        .raw("a bracket that does not close", with(b"Host: [::1"))
        .raw("a bracket that does not open", with(b"Host: ::1]"))
        .raw("letters after a bracket", with(b"Host: [::1]a"))
        .raw("a name in brackets", with(b"Host: [a]"))
        .raw("nothing in brackets", with(b"Host: []"))
        .raw("a space before the colon of Host", with(b"Host : a"))
        .raw("a folded Host", with(b"Host: a\r\n b"))
        .raw("a Host on a line folded away", with(b"X: y\r\n Host: a"))
}

fn valid() -> Table {
    let long = format!("Host: {}example", "a.".repeat(300));
    Table::under("RFC 9110, 7.2: host and port of the target", get("/"))
        .raw("Host in upper case", with(b"HOST: a"))
        .raw("Host without a space", with(b"Host:a"))
        .raw("Host with white space around it", with(b"Host: \t a \t "))
        .raw("Host after other fields", with(b"Accept: */*\r\nHost: a"))
        .expect("Host with a port", with(b"Host: a:8080"), get("/").hosts(&["a:8080"]))
        .expect("Host with the highest port", with(b"Host: a:65535"), get("/").hosts(&["a:65535"]))
        .expect("Host with the default port", with(b"Host: a:80"), get("/").hosts(&["a:80", "a"]))
        .expect("Host with an empty port", with(b"Host: a:"), get("/").hosts(&["a", "a:"]).or(refused(&[400])))
        .expect("Host with capitals", with(b"Host: Shop.Example"), get("/").hosts(&["shop.example", "Shop.Example"]))
        .expect("Host with an IPv6 address", with(b"Host: [::1]:80"), get("/").hosts(&["[::1]:80", "[::1]"]))
        .expect("Host with an IPv4 address", with(b"Host: 127.0.0.1:81"), get("/").hosts(&["127.0.0.1:81"]))
        .expect("Host with a last dot", with(b"Host: a."), get("/").hosts(&["a.", "a"]))
        .expect("Host with a low line", with(b"Host: a_b"), get("/").hosts(&["a_b"]))
        .expect("an empty Host", with(b"Host:"), get("/").hosts(&[""]).or(refused(&[400])))
        .expect("a Host longer than names are", with(long.as_bytes()), get("/").hosts(&[]).or(refused(&[400])))
}
