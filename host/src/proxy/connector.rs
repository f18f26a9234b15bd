//! One worker's connections to members: reused when idle, opened when none is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::request_body::RequestBody;
use crate::address::Address;

/// Idle connections kept to one member by one worker; what is above is closed.
const IDLE_MAX: usize = 256;

/// How long a connection may be idle. Below what common members allow (nginx 75 s, Go and Node less or none), so that
/// we close first and no request meets a closing connection.
const IDLE_TIME: Duration = Duration::from_secs(4);

/// Opens and keeps connections to members.
#[derive(Default)]
pub struct Connector {
    idle: RefCell<HashMap<Address, Vec<Idle>>>,
}

struct Idle {
    sender: SendRequest<RequestBody>,
    since: Instant,
}

/// A connection that carries one request at a time.
pub struct MemberConnection {
    /// Sends the request.
    pub sender: SendRequest<RequestBody>,
}

impl Connector {
    /// An idle connection to this address, if there is one that is open and ready.
    pub fn reuse(&self, address: &Address) -> Option<MemberConnection> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(address)?;
        // The last one given back is the least likely to be closed by now.
        while let Some(Idle { sender, since }) = connections.pop() {
            if sender.is_closed() || since.elapsed() > IDLE_TIME {
                continue;
            }
            // Not ready yet: its last request is still being written, after an answer that came early. Nobody can say
            // how long that takes, so it is let go.
            if sender.is_ready() {
                return Some(MemberConnection { sender });
            }
        }
        None
    }

    /// A new connection.
    ///
    /// # Errors
    /// Why the member cannot be reached, a time-out included.
    pub async fn connect(&self, address: &Address, timeout: Duration) -> io::Result<MemberConnection> {
        let tcp = address.tcp().ok_or(io::ErrorKind::Unsupported)?;
        let stream = tokio::time::timeout(timeout, TcpStream::connect(tcp))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "connecting took too long"))??;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            http1::Builder::new().handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let address = address.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                // Whoever waits on it is told as well.
                tracing::debug!(member = %address, %error, "a connection to a member ended");
            }
        });
        Ok(MemberConnection { sender })
    }

    /// Keeps a connection whose answer has been read to its end.
    pub fn give_back(&self, address: &Address, connection: MemberConnection) {
        let sender = connection.sender;
        if sender.is_closed() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let connections = idle.entry(address.clone()).or_default();
        if connections.len() < IDLE_MAX {
            connections.push(Idle { sender, since: Instant::now() });
        }
    }

    /// Closes what has been idle for too long.
    pub fn close_idle(&self) {
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() <= IDLE_TIME);
            !connections.is_empty()
        });
    }
}
