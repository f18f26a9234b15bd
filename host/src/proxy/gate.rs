//! How many connections a listener has, over all workers, and each of its clients.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::spec::listener::ListenerLimits;
use crate::telemetry::Limit;

/// A listener's count of connections. Outlives releases.
#[derive(Debug, Default)]
pub struct Gate {
    connections: AtomicU32,
    /// Used where the limit for one client is below that for all.
    clients: Mutex<HashMap<IpAddr, u32>>,
}

/// One connection that was let in, until dropped.
#[derive(Debug)]
pub struct Admitted {
    gate: Arc<Gate>,
    client: Option<IpAddr>,
}

impl Gate {
    /// Lets a connection in.
    ///
    /// # Errors
    /// The limit that keeps it out.
    pub fn admit(self: &Arc<Self>, client: Option<IpAddr>, limits: &ListenerLimits) -> Result<Admitted, Limit> {
        let mut admitted = Admitted { gate: self.clone(), client: None };
        if self.connections.fetch_add(1, Ordering::Relaxed) >= limits.connections_max {
            return Err(Limit::Connections);
        }
        if limits.connections_per_client_max >= limits.connections_max {
            return Ok(admitted);
        }
        let Some(network) = client.map(network) else { return Ok(admitted) };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = clients.entry(network).or_default();
        if *connections >= limits.connections_per_client_max {
            drop(clients);
            return Err(Limit::ConnectionsPerClient);
        }
        *connections += 1;
        drop(clients);
        admitted.client = Some(network);
        Ok(admitted)
    }

    /// Connections that are open.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.gate.connections.fetch_sub(1, Ordering::Relaxed);
        let Some(client) = self.client else { return };
        let mut clients = self.gate.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connections) = clients.get_mut(&client) {
            *connections -= 1;
            if *connections == 0 {
                clients.remove(&client);
            }
        }
    }
}

/// What counts as one client: an IPv4 address, or the IPv6 network of 64 bits that a subscriber has at least.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_limited_in_all_and_for_each_client() {
        let gate = Arc::new(Gate::default());
        let limits = ListenerLimits { connections_max: 3, connections_per_client_max: 2, ..ListenerLimits::default() };
        let from = |client: &str| gate.admit(client.parse().ok(), &limits);
        let (one, _two) = (from("2001:db8::1").unwrap(), from("2001:db8::2").unwrap());
        assert_eq!(from("2001:db8::3").err(), Some(Limit::ConnectionsPerClient));
        let _three = from("192.0.2.1").unwrap();
        assert_eq!((from("192.0.2.2").err(), gate.connections()), (Some(Limit::Connections), 3));
        drop(one);
        assert!(from("2001:db8::3").is_ok());
    }
}
