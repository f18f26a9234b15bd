//! Of the bytes a connection begins with, a header is what it is whatever follows, and is written as it is read.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use switchback::proxy::proxy_protocol::{HEADER_BYTES_MAX, Parsed, parse, write};
use switchback::spec::pool::ProxyVersion;

fuzz_target!(|bytes: &[u8]| {
    let parsed = parse(bytes);
    let more = [bytes, b"\r\n\r\n"].concat();
    match parsed {
        // More bytes can end a header, and cannot mend one.
        Err(_) => assert_eq!(parse(&more), parsed),
        Ok(Parsed::Partial) => assert!(bytes.len() < HEADER_BYTES_MAX),
        Ok(Parsed::Header { length, source }) => {
            assert!(length <= bytes.len().min(HEADER_BYTES_MAX));
            assert_eq!(parse(&more), parsed);
            assert_eq!(parse(&bytes[..length]), parsed);
            for cut in [0, length / 2, length - 1] {
                assert_eq!(parse(&bytes[..cut]), Ok(Parsed::Partial));
            }
            for version in [ProxyVersion::V1, ProxyVersion::V2] {
                let mut out = BytesMut::new();
                write(version, source.map(|source| source.0), source.map(|source| source.1), &mut out);
                assert_eq!(parse(&out), Ok(Parsed::Header { length: out.len(), source }));
            }
        }
    }
});
