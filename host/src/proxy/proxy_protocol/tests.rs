use bytes::BytesMut;

use super::*;
use crate::spec::pool::ProxyVersion;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn between(source: &str, destination: &str) -> Option<(SocketAddr, SocketAddr)> {
    Some((at(source), at(destination)))
}

/// The answer to a header and a request behind it, of which nothing may be read.
fn check(header: &[u8], expected: Result<Option<(SocketAddr, SocketAddr)>, NotProxy>) {
    let expected = expected.map(|source| Parsed::Header { length: header.len(), source });
    let shown = header.escape_ascii();
    assert_eq!(parse(&[header, b"GET / HTTP/1.1\r\n\r\n"].concat()), expected, "{shown}");
    assert_eq!(parse(header), expected, "{shown}");
    if expected.is_ok() {
        for cut in 0..header.len() {
            assert_eq!(parse(&header[..cut]), Ok(Parsed::Partial), "{shown} cut at {cut}");
        }
    }
}

fn check_line(line: &str, expected: Result<Option<(SocketAddr, SocketAddr)>, NotProxy>) {
    check(format!("{line}\r\n").as_bytes(), expected);
}

/// A header of version 2: its 13th and 14th byte, and what follows the length.
fn header(version_and_command: u8, family: u8, block: &[&[u8]]) -> Vec<u8> {
    let block = block.concat();
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[version_and_command, family][..], &length, &block].concat()
}

const INET: &[u8] = &[192, 0, 2, 7, 192, 0, 2, 1, 0xdc, 0x04, 1, 187];

fn inet() -> Option<(SocketAddr, SocketAddr)> {
    between("192.0.2.7:56324", "192.0.2.1:443")
}

#[test]
fn a_line_names_both_ends() {
    // Section 2.1.
    check_line("PROXY TCP4 192.0.2.7 192.0.2.1 56324 443", Ok(inet()));
    check_line("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0", Ok(between("255.255.255.255:65535", "0.0.0.0:0")));
    let long = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let end = at(&format!("[{long}]:65535"));
    check_line(&format!("PROXY TCP6 {long} {long} 65535 65535"), Ok(Some((end, end))));
    check_line("PROXY TCP6 2001:DB8::7 ::1 1 2", Ok(between("[2001:db8::7]:1", "[::1]:2")));
    // How `inet_ntop` writes what came over IPv4 to an IPv6 socket: it is IPv4.
    check_line("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:c000:201 1 2", Ok(between("192.0.2.7:1", "192.0.2.1:2")));
}

#[test]
fn after_unknown_a_line_may_say_anything() {
    // Section 2.1: "the receiver must ignore anything presented before the CRLF is found".
    check_line("PROXY UNKNOWN", Ok(None));
    check_line("PROXY UNKNOWN ffff::1 whatever 65536", Ok(None));
    check(b"PROXY UNKNOWN \xff\0\r\n", Ok(None));
    check_line(&format!("PROXY UNKNOWN {}", "x".repeat(107 - 16)), Ok(None));
    check_line(&format!("PROXY UNKNOWN {}", "x".repeat(107 - 15)), Err(NotProxy::LineTooLong));
    check_line("PROXY UNKNOWNS", Err(NotProxy::Line));
}

