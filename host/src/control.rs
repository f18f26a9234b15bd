//! The control API: JSON over HTTP on a loopback address and a Unix socket. Owns no state: every route asks the switch.
//!
//! Reading is free to whoever reaches it; whatever changes something asks for the token in the state folder. It listens
//! before the host serves, to say that it does not yet.

pub mod routes;
pub mod journal;
pub mod once;
pub mod readiness;
pub mod views;
pub mod crashes;
pub mod metrics;
pub mod auth;
pub mod error;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr as SocketAddrOfUnix, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::once::Calls;
use self::readiness::Readiness;
use crate::digest::Digest;
use crate::switch::Switch;

/// Why the control API cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The address.
    #[error("the control API cannot listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The socket.
    #[error("the control API cannot listen on {0}")]
    Socket(PathBuf, #[source] std::io::Error),
}

/// What the routes share.
#[derive(Clone)]
pub struct Api {
    /// What everything is asked of.
    pub switch: Arc<Switch>,
    /// Whether requests should come to this host.
    pub readiness: watch::Receiver<Readiness>,
    /// What changes are asked for with.
    pub token: Arc<str>,
    /// Changes with a key that are under way.
    pub calls: Arc<Calls>,
    /// What is also asked for the few things that need the stronger role.
    pub admin_token: Arc<str>,
}

/// The sockets that the API is reached at.
#[derive(Debug)]
pub struct Sockets {
    /// At `control.listen`.
    pub tcp: TcpListener,
    /// In the state folder.
    pub unix: UnixListener,
}

impl Sockets {
    /// Binds them.
    ///
    /// # Errors
    /// When the address or the socket cannot be had.
    pub fn bind(listen: SocketAddr, path: &Path) -> Result<Self, ControlError> {
        let tcp = bind_tcp(listen)?;
        let unix = bind_unix(path).or_else(|error| without_disk(error, path, bind_abstract));
        let unix = unix.map_err(|error| ControlError::Socket(path.to_owned(), error))?;
        Ok(Self { tcp, unix })
    }

    /// Takes those of the process whose place we take; where we are to listen elsewhere, a new one.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn taken(listen: SocketAddr, taken: Self) -> Result<Self, ControlError> {
        let bound = taken.tcp.local_addr().map_err(|error| ControlError::Listen(listen, error))?;
        let is_it = bound == listen || listen.port() == 0 && bound.ip() == listen.ip();
        Ok(Self { tcp: if is_it { taken.tcp } else { bind_tcp(listen)? }, unix: taken.unix })
    }

    /// Where the API listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// The same sockets once more, for the runtime that this is called on. Nothing is accepted yet.
    ///
    /// # Errors
    /// When there are no file descriptors for it.
    pub fn listen(&self) -> std::io::Result<Listening> {
        let tcp = tokio::net::TcpListener::from_std(self.tcp.try_clone()?)?;
        let unix = tokio::net::UnixListener::from_std(self.unix.try_clone()?)?;
        Ok(Listening { tcp, unix })
    }
}

/// How long a call that was let in may take to begin, once the host drains.
const CALL_BEGINS: Duration = Duration::from_millis(100);

/// Sockets that the runtime has.
pub struct Listening {
    tcp: tokio::net::TcpListener,
    unix: tokio::net::UnixListener,
}

/// Serves the API until the host drains; then ends with the last call.
pub fn serve(listening: Listening, api: Api, draining: &watch::Receiver<bool>) -> JoinSet<()> {
    let tcp = UntilDraining::new(listening.tcp, draining);
    let unix = UntilDraining::new(listening.unix, draining);
    let routes = routes::all(api);
    let until = |mut draining: watch::Receiver<bool>| async move {
        let _ = draining.wait_for(|draining| *draining).await;
        // Connections of which nothing is read yet would be closed: whoever has just connected has a call on its way.
        tokio::time::sleep(CALL_BEGINS).await;
    };
    let on_tcp = axum::serve(tcp, routes.clone()).with_graceful_shutdown(until(draining.clone()));
    let on_unix = axum::serve(unix, routes).with_graceful_shutdown(until(draining.clone()));
    let mut serving = JoinSet::new();
    serving.spawn(async move { drop(on_tcp.await) });
    serving.spawn(async move { drop(on_unix.await) });
    serving
}

/// A listener that accepts nothing any more once the host drains: what waits in its queue is for the process that has our
/// place.
struct UntilDraining<L> {
    listener: Option<L>,
    draining: watch::Receiver<bool>,
}

impl<L: Listener> UntilDraining<L> {
    fn new(listener: L, draining: &watch::Receiver<bool>) -> Self {
        Self { listener: Some(listener), draining: draining.clone() }
    }
}

impl<L: Listener> Listener for UntilDraining<L> {
    type Io = L::Io;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        if let Some(listener) = &mut self.listener {
            tokio::select! {
                biased;
                _ = self.draining.wait_for(|draining| *draining) => {}
                accepted = listener.accept() => return accepted,
            }
        }
        self.listener = None;
        std::future::pending().await
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.as_ref().ok_or(ErrorKind::NotConnected)?.local_addr()
    }
}

/// Where new processes ask for the place of this one. On a disk that takes nothing, they cannot.
///
/// # Errors
/// When the socket cannot be had.
pub fn bind_take_over(path: &Path) -> Result<UnixListener, ControlError> {
    let nowhere = |_: &Path| bind_unix(&tempfile::tempdir()?.path().join("nobody"));
    let bound = bind_unix(path).or_else(|error| without_disk(error, path, nowhere));
    bound.map_err(|error| ControlError::Socket(path.to_owned(), error))
}

/// Another socket, where the disk has no room for this one.
fn without_disk(
    error: std::io::Error,
    path: &Path,
    other: impl FnOnce(&Path) -> std::io::Result<UnixListener>,
) -> std::io::Result<UnixListener> {
    if !matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::StorageFull) {
        return Err(error);
    }
    tracing::error!(%error, socket = %path.display(), "a socket cannot be made where it should be");
    other(path)
}

/// Where a host is reached that could not make its socket: a name beside all file systems (unix(7), "abstract"). Anybody
/// can take it, so whoever connects looks who is there.
///
/// # Errors
/// When there is no such path.
pub fn abstract_address(path: &Path) -> std::io::Result<SocketAddrOfUnix> {
    let folder = path.parent().unwrap_or(path).canonicalize()?;
    let name = Digest::of(folder.as_os_str().as_encoded_bytes());
    SocketAddrOfUnix::from_abstract_name(format!("switchback-{name}"))
}

fn bind_abstract(path: &Path) -> std::io::Result<UnixListener> {
    let listener = UnixListener::bind_addr(&abstract_address(path)?)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn bind_tcp(listen: SocketAddr) -> Result<TcpListener, ControlError> {
    let bound = TcpListener::bind(listen);
    let bound = bound.and_then(|tcp| tcp.set_nonblocking(true).map(|()| tcp));
    bound.map_err(|error| ControlError::Listen(listen, error))
}

/// The state folder's lock says that we are alone, so a socket that is there was left behind by a crash.
pub fn bind_unix(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
