//! The control API: JSON over HTTP on a loopback address and a Unix socket. Owns no state: every route asks the switch.
//!
//! Reading is free to whoever reaches it; whatever changes something asks for the token in the state folder.

pub mod routes;
pub mod views;
pub mod metrics;
pub mod auth;
pub mod error;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

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
    token: Arc<str>,
}

/// Starts serving the API until the host drains. Answers the address it is bound to.
///
/// # Errors
/// When the address or the socket cannot be had.
pub async fn start(
    listen: SocketAddr,
    switch: Arc<Switch>,
    token: String,
    draining: watch::Receiver<bool>,
) -> Result<SocketAddr, ControlError> {
    let tcp = TcpListener::bind(listen).await.map_err(|error| ControlError::Listen(listen, error))?;
    let address = tcp.local_addr().map_err(|error| ControlError::Listen(listen, error))?;
    let socket = switch.store.socket_path();
    let unix = bind_unix(&socket).map_err(|error| ControlError::Socket(socket, error))?;
    let routes = routes::all(Api { switch, token: token.into() });
    let until = |mut draining: watch::Receiver<bool>| async move {
        let _ = draining.wait_for(|draining| *draining).await;
    };
    let on_tcp = axum::serve(tcp, routes.clone()).with_graceful_shutdown(until(draining.clone()));
    let on_unix = axum::serve(unix, routes).with_graceful_shutdown(until(draining));
    tokio::spawn(async move { on_tcp.await });
    tokio::spawn(async move { on_unix.await });
    Ok(address)
}

/// The state folder's lock says that we are alone, so a socket that is there was left behind by a crash.
fn bind_unix(path: &PathBuf) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
