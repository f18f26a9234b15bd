//! The PROXY protocol, versions 1 and 2: whom a connection speaks for, said ahead of its first byte.
//!
//! After HAProxy's `proxy-protocol.txt`; sections in comments are that text's. Pure: bytes in, addresses out. What
//! follows a header are the client's bytes, and nothing here looks at them. Whether a connection begins with a header
//! is the listener's to say, never guessed (section 2).

mod checksum;
mod write;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

pub use self::write::write;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header; more has to come.
    Partial,
    /// A whole header.
    Header {
        /// Its bytes; what follows is the client's.
        length: usize,
        /// Where the client's connection came from, and where it went. `None` where the sender speaks for itself, or
        /// does not know: then the connection's own addresses count.
        source: Option<(SocketAddr, SocketAddr)>,
    },
}

/// Why a connection does not begin with a header that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProxy {
    /// It begins with something else.
    #[error("expected a PROXY protocol header, got something else")]
    Signature,
    /// Version 1: no line of the right form.
    #[error("the PROXY protocol line is not well-formed")]
    Line,
    /// Version 1: no end of line where it must have come.
    #[error("the PROXY protocol line does not end within {LINE_BYTES_MAX} bytes")]
    LineTooLong,
    /// The binary signature, and then neither version 2 nor a version we know.
    #[error("expected version 2 of the PROXY protocol, got version {0}")]
    Version(u8),
    /// Neither LOCAL nor PROXY.
    #[error("expected the command LOCAL or PROXY, got {0}")]
    Command(u8),
    /// Not an address family and transport that are defined.
    #[error("the address family and transport {0:#04x} are not defined")]
    Family(u8),
    /// More than we take.
    #[error("a PROXY protocol header of {0} bytes is longer than {HEADER_BYTES_MAX}")]
    TooLong(usize),
    /// Its length leaves no room for its addresses.
    #[error("the PROXY protocol header is too short for its addresses")]
    TooShort,
    /// What follows the addresses is not well-formed.
    #[error("a type-length-value vector of the PROXY protocol header is not well-formed")]
    Vector,
    /// It was damaged on its way (section 2.2.3).
    #[error("the checksum of the PROXY protocol header is wrong")]
    Checksum,
}

/// Bytes of a line of version 1, its CRLF included (section 2.1).
pub const LINE_BYTES_MAX: usize = 107;

/// Bytes of a header of version 2. Addresses and certificates' names fit 536 bytes by design (section 2); this leaves
/// room for vectors of the sender's own, and is far below the 64 KiB that the length could say.
pub const HEADER_BYTES_MAX: usize = 4096;

const LINE_SIGNATURE: &[u8] = b"PROXY ";
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const FIXED_BYTES: usize = 16;

/// Reads the header that a connection begins with, as soon as all of it is there.
///
/// # Errors
/// What is wrong with it, as soon as that is certain; the connection is to be closed.
pub fn parse(bytes: &[u8]) -> Result<Parsed, NotProxy> {
    if agree(bytes, SIGNATURE) {
        return binary(bytes);
    }
    if agree(bytes, LINE_SIGNATURE) {
        return line(bytes);
    }
    Err(NotProxy::Signature)
}

/// Whether one is the beginning of the other.
fn agree(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(byte, expected)| byte == expected)
}

/// Version 1 (section 2.1): `PROXY TCP4 192.0.2.7 192.0.2.1 56324 443`, and CRLF.
fn line(bytes: &[u8]) -> Result<Parsed, NotProxy> {
    let within = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let is_cut = within.len() == LINE_BYTES_MAX;
    let incomplete = if is_cut { Err(NotProxy::LineTooLong) } else { Ok(Parsed::Partial) };
    let Some(end) = within.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else { return incomplete };
    match &within[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] => return incomplete,
        // "The receiver must not tolerate a single CR or LF character to end the line."
        _ => return Err(NotProxy::Line),
    }
    let mut words = within[..end].split(|byte| *byte == b' ').skip(1);
    let source = match words.next() {
        Some(b"TCP4") => Some(addresses::<Ipv4Addr>(words)?),
        Some(b"TCP6") => Some(addresses::<Ipv6Addr>(words)?),
        // "The receiver must ignore anything presented before the CRLF is found."
        Some(b"UNKNOWN") => None,
        _ => return Err(NotProxy::Line),
    };
    Ok(Parsed::Header { length: end + 2, source })
}

