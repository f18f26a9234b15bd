//! One worker's connections to members: reused when idle, opened when none is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Frame;
use rustc_hash::FxBuildHasher;
use rustix::io::Errno;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::descriptors::Descriptors;
use super::exchange::{Asker, Client};
use super::h1;
use super::h1::member::{Failure, MemberFault};
use super::h1::wire::Wire;
use super::h2;
use super::h2::member::Multiplexed;
use super::member::{Connected, Member};
use super::message::{RequestHead, Response};
use super::pool::Pool;
use super::request_body::RequestBody;
use super::stream::Stream;
use crate::address::Address;
use crate::spec::pool::{KeepAliveSpec, Protocol};
use crate::time::clock;

/// More idle connections than that are not counted before one is kept.
const MANY_IDLE: usize = 1024;

/// How long until we look again whether there is a file descriptor for a connection.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How long a connection of HTTP/2 may be idle: a member that closes one says so before (GOAWAY), so no request is lost.
const SHARED_IDLE_TIME: Duration = Duration::from_secs(60);

/// Opens and keeps connections to members.
pub struct Connector {
    /// The worker, and how many there are: each has its part of the connections to a member.
    worker: (usize, usize),
    descriptors: Arc<Descriptors>,
    idle: RefCell<HashMap<ConnectionKey, Vec<Idle>, FxBuildHasher>>,
    multiplexed: RefCell<HashMap<ConnectionKey, Vec<Shared>, FxBuildHasher>>,
    /// Held by whoever opens a connection that others can use as well.
    opening: RefCell<HashMap<ConnectionKey, Rc<Mutex<()>>, FxBuildHasher>>,
    /// Held by every connection, by the member it leads to.
    tokens: RefCell<HashMap<Address, Rc<()>, FxBuildHasher>>,
}

/// A connection that many exchanges share.
struct Shared {
    connection: Multiplexed,
    opened: Instant,
    used: Instant,
    age_max: Option<Duration>,
}

/// What a connection to a member holds for as long as it is there.
pub struct Held {
    /// When it was opened.
    pub since: Instant,
    _counted: Connected,
    _token: Rc<()>,
}

/// Where a connection leads, and how it is made and kept.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    /// The member.
    pub member: &'a Arc<Member>,
    /// The pool.
    pub pool: &'a Pool,
    /// Which connections are alike.
    pub key: &'a ConnectionKey,
    /// For whom.
    pub client: Option<&'a Client>,
    /// Time to get there.
    pub timeout: Duration,
}

/// Which connections are alike: to the same member, secured in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    /// Where to.
    pub address: Address,
    /// How; see [`super::transport::Transport::id`].
    pub transport: u64,
    /// Whether such connections serve one client only, and so are not kept.
    pub is_private: bool,
}

struct Idle {
    wire: Rc<RefCell<Wire>>,
    until: Instant,
}

/// A connection to a member that takes a request now.
pub enum MemberConnection {
    /// HTTP/1.1: one at a time.
    H1(Rc<RefCell<Wire>>),
    /// HTTP/2: many at once.
    H2(Multiplexed),
}

impl MemberConnection {
    /// Sends a request whose fields are as the member shall get them.
    ///
    /// # Errors
    /// What is left of it, where the connection takes no more.
    pub fn begin(self, head: &RequestHead, body: RequestBody) -> Result<MemberExchange, (MemberFault, RequestBody)> {
        match self {
            Self::H1(wire) => Ok(MemberExchange::H1(Box::new(h1::member::Exchange::begin(wire, head, body)))),
            Self::H2(mut shared) => shared.send(head, body).map(|exchange| MemberExchange::H2(Box::new(exchange))),
        }
    }
}

/// A request on its way to a member, and its answer, whatever the member speaks.
pub enum MemberExchange {
    /// HTTP/1.1.
    H1(Box<h1::member::Exchange>),
    /// HTTP/2.
    H2(Box<h2::member::Exchange>),
}

