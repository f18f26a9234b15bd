//! One worker's connections to members: reused when idle, opened when none is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::Response;
use hyper::body::Frame;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

use super::exchange::{Asker, Client};
use super::h1;
use super::h1::member::Failure;
use super::h1::wire::Wire;
use super::pool::Transport;
use super::request_body::RequestBody;
use super::stream::{Plain, Stream};
use crate::address::Address;

/// Idle connections kept to one member by one worker; what is above is closed.
const IDLE_MAX: usize = 256;

/// How long a connection may be idle. Below what common members allow (nginx 75 s, Go and Node less or none), so that
/// we close first and no request meets a closing connection.
const IDLE_TIME: Duration = Duration::from_secs(4);

/// Opens and keeps connections to members.
#[derive(Default)]
pub struct Connector {
    idle: RefCell<HashMap<ConnectionKey, Vec<Idle>>>,
}

/// Which connections are alike: to the same member, secured in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    /// Where to.
    pub address: Address,
    /// How; see [`Transport::id`].
    pub transport: u64,
}

struct Idle {
    wire: Wire,
    since: Instant,
}

/// A request on its way to a member, and its answer, whatever the member speaks.
pub enum MemberExchange {
    /// HTTP/1.1.
    H1(Box<h1::member::Exchange>),
}

impl MemberExchange {
    /// The answer's head.
    pub fn poll_head(&mut self, cx: &mut Context<'_>, asker: &dyn Asker) -> Poll<Result<Response<()>, Failure>> {
        match self {
            Self::H1(exchange) => exchange.poll_head(cx, asker),
        }
    }

    /// The next piece of the answer.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match self {
            Self::H1(exchange) => exchange.poll_frame(cx),
        }
    }

    /// Passes on what the client sends; answers whether anything moved.
    pub fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::H1(exchange) => exchange.drive(cx),
        }
    }

    /// Whether all that the client sends has been passed on.
    pub fn is_request_done(&self) -> bool {
        match self {
            Self::H1(exchange) => exchange.is_request_done(),
        }
    }

    /// The length of what is left of the answer, where it is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::H1(exchange) => exchange.length(),
        }
    }

    /// Gives up what was not answered; see [`h1::member::Exchange::into_unsent`].
    pub fn into_unsent(self) -> (Option<RequestBody>, bool) {
        match self {
            Self::H1(exchange) => exchange.into_unsent(),
        }
    }

    /// When the request last moved.
    pub fn moved(&self) -> Instant {
        match self {
            Self::H1(exchange) => exchange.moved(),
        }
    }
}

impl Connector {
    /// An idle connection, if there is one that is open and silent.
    pub fn reuse(&self, key: &ConnectionKey) -> Option<Wire> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(key)?;
        // The last one given back is the least likely to be closed by now.
        while let Some(Idle { mut wire, since }) = connections.pop() {
            // What came unasked would be taken for the next answer.
            if since.elapsed() <= IDLE_TIME && wire.is_silent() {
                return Some(wire);
            }
        }
        None
    }

    /// A new connection.
    ///
    /// # Errors
    /// Why the member cannot be reached, a time-out included.
    pub async fn connect(
        &self,
        address: &Address,
        transport: &Arc<Transport>,
        client: &Client,
        timeout: Duration,
    ) -> io::Result<Wire> {
        let connect = async {
            let plain = match address {
                Address::Tcp(address) => {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    Plain::Tcp(stream)
                }
                Address::Unix(path) => Plain::Unix(UnixStream::connect(path).await?),
            };
            transport.secure(plain, client).await
        };
        let stream: Stream = tokio::time::timeout(timeout, connect)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "connecting took too long"))??;
        Ok(Wire::new(stream, BytesMut::new()))
    }

    /// Takes back what an exchange leaves: a connection that can carry another one is kept.
    pub fn give_back(&self, key: &ConnectionKey, exchange: MemberExchange) {
        let MemberExchange::H1(exchange) = exchange;
        let Some(mut wire) = exchange.into_idle() else { return };
        wire.rest();
        let mut idle = self.idle.borrow_mut();
        let connections = match idle.get_mut(key) {
            Some(connections) => connections,
            None => idle.entry(key.clone()).or_default(),
        };
        if connections.len() < IDLE_MAX {
            connections.push(Idle { wire, since: Instant::now() });
        }
    }

    /// Closes what has been idle for too long, or was closed by the member.
    pub fn close_idle(&self) {
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain_mut(|idle| idle.since.elapsed() <= IDLE_TIME && idle.wire.is_silent());
            !connections.is_empty()
        });
    }
}