#[test]
fn a_line_that_is_not_of_the_form_is_refused() {
    for line in [
        "PROXY ",
        "PROXY TCP4",
        "PROXY TCP5 192.0.2.7 192.0.2.1 1 2",
        "PROXY tcp4 192.0.2.7 192.0.2.1 1 2",
        "PROXY  TCP4 192.0.2.7 192.0.2.1 1 2",
        "PROXY TCP4  192.0.2.7 192.0.2.1 1 2",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1 2 ",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1 2 3",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1",
        "PROXY TCP4 192.0.2.7\t192.0.2.1 1 2",
        // "Heading zeroes are not permitted in front of numbers."
        "PROXY TCP4 192.0.02.7 192.0.2.1 1 2",
        "PROXY TCP4 192.0.2.7 192.0.2.1 01 2",
        "PROXY TCP4 192.0.2.7 192.0.2.1 1 00",
        "PROXY TCP4 192.0.2.7 192.0.2.1 +1 2",
        "PROXY TCP4 192.0.2.7 192.0.2.1 -1 2",
        "PROXY TCP4 192.0.2.7 192.0.2.1 65536 2",
        "PROXY TCP4 192.0.2.7 192.0.2.1 0x1 2",
        "PROXY TCP4 192.0.2 192.0.2.1 1 2",
        "PROXY TCP4 192.0.2.256 192.0.2.1 1 2",
        // "The advertised protocol family dictates what format to use."
        "PROXY TCP4 ::1 ::1 1 2",
        "PROXY TCP6 192.0.2.7 192.0.2.1 1 2",
        "PROXY TCP6 ::1 192.0.2.1 1 2",
        "PROXY TCP6 [::1] [::1] 1 2",
        "PROXY TCP6 ::1%1 ::1 1 2",
        "PROXY TCP6 1::2::3 ::1 1 2",
        "PROXY TCP6 1:2:3:4:5:6:7 ::1 1 2",
        "PROXY TCP6 12345::1 ::1 1 2",
    ] {
        check_line(line, Err(NotProxy::Line));
    }
}

#[test]
fn a_line_ends_with_cr_and_lf() {
    // Section 2.1: "the receiver must not tolerate a single CR or LF character to end the line".
    for text in ["PROXY UNKNOWN\n", "PROXY UNKNOWN\rx", "PROXY UNKNOWN a\rb\r\n", "PROXY UNKNOWN \n\r\n"] {
        check(text.as_bytes(), Err(NotProxy::Line));
    }
    // The CRLF is within the 107 bytes, or it is none.
    let text = format!("PROXY UNKNOWN {}\r", "x".repeat(107 - 15));
    assert_eq!(parse(&text.as_bytes()[..106]), Ok(Parsed::Partial));
    assert_eq!(parse(text.as_bytes()), Err(NotProxy::LineTooLong));
}

#[test]
fn what_is_no_header_is_known_by_its_first_wrong_byte() {
    // Section 2: "the receiver must not try to guess whether the protocol header is present or not".
    for text in ["G", "GET / HTTP/1.1\r\n\r\n", "PROXY\r\n", "PROXYX", "proxy ", "\r\n\r\n\r\n", "\r\n\r\n\0\r\nQUIT\r"]
    {
        assert_eq!(parse(text.as_bytes()), Err(NotProxy::Signature), "{text:?}");
    }
    assert_eq!(parse(b"\x16\x03\x01"), Err(NotProxy::Signature));
    assert_eq!(parse(b""), Ok(Parsed::Partial));
}

#[test]
fn a_binary_header_names_both_ends() {
    // Section 2.2; datagrams are QUIC's.
    check(&header(0x21, 0x11, &[INET]), Ok(inet()));
    check(&header(0x21, 0x12, &[INET]), Ok(inet()));
    let ends = [at("[2001:db8::7]:258"), at("[::1]:443")];
    let block = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[7], &[0; 15], &[1], &[1, 2, 1, 187]];
    check(&header(0x21, 0x21, &block), Ok(Some((ends[0], ends[1]))));
    check(&header(0x21, 0x22, &block), Ok(Some((ends[0], ends[1]))));
    let mapped = [&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 7], &[0; 10], &[0xff, 0xff, 192, 0, 2, 1], &INET[8..]];
    check(&header(0x21, 0x21, &mapped), Ok(inet()));
}

#[test]
fn a_sender_that_speaks_for_itself_or_knows_nothing_names_nobody() {
    // "Receivers must always consider this field to skip the appropriate number of bytes."
    check(&header(0x20, 0x00, &[]), Ok(None));
    check(&header(0x20, 0x11, &[INET]), Ok(None));
    // "Discard the protocol block including the family which is ignored."
    check(&header(0x20, 0xff, &[b"whatever"]), Ok(None));
    check(&header(0x20, 0x11, &[]), Ok(None));
    // "The receiver is free to accept the connection anyway and use the real endpoint addresses."
    for family in [0x00, 0x01, 0x02, 0x10, 0x20, 0x30] {
        check(&header(0x21, family, &[]), Ok(None));
        check(&header(0x21, family, &[b"whatever"]), Ok(None));
    }
    check(&header(0x21, 0x31, &[&[b'/'; 216]]), Ok(None));
    check(&header(0x21, 0x32, &[&[b'/'; 216]]), Ok(None));
}

