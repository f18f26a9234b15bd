//! The part of WebSocket's handshake that HTTP/2 leaves out (RFC 8441, 5), for where one side speaks HTTP/1 and the other
//! HTTP/2.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use sha1::{Digest, Sha1};

/// The field with a client's nonce.
pub const KEY: HeaderName = SEC_WEBSOCKET_KEY;

/// The field with the server's answer to it.
pub const ACCEPT: HeaderName = SEC_WEBSOCKET_ACCEPT;

/// RFC 6455, 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A client's nonce (RFC 6455, 4.1), made of 16 bytes.
pub fn key(nonce: [u8; 16]) -> HeaderValue {
    HeaderValue::try_from(STANDARD.encode(nonce)).expect("base64 is a field value")
}

/// What a server answers to a nonce (RFC 6455, 4.2.2).
pub fn accept(key: &HeaderValue) -> HeaderValue {
    let digest = Sha1::new().chain_update(key.as_bytes()).chain_update(GUID).finalize();
    HeaderValue::try_from(STANDARD.encode(digest)).expect("base64 is a field value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_that_of_the_rfcs_example() {
        // RFC 6455, 1.3.
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