impl MemberExchange {
    /// The answer's head.
    pub fn poll_head(&mut self, cx: &mut Context<'_>, asker: &dyn Asker) -> Poll<Result<Response<()>, Failure>> {
        match self {
            Self::H1(exchange) => exchange.poll_head(cx, asker),
            Self::H2(exchange) => exchange.poll_head(cx, asker),
        }
    }

    /// The next piece of the answer.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match self {
            Self::H1(exchange) => exchange.poll_frame(cx),
            Self::H2(exchange) => exchange.poll_frame(cx),
        }
    }

    /// Passes on what the client sends; answers whether anything moved.
    pub fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::H1(exchange) => exchange.drive(cx),
            Self::H2(exchange) => exchange.drive(cx),
        }
    }

    /// Whether all that the client sends has been passed on.
    pub fn is_request_done(&self) -> bool {
        match self {
            Self::H1(exchange) => exchange.is_request_done(),
            Self::H2(exchange) => exchange.is_request_done(),
        }
    }

    /// The length of what is left of the answer, where it is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::H1(exchange) => exchange.length(),
            Self::H2(exchange) => exchange.length(),
        }
    }

    /// Whether trailers may follow the content.
    pub fn may_have_trailers(&self) -> bool {
        match self {
            // Chunked content may have them, and has no length.
            Self::H1(_) => false,
            Self::H2(exchange) => exchange.may_have_trailers(),
        }
    }

    /// Gives up what was not answered; see [`h1::member::Exchange::into_unsent`].
    pub fn into_unsent(self) -> (Option<RequestBody>, bool) {
        match self {
            Self::H1(exchange) => exchange.into_unsent(),
            Self::H2(exchange) => exchange.into_unsent(),
        }
    }

    /// Whether nothing of the request's content was taken: what was sent can be sent again.
    pub fn is_repeatable(&self) -> bool {
        match self {
            Self::H1(exchange) => exchange.is_repeatable(),
            Self::H2(exchange) => exchange.is_repeatable(),
        }
    }

    /// When the request last moved.
    pub fn moved(&self) -> Instant {
        match self {
            Self::H1(exchange) => exchange.moved(),
            Self::H2(exchange) => exchange.moved(),
        }
    }
}

impl Connector {
    /// No connections yet. Where file descriptors are short, none is kept.
    pub fn new(worker: usize, workers: usize, descriptors: Arc<Descriptors>) -> Self {
        Self {
            worker: (worker, workers),
            descriptors,
            idle: RefCell::default(),
            multiplexed: RefCell::default(),
            opening: RefCell::default(),
            tokens: RefCell::default(),
        }
    }

    /// A connection that is open already and takes a request now, if there is one.
    pub fn reuse(&self, key: &ConnectionKey, protocol: Protocol) -> Option<MemberConnection> {
        match protocol {
            Protocol::Http1 => self.idle(key).map(MemberConnection::H1),
            Protocol::Http2 => self.share(key).map(MemberConnection::H2),
        }
    }

    /// A connection that is opened now.
    ///
    /// # Errors
    /// Why the member cannot be reached, a time-out included.
    pub async fn open(&self, way: Way<'_>) -> io::Result<MemberConnection> {
        match way.pool.transport.protocol {
            Protocol::Http1 => {
                // From here on it counts: others look while this one is made.
                let held = self.hold(way.member);
                let stream = self.connect(way, way.timeout).await?;
                Ok(MemberConnection::H1(Rc::new(RefCell::new(Wire::to_member(stream, held)))))
            }
            Protocol::Http2 if way.key.is_private => {
                let held = self.hold(way.member);
                let stream = self.connect(way, way.timeout).await?;
                let connection = Multiplexed::begin(stream, held);
                tokio::time::timeout(way.timeout, connection).await.map_err(|_| timed_out())?.map(MemberConnection::H2)
            }
            Protocol::Http2 => self.open_shared(way).await.map(MemberConnection::H2),
        }
    }

    /// Connections to a member that this worker has, in use or not.
    pub fn connections(&self, address: &Address) -> usize {
        self.tokens.borrow().get(address).map_or(0, |token| Rc::strong_count(token) - 1)
    }

