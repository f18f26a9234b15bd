//! A listener, and accepting its connections: each worker from sockets of its own, or from those that all share.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connection;
use super::descriptors::Taken;
use super::gate::Gate;
use super::leaving::Leaving;
use super::socket::{Accepting, OfRuntime, Socket};
use super::stream::Plain;
use super::tls::TlsError;
use super::tls::certificates::Certificates;
use super::tls::server::server_config;
use super::worker::Worker;
use crate::spec::ListenerSpec;
use crate::telemetry::Limit;

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

/// How long a handshake that was half done when we stopped may take: its last round trip. Beyond a second the client begins
/// anew by itself.
const HALF_OPEN: Duration = Duration::from_millis(300);

/// Accepts connections until told to stop. `opened` is the listener as the release has it that opened the socket.
///
/// What is in the kernel's queue when a socket closes is reset. So where we are the last to accept from it, nobody new is
/// let into the queue, and what is in it, or on its way there, is served. Where somebody else accepts from it, it is theirs.
pub async fn accept(worker: Rc<Worker>, socket: Socket, opened: Arc<Listener>, mut stop: oneshot::Receiver<()>) {
    let socket = socket.into_accepting().expect("the socket is non-blocking");
    let gate = worker.ground.counts.gate(&opened.id);
    let leaving = Rc::new(Leaving::new(worker.ground.last_request));
    let door = Door { worker, opened, gate, leaving };
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut stop => break,
            accepted = accept_one(&door.worker, &socket) => accepted,
        };
        if !door.take_in(accepted).await {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                _ = &mut stop => break,
            }
        }
    }
    door.leaving.begin();
    if socket.is_shared() {
        return;
    }
    socket.turn_away_newcomers();
    let end = Instant::now() + HALF_OPEN.min(door.worker.ground.last_request);
    while let Ok(accepted) = tokio::time::timeout_at(end, accept_one(&door.worker, &socket)).await {
        if !door.take_in(accepted).await {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// What connections of one socket come into.
struct Door {
    worker: Rc<Worker>,
    opened: Arc<Listener>,
    gate: Arc<Gate>,
    leaving: Rc<Leaving>,
}

impl Door {
    /// Serves a connection; answers whether there may be another at once.
    async fn take_in(&self, accepted: io::Result<(Plain, Option<SocketAddr>)>) -> bool {
        let Self { worker, opened, gate, leaving } = self;
        match accepted {
            Ok((stream, peer)) => {
                // As the current release has it: a switch may have changed what is spoken here.
                let serving = worker.current.pin();
                let known = serving.releases().find_map(|release| release.listeners.get(&opened.id));
                let listener = known.unwrap_or(opened).clone();
                drop(serving);
                let descriptors = descriptors(worker).await;
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
                        worker.ground.counts.limited(worker.id, limit);
                        let refuse = connection::refuse(stream, listener.tls.is_some());
                        tokio::task::spawn_local(async move {
                            let _held = descriptors;
                            refuse.await;
                        });
                    }
                }
                true
            }
            Err(error) if is_of_the_connection(&error) => true,
            Err(error) => {
                if let Some(left_out) = worker.log.spend() {
                    let address = &opened.spec.address;
                    tracing::warn!(%address, %error, left_out, "cannot accept connections for a moment");
                }
                false
            }
        }
    }
}

/// The next connection, once there are file descriptors for it.
async fn accept_one(worker: &Worker, socket: &Accepting) -> io::Result<(Plain, Option<SocketAddr>)> {
    descriptors_are_there(worker).await;
    accept_from(&socket.socket).await
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

async fn accept_from(socket: &OfRuntime) -> io::Result<(Plain, Option<SocketAddr>)> {
    match socket {
        OfRuntime::Tcp(socket) => {
            let (stream, peer) = socket.accept().await?;
            // Answers are small and many; without this the last segment of each may wait for an acknowledgement.
            let _ = stream.set_nodelay(true);
            let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
            Ok((Plain::Tcp(stream), Some(peer)))
        }
        OfRuntime::Unix(socket) => socket.accept().await.map(|(stream, _)| (Plain::Unix(stream), None)),
    }
}

/// Whether it was only that client that went away.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
