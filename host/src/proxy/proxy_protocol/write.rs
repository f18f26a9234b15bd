//! The header that our connections to members begin with, where a pool wants one.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{BufMut, BytesMut};

use super::SIGNATURE;
use crate::spec::pool::ProxyVersion;

/// Both addresses, of one family.
#[derive(Clone, Copy)]
enum Ends {
    V4([Ipv4Addr; 2]),
    V6([Ipv6Addr; 2]),
}

/// Appends the header that speaks for a client at `source` which came to `destination`.
///
/// If one of them is not known the header says so, in the way that every receiver must accept: then the connection's
/// own addresses count. Such is also the header of a health check.
pub fn write(version: ProxyVersion, source: Option<SocketAddr>, destination: Option<SocketAddr>, out: &mut BytesMut) {
    let ends = source
        .zip(destination)
        .map(|(source, destination)| (Ends::of(source.ip(), destination.ip()), [source.port(), destination.port()]));
    match version {
        ProxyVersion::V1 => line(ends, out),
        ProxyVersion::V2 => binary(ends, out),
    }
}

impl Ends {
    /// Neither version can say that a connection has one end of each family; an IPv4 address has an IPv6 form.
    fn of(source: IpAddr, destination: IpAddr) -> Self {
        let mapped = |address| match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        match (source.to_canonical(), destination.to_canonical()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Self::V4([source, destination]),
            (source, destination) => Self::V6([mapped(source), mapped(destination)]),
        }
    }
}

fn line(ends: Option<(Ends, [u16; 2])>, out: &mut BytesMut) {
    let written = match ends {
        None => write!(out, "PROXY UNKNOWN\r\n"),
        Some((Ends::V4([source, destination]), [source_port, destination_port])) => {
            write!(out, "PROXY TCP4 {source} {destination} {source_port} {destination_port}\r\n")
        }
        Some((Ends::V6([source, destination]), [source_port, destination_port])) => {
            let (source, destination) = (hexadecimal(source), hexadecimal(destination));
            write!(out, "PROXY TCP6 {source} {destination} {source_port} {destination_port}\r\n")
        }
    };
    written.expect("the buffer grows");
}

/// Groups of hexadecimal digits only, as section 2.1 has it: no `::ffff:192.0.2.7`.
fn hexadecimal(address: Ipv6Addr) -> String {
    match (address.to_ipv4_mapped(), address.segments()) {
        (Some(_), [.., high, low]) => format!("::ffff:{high:x}:{low:x}"),
        (None, _) => address.to_string(),
    }
}

fn binary(ends: Option<(Ends, [u16; 2])>, out: &mut BytesMut) {
    /// Version 2 with the command LOCAL, and with the command PROXY.
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    out.put_slice(SIGNATURE);
    let Some((ends, ports)) = ends else {
        // No family, no addresses.
        out.put_slice(&[LOCAL, 0, 0, 0]);
        return;
    };
    match ends {
        Ends::V4(addresses) => {
            out.put_slice(&[PROXY, 0x11, 0, 12]);
            addresses.iter().for_each(|address| out.put_slice(&address.octets()));
        }
        Ends::V6(addresses) => {
            out.put_slice(&[PROXY, 0x21, 0, 36]);
            addresses.iter().for_each(|address| out.put_slice(&address.octets()));
        }
    }
    ports.iter().for_each(|port| out.put_u16(*port));
}