    /// Whether this worker has as many connections to a member as it may have, and none of them takes a request now.
    pub fn is_full(&self, pool: &Pool, member: &Member) -> bool {
        if self.has_part_left(pool, member) {
            return false;
        }
        let key = pool.transport.key(&member.address);
        match pool.transport.protocol {
            Protocol::Http1 => self.idle.borrow().get(&key).is_none_or(Vec::is_empty),
            Protocol::Http2 => {
                let multiplexed = self.multiplexed.borrow();
                !multiplexed.get(&key).is_some_and(|connections| connections.iter().any(Shared::has_room))
            }
        }
    }

    /// Whether this worker may open one more connection to a member.
    fn has_part_left(&self, pool: &Pool, member: &Member) -> bool {
        let Some(max) = pool.spec.limits.member_connections_max else { return true };
        // What is left over goes to the first ones. None has to ask the others, and none is left without.
        let (worker, workers) = self.worker;
        let part = max as usize / workers + usize::from(worker < max as usize % workers);
        self.connections(&member.address) < part.max(1)
    }

    fn hold(&self, member: &Arc<Member>) -> Held {
        let token = self.tokens.borrow_mut().entry(member.address.clone()).or_default().clone();
        Held { since: Instant::now(), _counted: Connected::new(member), _token: token }
    }

