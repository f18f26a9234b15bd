//! Versions (RFC 9112, 2.3; RFC 9110, 2.5).

use crate::wire::case::{Case, Table};
use crate::wire::seen::get;
use crate::wire::turn::refused;

pub(super) fn cases() -> Vec<Case> {
    let with = |version: &str| format!("GET / {version}\r\nHost: a\r\n\r\n");
    Table::under("RFC 9112, 2.3: HTTP, a slash, a digit, a dot, a digit; case-sensitive", refused(&[400, 505]))
        .raw("HTTP in lower case", with("http/1.1"))
        .raw("Http in mixed case", with("Http/1.1"))
        .raw("version 1.10", with("HTTP/1.10"))
        .raw("version 01.1", with("HTTP/01.1"))
        .raw("version 1.01", with("HTTP/1.01"))
        .raw("version 1", with("HTTP/1"))
        .raw("version 1 and a dot", with("HTTP/1."))
        .raw("version .1", with("HTTP/.1"))
        .raw("version 11", with("HTTP/11"))
        .raw("version 1,1", with("HTTP/1,1"))
        .raw("version 1.1x", with("HTTP/1.1x"))
        .raw("version +1.1", with("HTTP/+1.1"))
        .raw("version -1.1", with("HTTP/-1.1"))
        .raw("version 1.a", with("HTTP/1.a"))
        .raw("no slash in the version", with("HTTP 1.1"))
        .raw("two slashes in the version", with("HTTP//1.1"))
        .raw("another protocol", with("HTTPS/1.1"))
        .raw("a protocol of telephones", with("SIP/2.0"))
        .raw("two versions", with("HTTP/1.1 HTTP/1.1"))
        .and("RFC 9110, 15.6.6: a major version that we do not speak here", refused(&[505]))
        .raw("version 2.0 in words", with("HTTP/2.0"))
        .raw("version 3.0 in words", with("HTTP/3.0"))
        .raw("version 9.9", with("HTTP/9.9"))
        .raw("version 0.9 in words", with("HTTP/0.9"))
        .and("RFC 9110, 2.5: a higher minor version is read as the highest that is known", get("/"))
        .raw("version 1.2", with("HTTP/1.2"))
        .raw("version 1.9", with("HTTP/1.9"))
        .and("RFC 9112, 2.3: there are no simple requests any more", refused(&[400, 505]))
        .raw("a simple request", b"GET /\r\n\r\n")
        .raw("a simple request with fields", b"GET /\r\nHost: a\r\n\r\n")
        .cases()
}
