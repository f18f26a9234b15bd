//! Listening sockets: one for each worker on the same address, among which the kernel spreads new connections.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Type};
use tokio::sync::oneshot;

use super::connection;
use super::descriptors::Taken;
use super::leaving::Leaving;
use super::stream::Plain;
use super::tls::TlsError;
use super::tls::certificates::Certificates;
use super::tls::server::server_config;
use super::worker::Worker;
use crate::address::Address;
use crate::release::Release;
use crate::spec::ListenerSpec;
use crate::telemetry::Limit;

/// Connections the kernel holds for a worker that is busy.
const BACKLOG: i32 = 1024;

/// Bytes of answers that the kernel holds for a client beyond those that are on their way. Without it, a client that reads
/// nothing has some megabytes put by for it, and looks as if it had taken them.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// How long to leave new connections waiting when the kernel gives us none.
const PAUSE: Duration = Duration::from_millis(50);

/// How long until we look again whether there are file descriptors for a connection.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A listener as one release has it.
pub struct Listener {
    /// Names its sockets; outlives releases.
    pub id: Arc<str>,
    /// What the vips call it.
    pub name: Box<str>,
    /// What is accepted there, and how.
    pub spec: ListenerSpec,
    /// What its TLS handshakes need; `None` is plain text.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

impl Listener {
    /// The listener that vips call `name`.
    ///
    /// # Errors
    /// What is wrong with its certificates.
    pub fn new(name: &str, spec: ListenerSpec, certificates: &Certificates) -> Result<Self, TlsError> {
        let tls = spec.tls.as_ref().map(|tls| server_config(tls, certificates)).transpose()?;
        Ok(Self { id: spec.id(name).into(), name: name.into(), spec, tls })
    }
}

/// A socket that accepts connections.
pub enum Socket {
    /// At an IP address.
    Tcp(TcpListener),
    /// At a path.
    Unix(UnixListener),
}

/// Binds one socket for each worker. Port 0 becomes a free one, the same for all.
///
/// # Errors
/// When the address cannot be had; the error names it.
pub fn bind(address: &Address, workers: usize) -> io::Result<Vec<Socket>> {
    let bound = match address {
        Address::Tcp(address) => bind_tcp(*address, workers),
        Address::Unix(path) => bind_unix(path, workers),
    };
    bound.map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
}

fn bind_tcp(address: SocketAddr, workers: usize) -> io::Result<Vec<Socket>> {
    // Sockets with SO_REUSEPORT share an address with any others of the same user. Without this check, a second proxy
    // started by mistake would take half of the connections.
    if address.port() != 0 {
        drop(TcpListener::bind(address)?);
    }
    let first = bind_one(address)?;
    let bound = first.local_addr()?;
    let others = (1..workers).map(|_| bind_one(bound));
    std::iter::once(Ok(first)).chain(others).map(|socket| socket.map(Socket::Tcp)).collect()
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// One socket, that all workers accept from.
fn bind_unix(path: &Path, workers: usize) -> io::Result<Vec<Socket>> {
    // What a process that was killed left behind is in the way; what somebody answers at is not ours to take.
    let left_behind = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if left_behind && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        std::fs::remove_file(path)?;
    }
    let socket = UnixListener::bind(path)?;
    socket.set_nonblocking(true)?;
    (0..workers).map(|_| socket.try_clone().map(Socket::Unix)).collect()
}

impl Socket {
    fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(Address::Tcp),
            Self::Unix(socket) => {
                let address = socket.local_addr()?;
                let path = address.as_pathname().ok_or(io::ErrorKind::InvalidInput)?;
                Ok(Address::Unix(path.to_owned()))
            }
        }
    }
}

/// Accepts connections until told to stop. `opened` is the listener as the release has it that opened the socket.
pub async fn accept(worker: Rc<Worker>, socket: Socket, opened: Arc<Listener>, mut stop: oneshot::Receiver<()>) {
    let socket = Accepting::from_std(socket).expect("the socket is non-blocking");
    let counts = &worker.ground.counts;
    let gate = counts.gate(&opened.id);
    let leaving = Rc::new(Leaving::default());
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = accept_one(&worker, &socket) => accepted,
            // Only once nothing waits in the kernel's queue: closing the socket would reset what does.
            _ = &mut stop => return leaving.begin(),
        };
        match accepted {
            Ok((stream, peer)) => {
                // As the current release has it: a switch may have changed what is spoken here.
                let listener = worker.current.pin().listeners.get(&opened.id).unwrap_or(&opened).clone();
                let descriptors = descriptors(&worker).await;
                // Behind a proxy that speaks for many, an address says nothing of the client.
                let client = peer.filter(|_| !listener.spec.proxy_protocol).map(|peer| peer.ip());
                match gate.admit(client, &listener.spec.limits) {
                    Ok(admitted) => {
                        let serve = connection::serve(worker.clone(), stream, peer, listener, leaving.clone());
                        tokio::task::spawn_local(async move {
                            let _held = (descriptors, admitted);
                            serve.await;
                        });
                    }
                    Err(limit) => {
                        counts.limited(worker.id, limit);
                        let refuse = connection::refuse(stream, listener.tls.is_some());
                        tokio::task::spawn_local(async move {
                            let _held = descriptors;
                            refuse.await;
                        });
                    }
                }
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                if let Some(left_out) = worker.log.spend() {
                    let address = &opened.spec.address;
                    tracing::warn!(%address, %error, left_out, "cannot accept connections for a moment");
                }
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    _ = &mut stop => return leaving.begin(),
                }
            }
        }
    }
}

