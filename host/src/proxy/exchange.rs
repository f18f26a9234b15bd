//! One request and its answer, from the client's side: who asked, under which id, decided by which release.

use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::listener::Listener;
use crate::release::Flights;
use crate::spec::vip::VipLimits;

/// The other end of a connection, known before its first request.
pub struct Client {
    /// Where it comes from; `None` over a Unix socket, and where a PROXY protocol header does not say.
    pub address: Option<SocketAddr>,
    /// Where it came to.
    pub local: Option<SocketAddr>,
    /// Its IP address as a header value, made once.
    pub forwarded_for: HeaderValue,
    /// The listener it came to.
    pub listener: Arc<Listener>,
}

impl Client {
    /// A client that came from `address` to `listener`, bound at `local`.
    pub fn new(address: Option<SocketAddr>, local: Option<SocketAddr>, listener: Arc<Listener>) -> Self {
        let address = address.map(|address| SocketAddr::new(address.ip().to_canonical(), address.port()));
        let forwarded_for = match address {
            Some(address) => HeaderValue::from_str(&address.ip().to_string()).expect("an IP address is a field value"),
            // RFC 7239, 6.2.
            None => HeaderValue::from_static("unknown"),
        };
        Self { address, local, forwarded_for, listener }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => address.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

/// The client's end of one exchange, for what comes before the answer.
pub trait Asker {
    /// Passes on an interim answer (RFC 9110, 15.2), where the client can read it.
    fn interim(&self, status: StatusCode, fields: &HeaderMap);
    /// What the vip allows its clients, once the vip is known.
    fn limit(&self, limits: &VipLimits);
}

/// Names one exchange in headers, error pages and the log: 32 hex digits, unique and without meaning.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ExchangeId(u64, u64);

impl ExchangeId {
    /// The id as a header value.
    pub fn to_value(self) -> HeaderValue {
        let mut text = [0; 32];
        for (at, digit) in text.iter_mut().enumerate() {
            let half = if at < 16 { self.0 } else { self.1 };
            *digit = b"0123456789abcdef"[(half >> (60 - (at % 16) * 4)) as usize & 15];
        }
        HeaderValue::from_bytes(&text).expect("hex digits are a field value")
    }
}

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0, self.1)
    }
}

/// Where one worker's exchange ids come from: a random start of its own, then counting.
pub struct ExchangeIds {
    worker: u64,
    next: Cell<u64>,
}

impl Default for ExchangeIds {
    /// Ids that no other worker or process is likely to give out.
    fn default() -> Self {
        let random = || getrandom::u64().expect("the system has randomness");
        Self { worker: random(), next: Cell::new(random()) }
    }
}

impl ExchangeIds {
    /// The next id.
    pub fn next(&self) -> ExchangeId {
        let next = self.next.get();
        self.next.set(next.wrapping_add(1));
        ExchangeId(self.worker, next)
    }
}

/// A request in flight on the release that decided it. Ends when dropped; keeps no release alive.
pub struct Flight {
    flights: Arc<Flights>,
    worker: usize,
}

impl Flight {
    /// Begins with the decision.
    pub fn begin(flights: &Arc<Flights>, worker: usize) -> Self {
        flights.begin(worker, Instant::now());
        Self { flights: flights.clone(), worker }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.end(self.worker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_the_same_everywhere() {
        let id = ExchangeId(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
        assert_eq!(id.to_value(), "0123456789abcdeffedcba9876543210");
        assert_eq!(id.to_string(), "0123456789abcdeffedcba9876543210");
    }
}