/// Source, destination and their ports, and no more.
fn addresses<'a, T: FromStr + Into<IpAddr>>(
    words: impl Iterator<Item = &'a [u8]>,
) -> Result<(SocketAddr, SocketAddr), NotProxy> {
    let mut words = words.map(|word| std::str::from_utf8(word).ok());
    let mut next = || words.next().flatten().ok_or(NotProxy::Line);
    // The standard library's parsers take no leading zeros either. They take `::ffff:192.0.2.7`, which the text does
    // not mention, and which is how `inet_ntop` writes the addresses of whoever came over IPv4 to an IPv6 socket.
    let address = |word: &str| word.parse::<T>().map(Into::into).map_err(|_| NotProxy::Line);
    let (source, destination) = (address(next()?)?, address(next()?)?);
    let (source_port, destination_port) = (port(next()?)?, port(next()?)?);
    match words.next() {
        None => Ok((endpoint(source, source_port), endpoint(destination, destination_port))),
        Some(_) => Err(NotProxy::Line),
    }
}

/// Decimal, without leading zeros (and without the `+` that the standard library takes).
fn port(word: &str) -> Result<u16, NotProxy> {
    let is_canonical = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| is_canonical).ok_or(NotProxy::Line)
}

/// An address as it is compared with networks: IPv4 is IPv4, however it is written.
fn endpoint(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.to_canonical(), port)
}

/// Version 2 (section 2.2).
fn binary(bytes: &[u8]) -> Result<Parsed, NotProxy> {
    let Some(&version_and_command) = bytes.get(12) else { return Ok(Parsed::Partial) };
    if version_and_command >> 4 != 2 {
        return Err(NotProxy::Version(version_and_command >> 4));
    }
    let is_local = match version_and_command & 15 {
        0 => true,
        1 => false,
        command => return Err(NotProxy::Command(command)),
    };
    let Some(&[family, high, low]) = bytes.get(13..FIXED_BYTES) else { return Ok(Parsed::Partial) };
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if length > HEADER_BYTES_MAX {
        return Err(NotProxy::TooLong(length));
    }
    // "Discard the protocol block including the family which is ignored."
    let source_bytes = if is_local { None } else { address_bytes(family)? };
    if source_bytes.is_some_and(|needed| length < FIXED_BYTES + needed) {
        return Err(NotProxy::TooShort);
    }
    let Some(header) = bytes.get(..length) else { return Ok(Parsed::Partial) };
    // How long the addresses of an unspecified family are is not known, hence neither where vectors would begin.
    let Some(needed) = source_bytes else { return Ok(Parsed::Header { length, source: None }) };
    let (addresses, vectors) = header[FIXED_BYTES..].split_at(needed);
    check_vectors(header, vectors)?;
    Ok(Parsed::Header { length, source: binary_addresses(addresses) })
}

/// Bytes of both addresses and their ports. `None` if the family or the transport is unspecified: the receiver is free
/// to accept that, and should ignore the addresses.
fn address_bytes(family_and_transport: u8) -> Result<Option<usize>, NotProxy> {
    let (family, transport) = (family_and_transport >> 4, family_and_transport & 15);
    // Stream or datagram: whoever spoke QUIC to the proxy in front of us came by datagrams, and is who it is.
    match (family, transport) {
        (0, 0..=2) | (1..=3, 0) => Ok(None),
        (1, 1 | 2) => Ok(Some(12)),
        (2, 1 | 2) => Ok(Some(36)),
        (3, 1 | 2) => Ok(Some(216)),
        _ => Err(NotProxy::Family(family_and_transport)),
    }
}

/// Both ends, of a family that has IP addresses; a Unix socket's paths mean nothing on another machine.
fn binary_addresses(bytes: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let both = |bytes: &[u8], address: fn(&[u8]) -> Option<IpAddr>, size: usize| {
        let (addresses, ports) = bytes.split_at(2 * size);
        let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
        Some((endpoint(address(&addresses[..size])?, port(0)), endpoint(address(&addresses[size..])?, port(2))))
    };
    match bytes.len() {
        12 => both(bytes, |bytes| <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from), 4),
        36 => both(bytes, |bytes| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from), 16),
        _ => None,
    }
}

/// Steps over the vectors; of their content only the checksum of the whole header is looked at.
fn check_vectors(header: &[u8], vectors: &[u8]) -> Result<(), NotProxy> {
    /// `PP2_TYPE_CRC32C`.
    const CHECKSUM: u8 = 0x03;
    let mut rest = vectors;
    let mut is_checked = false;
    while let Some((&kind, after)) = rest.split_first() {
        let (length, after) = after.split_first_chunk().ok_or(NotProxy::Vector)?;
        let (value, after) = after.split_at_checked(u16::from_be_bytes(*length).into()).ok_or(NotProxy::Vector)?;
        if kind == CHECKSUM {
            let expected = value.try_into().map(u32::from_be_bytes).map_err(|_| NotProxy::Vector)?;
            let (before, behind) = (header.len() - after.len() - value.len(), header.len() - after.len());
            // A second one would have to be computed with the first one in place, and the first without the second.
            if std::mem::replace(&mut is_checked, true) {
                return Err(NotProxy::Vector);
            }
            if checksum::crc32c([&header[..before], &[0; 4], &header[behind..]]) != expected {
                return Err(NotProxy::Checksum);
            }
        }
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