/// The next connection, once there are file descriptors for it.
async fn accept_one(worker: &Worker, socket: &Accepting) -> io::Result<(Plain, Option<SocketAddr>)> {
    descriptors_are_there(worker).await;
    socket.accept().await
}

/// What one connection needs of file descriptors. Where there are none, it waits here, and those behind it in the kernel.
async fn descriptors(worker: &Worker) -> Taken {
    if let Some(taken) = worker.ground.descriptors.take() {
        return taken;
    }
    loop {
        descriptors_are_there(worker).await;
        if let Some(taken) = worker.ground.descriptors.take() {
            return taken;
        }
    }
}

async fn descriptors_are_there(worker: &Worker) {
    if worker.ground.descriptors.are_there() {
        return;
    }
    worker.ground.counts.limited(worker.id, Limit::Descriptors);
    while !worker.ground.descriptors.are_there() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// A socket of this worker's runtime.
enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Accepting {
    fn from_std(socket: Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(socket) => Self::Tcp(tokio::net::TcpListener::from_std(socket)?),
            Socket::Unix(socket) => Self::Unix(tokio::net::UnixListener::from_std(socket)?),
        })
    }

    async fn accept(&self) -> io::Result<(Plain, Option<SocketAddr>)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                // Answers are small and many; without this the last segment of each may wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
                Ok((Plain::Tcp(stream), Some(peer)))
            }
            Self::Unix(socket) => socket.accept().await.map(|(stream, _)| (Plain::Unix(stream), None)),
        }
    }
}

/// Whether it was only that client that went away.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

fn remove_socket(address: &Address) {
    if let Address::Unix(path) = address {
        let _ = std::fs::remove_file(path);
    }
}

/// What is listened on.
#[derive(Default)]
pub struct Listeners {
    /// By the listener's id, the address that is bound.
    bound: HashMap<Arc<str>, Address>,
    /// Sockets that nobody accepts from yet: the kernel holds what connects until the release serves that wants them.
    waiting: Vec<(Arc<Listener>, Vec<Socket>)>,
}

impl Listeners {
    /// Binds what a release listens on and nobody does yet: one socket for each worker.
    ///
    /// # Errors
    /// When one of them cannot be had; then none of them is kept.
    pub fn open(&mut self, release: &Release, workers: usize) -> io::Result<()> {
        let missing = release.listeners.values().filter(|listener| !self.bound.contains_key(&listener.id));
        let open = |listener: &Arc<Listener>| Ok((listener.clone(), bind(&listener.spec.address, workers)?));
        let opened: Vec<_> = missing.map(open).collect::<io::Result<_>>()?;
        for (listener, sockets) in &opened {
            self.bound.insert(listener.id.clone(), sockets[0].address()?);
        }
        self.waiting.extend(opened);
        Ok(())
    }

    /// The sockets that a release listens on and that no worker has yet.
    pub fn take_waiting(&mut self, release: &Release) -> Vec<(Arc<Listener>, Vec<Socket>)> {
        self.waiting.extract_if(.., |(listener, _)| release.listeners.contains_key(&listener.id)).collect()
    }

    /// Forgets the listeners that a release does not have; answers their ids.
    pub fn unused(&mut self, release: &Release) -> Vec<Arc<str>> {
        let unused: Vec<_> = self.bound.keys().filter(|id| !release.listeners.contains_key(*id)).cloned().collect();
        self.waiting.retain(|(listener, _)| release.listeners.contains_key(&listener.id));
        for id in &unused {
            self.bound.remove(id).iter().for_each(remove_socket);
        }
        unused
    }

    /// Nobody listens any more: what is left of it in the file system goes.
    pub fn close(&mut self) {
        self.waiting.clear();
        self.bound.drain().for_each(|(_, address)| remove_socket(&address));
    }

    /// What is bound, by the listener's id.
    pub fn bound(&self) -> Vec<(Arc<str>, Address)> {
        self.bound.iter().map(|(id, bound)| (id.clone(), bound.clone())).collect()
    }
}