#[test]
fn a_binary_header_that_is_not_defined_is_refused() {
    for first in [0x00, 0x10, 0x11, 0x31, 0xf1] {
        check(&header(first, 0x11, &[INET]), Err(NotProxy::Version(first >> 4)));
    }
    check(&header(0x22, 0x11, &[INET]), Err(NotProxy::Command(2)));
    check(&header(0x2f, 0x11, &[INET]), Err(NotProxy::Command(15)));
    for family in [0x03, 0x13, 0x1f, 0x23, 0x33, 0x40, 0x41, 0xf0] {
        check(&header(0x21, family, &[&[0; 216]]), Err(NotProxy::Family(family)));
    }
    // At the first byte that is wrong.
    assert_eq!(parse(&header(0x31, 0, &[])[..13]), Err(NotProxy::Version(3)));
}

#[test]
fn a_length_without_room_for_the_addresses_is_refused() {
    for (family, needed) in [(0x11, 12), (0x12, 12), (0x21, 36), (0x22, 36), (0x31, 216), (0x32, 216)] {
        check(&header(0x21, family, &[&vec![0; needed - 1]]), Err(NotProxy::TooShort));
        check(&header(0x21, family, &[]), Err(NotProxy::TooShort));
    }
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_the_bytes_are_there() {
    check(&header(0x20, 0, &[&[0; HEADER_BYTES_MAX - 16]]), Ok(None));
    let too_long = header(0x20, 0, &[&[0; HEADER_BYTES_MAX - 15]]);
    assert_eq!(parse(&too_long[..16]), Err(NotProxy::TooLong(HEADER_BYTES_MAX + 1)));
    assert_eq!(NotProxy::TooLong(4097).to_string(), "a PROXY protocol header of 4097 bytes is longer than 4096");
}

#[test]
fn vectors_are_stepped_over() {
    // Section 2.2: types unknown and known, empty ones, those for padding.
    let vectors = [&[0xe0, 0, 1, b'x'][..], &[0x04, 0, 0], &[0x02, 0, 3, b'a', b'.', b'b'], &[0xff, 1, 0], &[9; 256]];
    check(&header(0x21, 0x11, &[INET, &vectors.concat()]), Ok(inet()));
    for vectors in [&[1][..], &[1, 0], &[1, 0, 1], &[1, 0, 0, 1], &[1, 0xff, 0xff, 0]] {
        check(&header(0x21, 0x11, &[INET, vectors]), Err(NotProxy::Vector));
    }
    check(&header(0x21, 0x31, &[&[b'/'; 216], &[1, 0, 1]]), Err(NotProxy::Vector));
}

#[test]
fn a_checksum_that_is_there_must_be_right() {
    // Section 2.2.3: computed over the whole header, with zeros in its own place.
    let sum = |before: &[u8], behind: &[u8]| {
        let zeroed = header(0x21, 0x11, &[INET, before, &[3, 0, 4, 0, 0, 0, 0], behind]);
        checksum::crc32c([&zeroed, b"", b""]).to_be_bytes()
    };
    for (before, behind) in [(&b""[..], &b""[..]), (&[4, 0, 0], &[4, 0, 2, 1, 2])] {
        let sum = sum(before, behind);
        check(&header(0x21, 0x11, &[INET, before, &[3, 0, 4], &sum, behind]), Ok(inet()));
        let mut damaged = header(0x21, 0x11, &[INET, before, &[3, 0, 4], &sum, behind]);
        damaged[17] ^= 1;
        check(&damaged, Err(NotProxy::Checksum));
    }
    // Not of 32 bits, or there twice.
    check(&header(0x21, 0x11, &[INET, &[3, 0, 3, 0, 0, 0]]), Err(NotProxy::Vector));
    let again = sum(b"", &[3, 0, 4, 0, 0, 0, 0]);
    check(&header(0x21, 0x11, &[INET, &[3, 0, 4], &again, &[3, 0, 4, 0, 0, 0, 0]]), Err(NotProxy::Vector));
}

/// What is written, read again.
fn round(version: ProxyVersion, source: &str, destination: &str) -> (Vec<u8>, Parsed) {
    let mut out = BytesMut::from(&b"kept"[..]);
    write(version, source.parse().ok(), destination.parse().ok(), &mut out);
    let header = out[4..].to_vec();
    let parsed = parse(&header).unwrap();
    assert!(matches!(parsed, Parsed::Header { length, .. } if length == header.len()));
    (header, parsed)
}

#[test]
fn what_is_written_is_read_as_it_was_meant() {
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        for (source, destination) in [
            ("192.0.2.7:56324", "192.0.2.1:443"),
            ("[2001:db8::7]:0", "[::1]:65535"),
            ("192.0.2.7:1", "[::1]:2"),
            ("[::1]:1", "192.0.2.7:2"),
        ] {
            let (header, parsed) = round(version, source, destination);
            let source = between(source, destination);
            assert_eq!(parsed, Parsed::Header { length: header.len(), source });
        }
        for (source, destination) in [("", "192.0.2.1:443"), ("192.0.2.7:1", ""), ("", "")] {
            let (header, parsed) = round(version, source, destination);
            assert_eq!(parsed, Parsed::Header { length: header.len(), source: None });
        }
    }
}

