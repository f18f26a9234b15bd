//! Listening sockets: one for each worker on the same address, among which the kernel spreads new connections.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::oneshot;

use super::connection;
use super::exchange::Client;
use super::router::Router;
use super::worker::Worker;

/// Connections the kernel holds for a worker that is busy.
const BACKLOG: i32 = 1024;

/// How long to leave new connections waiting when there are no file descriptors for them.
const PAUSE: Duration = Duration::from_millis(50);

/// Binds one socket for each worker. Port 0 becomes a free one, the same for all.
///
/// # Errors
/// When the address cannot be had; the error names it.
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<TcpListener>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"));
    // Sockets with SO_REUSEPORT share an address with any others of the same user. Without this check, a second proxy
    // started by mistake would take half of the connections.
    if address.port() != 0 {
        drop(TcpListener::bind(address).map_err(named)?);
    }
    let first = bind_one(address).map_err(named)?;
    let bound = first.local_addr()?;
    let others = (1..workers).map(|_| bind_one(bound).map_err(named));
    std::iter::once(Ok(first)).chain(others).collect()
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts connections until told to stop. `address` is what the vips call this listener.
pub async fn accept(worker: Rc<Worker>, listener: TcpListener, address: SocketAddr, mut stop: oneshot::Receiver<()>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("the socket is non-blocking");
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            // Only once nothing waits in the kernel's queue: closing the socket would reset what does.
            _ = &mut stop => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let client = Client::new(peer, address);
                tokio::task::spawn_local(connection::serve(worker.clone(), stream, client));
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%address, %error, "cannot accept connections for a moment");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether it was only that client that went away.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// The addresses that are listened on.
#[derive(Default)]
pub struct Listeners {
    /// As the vips name them, and as they are bound: port 0 becomes a free one.
    bound: HashMap<SocketAddr, SocketAddr>,
}

impl Listeners {
    /// Binds what a release listens on and nobody does yet; answers the new sockets, one for each worker.
    ///
    /// # Errors
    /// When one of them cannot be had; then none of them is kept.
    pub fn open(&mut self, router: &Router, workers: usize) -> io::Result<Vec<(SocketAddr, Vec<TcpListener>)>> {
        let missing = router.listeners().filter(|address| !self.bound.contains_key(address));
        let opened: Vec<_> =
            missing.map(|address| Ok((address, bind(address, workers)?))).collect::<io::Result<_>>()?;
        for (address, sockets) in &opened {
            self.bound.insert(*address, sockets[0].local_addr()?);
        }
        Ok(opened)
    }

    /// Forgets the addresses that a release does not listen on; answers which.
    pub fn unused(&mut self, router: &Router) -> Vec<SocketAddr> {
        let used: Vec<_> = router.listeners().collect();
        let unused: Vec<_> = self.bound.keys().copied().filter(|address| !used.contains(address)).collect();
        for address in &unused {
            self.bound.remove(address);
        }
        unused
    }

    /// What is bound: as the vips name it, and as it is.
    pub fn bound(&self) -> Vec<(SocketAddr, SocketAddr)> {
        self.bound.iter().map(|(named, bound)| (*named, *bound)).collect()
    }
}
