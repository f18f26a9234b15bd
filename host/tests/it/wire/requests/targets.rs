//! Targets (RFC 9112, 3.2 and 3.3; RFC 3986): what member and policy get is one origin form and one Host.

use crate::wire::case::{Case, Table};
use crate::wire::seen::{Seen, get, seen};
use crate::wire::turn::{answered, refused};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = no_targets().cases();
    cases.extend(origin_forms().cases());
    cases.extend(absolute_forms().cases());
    cases.extend(asterisks().cases());
    cases
}

fn to(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into()
}

fn no_targets() -> Table {
    Table::under("RFC 9112, 3.2: a target is a path, a URI, or nothing we serve", refused(&[400]))
        .raw("a word for a target", to("foo"))
        .raw("an authority for a target", to("a:80"))
        .raw("a name and a path for a target", to("a/path"))
        .raw("an asterisk with GET", to("*"))
        .raw("an asterisk with POST", b"POST * HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        .raw("an asterisk and a path", to("*/a"))
        .raw("a query without a path", to("?a=b"))
        .raw("a path that begins with a backslash", to("\\a"))
        .raw("a path that begins with two dots", to("../a"))
        .raw("a fragment", to("/a#b"))
        .raw("an empty fragment", to("/a#"))
        .raw("a fragment after a query", to("/a?b#c"))
        .and("RFC 3986, 2: a URI is made of visible ASCII", refused(&[400]))
        .raw("a control character in the target", to("/a\x01b"))
        .raw("NUL in the target", to("/a\0b"))
        .raw("DEL in the target", to("/a\x7fb"))
        .raw("a tab in the target", to("/a\tb"))
        .raw("a byte above ASCII in the target", b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("UTF-8 in the target", to("/\u{e9}"))
        .raw("UTF-8 in the query", to("/?\u{e9}"))
}

fn origin_forms() -> Table {
    let kept = |table: Table, name, target: &str| table.expect(name, to(target), get(target));
    let kept_or_refused =
        |table: Table, name, target: &str| table.expect(name, to(target), get(target).or(refused(&[400])));
    let mut table = Table::under("RFC 9110, 7.7: a target's path and query are passed on as they are", get("/"));
    for (name, target) in [
        ("a path that begins with two slashes", "//evil/path"),
        ("an empty segment", "/a//b"),
        ("dot segments", "/a/./b/../../c"),
        ("encoded dot segments", "/%2e%2e/%2E%2e/etc"),
        ("an encoded slash", "/a%2Fb%2fc"),
        ("encoded letters", "/%41%7a"),
        ("an empty query", "/?"),
        ("a query with a question mark and a slash", "/a?b=c?d/e"),
        ("a path with every other byte it may have", "/-._~!$&'()*+,;=:@"),
        ("a query with a URI in it", "/?to=http://b/c&d=%23"),
        ("a path with a colon in its first segment", "/a:b"),
    ] {
        table = kept(table, name, target);
    }
    table = table.and("RFC 3986, 2.1 and appendix A: bytes that no URI has, but many send", get("/"));
    for (name, target) in [
        ("a percent sign without digits", "/%zz"),
        ("a percent sign at the end", "/100%"),
        ("an encoded NUL", "/%00"),
        ("an encoded line break", "/%0d%0aX:%20y"),
        ("a backslash", "/a\\b"),
        ("brackets in a query", "/?a[]=1&b{}=2"),
        ("quotes in a query", "/?a=\"b\""),
        ("angle brackets in a query", "/?<b>"),
        ("a bar, a caret and a backtick in a query", "/?a|b^c`d"),
    ] {
        table = kept_or_refused(table, name, target);
    }
    table
}

fn absolute_forms() -> Table {
    let with = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    Table::under("RFC 9112, 3.2.2: a target with an authority of its own", get("/x"))
        .raw("an absolute target", with("http://a/x", "a"))
        .raw("an absolute target in upper case", with("HTTP://A/x", "a"))
        .expect("an absolute target with a query", with("http://a/x?y=z", "a"), get("/x?y=z"))
        .expect("an absolute target without a path", with("http://a", "a"), get("/"))
        .expect("an absolute target with a query and no path", with("http://a?y", "a"), get("/?y"))
        .expect("an absolute target with a port", with("http://a:81/x", "a:81"), get("/x").hosts(&["a:81"]))
        .expect("the default port in the target", with("http://a:80/x", "a"), get("/x").hosts(&["a", "a:80"]))
        .expect("the default port in Host", with("http://a/x", "a:80"), get("/x").hosts(&["a", "a:80"]))
        .expect("an absolute target with an IPv6 address", with("http://[::1]/x", "[::1]"), get("/x").hosts(&["[::1]"]))
        .expect(
            "an empty port in the target",
            with("http://a:/x", "a"),
            get("/x").hosts(&["a", "a:"]).or(refused(&[400])),
        )
        .expect(
            "an encoded letter in the authority",
            with("http://%61/x", "%61"),
            get("/x").hosts(&["a", "%61"]).or(refused(&[400])),
        )
        .expect(
            "https at a plain port",
            with("https://a/x", "a"),
            get("/x").or(refused(&[400, 421])).or(answered(&[421])),
        )
        .and("RFC 9112, 3.2: Host and the target must say the same", refused(&[400]))
        .raw("another Host than the target's", with("http://a/x", "b"))
        .raw("another port in Host than in the target", with("http://a/x", "a:81"))
        .raw("another port in the target than in Host", with("http://a:81/x", "a"))
        .raw("an empty Host beside an absolute target", with("http://a/x", ""))
        .raw("an absolute target and no Host", b"GET http://a/x HTTP/1.1\r\n\r\n")
        .raw("an absolute target and two Hosts", with("http://a/x", "a\r\nHost: a"))
        .and("RFC 9110, 4.2: an http URI has a host, and no user", refused(&[400]))
        .raw("no host in the target", with("http:///path", "a"))
        .raw("no host and no path in the target", with("http://", "a"))
        .raw("a port without a host in the target", with("http://:80/", "a"))
        .raw("a user in the target", with("http://user@a/", "a"))
        .raw("a user and a password in the target", with("http://a:80@b/", "b"))
        .raw("an empty user in the target", with("http://@a/", "a"))
        .raw("a port that is a word in the target", with("http://a:http/", "a"))
        .raw("a port above all ports in the target", with("http://a:99999/", "a"))
        .raw("a bracket that does not close in the target", with("http://[::1/", "[::1"))
        .raw("a comma in the target's authority", with("http://a,b/", "a,b"))
        .raw("a backslash in the target's authority", with("http://a\\b/", "a"))
        .raw("one slash after the scheme", with("http:/a", "a"))
        .raw("no slashes after the scheme", with("http:a", "a"))
        .raw("a scheme alone", with("http:", "a"))
        .raw("a fragment in an absolute target", with("http://a/x#y", "a"))
        .raw("another scheme", with("ftp://a/x", "a"))
        .raw("a space in an absolute target", with("http://a b/x", "a"))
}

fn asterisks() -> Table {
    let ours_or = |seen: Seen| answered(&[200, 204]).or(seen);
    Table::under("RFC 9110, 9.3.7: OPTIONS of the whole server", ours_or(seen("OPTIONS", "*")))
        .raw("OPTIONS with an asterisk", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        .and("RFC 9112, 3.2.4: an absolute target without a path is the asterisk", ours_or(seen("OPTIONS", "*")))
        .raw("OPTIONS with an absolute target and no path", b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n")
        .and("RFC 9110, 9.3.7: OPTIONS of one resource", seen("OPTIONS", "/"))
        .raw("OPTIONS with a path", b"OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n")
        .raw("OPTIONS with an absolute target and a path", b"OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect(
            "OPTIONS with content",
            b"OPTIONS / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
            seen("OPTIONS", "/").body("hi"),
        )
        .and("RFC 9112, 3.2: Host is there whatever the target", refused(&[400]))
        .raw("OPTIONS with an asterisk and no Host", b"OPTIONS * HTTP/1.1\r\n\r\n")
}
