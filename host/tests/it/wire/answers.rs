//! What members answer: passed on whole, or replaced by a 502, or broken off so that the client can tell.

use super::case::Case;

mod status_lines;
mod field_lines;
mod framing;
mod contents;
mod without_content;
mod interim;
mod connection;
mod old_clients;

pub(super) fn cases() -> Vec<Case> {
    let tables = [
        status_lines::cases(),
        field_lines::cases(),
        framing::cases(),
        contents::cases(),
        without_content::cases(),
        interim::cases(),
        connection::cases(),
        old_clients::cases(),
    ];
    tables.into_iter().flatten().collect()
}

/// An answer with these field lines, the last without its end, and then these bytes.
fn ok(lines: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\n", lines.as_ref(), b"\r\n\r\n", content.as_ref()].concat()
}

/// An answer in chunks, whose bytes these are.
fn chunked(content: impl AsRef<[u8]>) -> Vec<u8> {
    ok("Transfer-Encoding: chunked", content)
}
