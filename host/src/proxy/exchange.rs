//! One request and its answer, from the client's side: who asked, under which id, decided by which release.

use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::error::Error;
use super::fields::Fields;
use super::forwarded::{Peer, Scheme};
use super::listener::Listener;
use super::session::Session;
#[cfg(test)]
use super::tls::certificates::Certificates;
use super::tls::identity::Identity;
use super::vip::Vip;
use super::worker::Worker;
use crate::hex;
use crate::release::{Flights, Ground};
#[cfg(test)]
use crate::spec::ListenerSpec;
use crate::spec::vip::VipLimits;
use crate::telemetry::VipCounts;
use crate::time::clock;
use hyper::StatusCode;
use hyper::header::HeaderValue;

/// The other end of a connection, known before its first request.
#[derive(Clone)]
pub struct Client {
    /// Where it comes from: over TCP, or as a PROXY protocol header says.
    pub address: Option<SocketAddr>,
    /// Where it came to.
    pub local: Option<SocketAddr>,
    /// Where it comes from, as members are told.
    pub peer: Peer,
    /// How the connection is secured.
    pub scheme: Scheme,
    /// What it has proven to be.
    pub identity: Option<Arc<Identity>>,
    /// The listener it came to.
    pub listener: Arc<Listener>,
}

impl Client {
    /// A client that came from `address` to `listener`, bound at `local`.
    pub fn new(
        address: Option<SocketAddr>,
        local: Option<SocketAddr>,
        scheme: Scheme,
        listener: Arc<Listener>,
    ) -> Self {
        let peer = Peer::new(address.map(|address| address.ip()), &listener.spec);
        Self { address, local, peer, scheme, identity: None, listener }
    }

    /// A client for tests.
    #[cfg(test)]
    pub fn somebody() -> Self {
        let listener = ListenerSpec::plain("127.0.0.1:80".parse().unwrap());
        let listener = Listener::new("127.0.0.1:80", listener, &Certificates::default()).unwrap();
        Self::new("192.0.2.7:5".parse().ok(), None, Scheme::Http, listener.into())
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
    fn interim(&self, status: StatusCode, fields: &Fields);
    /// What the vip allows its clients, once the vip is known.
    fn limit(&self, limits: &VipLimits);
}

/// Names one exchange in headers, error pages and the log.
#[derive(Clone)]
pub enum ExchangeId {
    /// Ours: 32 hex digits, unique and without meaning.
    Own(u64, u64),
    /// That of a trusted proxy in front of us.
    Given(HeaderValue),
}

impl ExchangeId {
    /// Writes it behind `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Own(first, second) => {
                let mut digits = [0; 32];
                hex::write(&mut digits[..16], &first.to_be_bytes());
                hex::write(&mut digits[16..], &second.to_be_bytes());
                out.extend_from_slice(&digits);
            }
            Self::Given(value) => out.extend_from_slice(value.as_bytes()),
        }
    }
}

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(first, second) => write!(f, "{first:016x}{second:016x}"),
            Self::Given(value) => f.write_str(value.to_str().unwrap_or_default()),
        }
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
        ExchangeId::Own(self.worker, next)
    }
}

/// A request in flight on the release that decides it. Ends when dropped; keeps no release alive.
pub struct Flight {
    flights: Arc<Flights>,
    /// Where the vip has a limit.
    of_vip: Option<Arc<VipCounts>>,
    /// Where others may wait for its end.
    of_session: Option<Arc<Session>>,
    ground: Arc<Ground>,
    worker: usize,
}

impl Flight {
    /// Begins before the decision.
    ///
    /// # Errors
    /// When the host or the vip has as many in flight as it may have.
    pub fn begin(flights: &Arc<Flights>, vip: &Vip, worker: &Worker) -> Result<Self, Error> {
        let (ground, worker) = (worker.ground.clone(), worker.id);
        if !ground.counts.begin_request(worker, ground.requests_max) {
            ground.counts.end_request(worker);
            return Err(Error::Overload(ground.requests_max));
        }
        flights.begin(worker, clock::now());
        let mut flight = Self { flights: flights.clone(), of_vip: None, of_session: None, ground, worker };
        if let Some(max) = vip.limits.requests_max {
            let counts = vip.counts.clone();
            if counts.in_flight() >= max {
                return Err(Error::VipOverload(vip.name.to_string(), max));
            }
            counts.begin(worker);
            flight.of_vip = Some(counts);
        }
        if let Some(session) = &vip.session
            && session.spec.mode.holds_for().is_some()
        {
            session.begin(worker);
            flight.of_session = Some(session.clone());
        }
        Ok(flight)
    }

    /// It has become a tunnel, which may last for hours: nobody waits for its end any more.
    pub fn becomes_tunnel(&mut self) {
        if let Some(session) = self.of_session.take() {
            session.end(self.worker);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.end(self.worker);
        self.ground.counts.end_request(self.worker);
        if let Some(vip) = &self.of_vip {
            vip.end(self.worker);
        }
        self.becomes_tunnel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_the_same_everywhere() {
        let id = ExchangeId::Own(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
        let mut written = Vec::new();
        id.write(&mut written);
        assert_eq!(written, b"0123456789abcdeffedcba9876543210");
        assert_eq!(id.to_string(), "0123456789abcdeffedcba9876543210");
    }
}