#[test]
fn what_is_written_is_of_the_text_s_form() {
    let check = |version, source, destination, expected: &[u8]| {
        let (header, _) = round(version, source, destination);
        assert_eq!(header.escape_ascii().to_string(), expected.escape_ascii().to_string());
    };
    let ipv4 = ("192.168.0.1:56324", "192.168.0.11:443");
    check(ProxyVersion::V1, ipv4.0, ipv4.1, b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n");
    check(ProxyVersion::V1, "[::ffff:192.0.2.7]:1", "192.0.2.1:2", b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\n");
    check(ProxyVersion::V1, "192.0.2.7:1", "[::1]:2", b"PROXY TCP6 ::ffff:c000:207 ::1 1 2\r\n");
    check(ProxyVersion::V1, "", "", b"PROXY UNKNOWN\r\n");
    check(ProxyVersion::V2, "192.0.2.7:56324", "192.0.2.1:443", &header(0x21, 0x11, &[INET]));
    check(ProxyVersion::V2, "", "", &header(0x20, 0, &[]));
    let mapped = [&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 7], &[0; 15], &[1, 0, 1, 0, 2]];
    check(ProxyVersion::V2, "192.0.2.7:1", "[::1]:2", &header(0x21, 0x21, &mapped));
}

#[test]
fn a_header_of_any_bytes_is_answered_without_reading_past_it() {
    // A walk over damaged headers, from a seed; the fuzzer goes further.
    let good = header(0x21, 0x11, &[INET, &[3, 0, 4, 0, 0, 0, 0], &[4, 0, 2, 1, 2]]);
    let line = b"PROXY TCP6 2001:db8::7 ::1 56324 443\r\nGET / HTTP/1.1\r\n".to_vec();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20_000 {
        let mut bytes = if random & 1 == 0 { good.clone() } else { line.clone() };
        for _ in 0..(random >> 8) % 4 {
            // xorshift64.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let at = usize::try_from(random >> 32).unwrap() % bytes.len();
            bytes[at] = random.to_le_bytes()[0];
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if let Ok(Parsed::Header { length, source }) = parse(&bytes) {
            assert_eq!(parse(&bytes[..length]), Ok(Parsed::Header { length, source }));
            assert_eq!(parse(&bytes[..length - 1]), Ok(Parsed::Partial));
        }
    }
}