    /// An idle connection that is silent.
    fn idle(&self, key: &ConnectionKey) -> Option<Rc<RefCell<Wire>>> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(key)?;
        // The last one given back is the least likely to be closed by now.
        while let Some(Idle { wire, until }) = connections.pop() {
            // What came unasked would be taken for the next answer.
            if clock::now() <= until && wire.borrow_mut().is_silent() {
                return Some(wire);
            }
        }
        None
    }

    /// A connection that many exchanges share, if there is one with room.
    fn share(&self, key: &ConnectionKey) -> Option<Multiplexed> {
        let mut multiplexed = self.multiplexed.borrow_mut();
        let shared = multiplexed.get_mut(key)?.iter_mut().find(|shared| shared.has_room())?;
        shared.used = clock::now();
        Some(shared.connection.clone())
    }

    /// A connection that many exchanges share: opened by the first who asks, while the others wait for it.
    ///
    /// # Errors
    /// Why the member cannot be reached, a time-out included.
    async fn open_shared(&self, way: Way<'_>) -> io::Result<Multiplexed> {
        let Way { key, timeout, .. } = way;
        let turn = self.opening.borrow_mut().entry(key.clone()).or_default().clone();
        let began = Instant::now();
        // Who waits for a turn waits no longer than for a connection: where the member cannot be reached, all that wait
        // would otherwise find that out one after the other.
        let _turn = tokio::time::timeout(timeout, turn.lock()).await.map_err(|_| timed_out())?;
        let held = loop {
            if let Some(shared) = self.share(key) {
                return Ok(shared);
            }
            if self.has_part_left(way.pool, way.member) {
                break self.hold(way.member);
            }
            // Those who came before have taken what there was: one of their requests will end.
            if began.elapsed() >= timeout {
                return Err(io::ErrorKind::QuotaExceeded.into());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        let left = timeout.saturating_sub(began.elapsed());
        let stream = self.connect(way, left).await?;
        let left = timeout.saturating_sub(began.elapsed());
        let connection = Multiplexed::begin(stream, held);
        let connection = tokio::time::timeout(left, connection).await.map_err(|_| timed_out())??;
        // Kept, it would be joined by another one for each request, and each would wait there.
        if !connection.has_room() {
            return Err(io::Error::other("the member takes no requests (SETTINGS_MAX_CONCURRENT_STREAMS)"));
        }
        let (now, age_max) = (Instant::now(), way.pool.spec.keep_alive.age_max);
        let shared = Shared { connection: connection.clone(), opened: now, used: now, age_max };
        self.multiplexed.borrow_mut().entry(key.clone()).or_default().push(shared);
        Ok(connection)
    }

    async fn connect(&self, way: Way<'_>, timeout: Duration) -> io::Result<Stream> {
        let began = Instant::now();
        loop {
            let left = timeout.saturating_sub(began.elapsed());
            match way.pool.transport.connect(&way.member.address, way.client, left).await {
                // Those that are idle have what is wanted here; else somebody will, as soon as a request ends.
                Err(error) if is_out_of_descriptors(&error) && !left.is_zero() => {
                    self.idle.borrow_mut().clear();
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                connected => {
                    way.member.tried_to_reach(connected.is_ok());
                    return connected;
                }
            }
        }
    }

    /// Takes back what an exchange leaves: a connection that can carry another one is kept.
    pub fn give_back(&self, key: &ConnectionKey, keep: &KeepAliveSpec, exchange: MemberExchange) {
        // Of HTTP/2, the stream ends with the exchange, and the connection was never taken.
        let MemberExchange::H1(exchange) = exchange else { return };
        if key.is_private || self.descriptors.are_short() {
            return;
        }
        if let Some(wire) = exchange.into_idle() {
            self.keep(key, keep, wire);
        }
    }

    /// Opens a connection that waits for a request, where this worker has none to that member.
    ///
    /// # Errors
    /// Why the member cannot be reached.
    pub async fn warm_up(&self, way: Way<'_>) -> io::Result<()> {
        if way.key.is_private || self.descriptors.are_short() || self.connections(&way.member.address) > 0 {
            return Ok(());
        }
        if let MemberConnection::H1(wire) = self.open(way).await? {
            self.keep(way.key, &way.pool.spec.keep_alive, wire);
        }
        Ok(())
    }

    fn keep(&self, key: &ConnectionKey, keep: &KeepAliveSpec, wire: Rc<RefCell<Wire>>) {
        let now = clock::now();
        let ages = keep.age_max.zip(wire.borrow().opened()).map(|(age, opened)| opened + age);
        if ages.is_some_and(|ages| ages <= now) {
            return;
        }
        wire.borrow_mut().rest();
        let until = ages.map_or(now + keep.idle_timeout, |ages| ages.min(now + keep.idle_timeout));
        let mut idle = self.idle.borrow_mut();
        let connections = match idle.get_mut(key) {
            Some(connections) => connections,
            None => idle.entry(key.clone()).or_default(),
        };
        if connections.len() < keep.idle_max as usize {
            connections.push(Idle { wire, until });
        }
        let idle_max = self.descriptors.idle_max();
        if idle_max < MANY_IDLE && idle.values().map(Vec::len).sum::<usize>() > idle_max {
            // Not the one that was just used, if there is another: it is the least likely to be closed by now.
            let other = idle.iter().find(|(other, connections)| *other != key && !connections.is_empty());
            let victim = other.map_or(key, |(other, _)| other).clone();
            idle.get_mut(&victim).and_then(Vec::pop);
        }
    }

    /// Closes what has been idle for too long, or was closed by the member.
    pub fn close_idle(&self) {
        let now = Instant::now();
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain(|idle| now <= idle.until && idle.wire.borrow_mut().is_silent());
            !connections.is_empty()
        });
        self.multiplexed.borrow_mut().retain(|_, connections| {
            connections.retain(|shared| {
                let connection = &shared.connection;
                let is_over = shared.is_aged() || shared.used.elapsed() > SHARED_IDLE_TIME;
                connection.is_open() && !(connection.is_idle() && is_over)
            });
            !connections.is_empty()
        });
        self.opening.borrow_mut().retain(|_, turn| Rc::strong_count(turn) > 1);
        self.tokens.borrow_mut().retain(|_, token| Rc::strong_count(token) > 1);
    }
}

impl Shared {
    fn has_room(&self) -> bool {
        self.connection.has_room() && !self.is_aged()
    }

    fn is_aged(&self) -> bool {
        self.age_max.is_some_and(|age| self.opened.elapsed() >= age)
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::MFILE | Errno::NFILE))
}

pub(super) fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "connecting took too long")
}
