//! Members that do what they are told at the moment, and say what they were asked; and what the host says of them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde_json::Value;
use switchback::proxy::events::EventKind;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use crate::peers::{Speaks, serve_http2};
use crate::support::{Body, Host, Member, in_time, read_head, serve, until, whole};

/// A member that answers with its name, until it is told otherwise.
pub(crate) struct Double {
    pub(crate) member: Member,
    told: Arc<Told>,
}

/// What a double is told, and what it has seen.
struct Told {
    name: &'static str,
    status: AtomicU16,
    fields: Mutex<Vec<(&'static str, String)>>,
    holds: AtomicBool,
    gate: Semaphore,
    hangs_up: AtomicBool,
    asked: Mutex<Vec<Asked>>,
    requests: Tally,
    connections: Tally,
}

/// A request as a double got it, whole.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) content: String,
}

/// How many there are now, and how many there ever were at once.
#[derive(Default)]
struct Tally {
    now: AtomicUsize,
    most: AtomicUsize,
}

struct Counted<'a>(&'a Tally);

impl Tally {
    fn one(&self) -> Counted<'_> {
        self.most.fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
        Counted(self)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, SeqCst);
    }
}

impl Double {
    pub(crate) async fn named(name: &'static str) -> Self {
        Self::speaking(Speaks::Http1, name).await
    }

    pub(crate) async fn speaking(speaks: Speaks, name: &'static str) -> Self {
        let told = Arc::new(Told {
            name,
            status: 200.into(),
            fields: Mutex::default(),
            holds: false.into(),
            gate: Semaphore::new(0),
            hangs_up: false.into(),
            asked: Mutex::default(),
            requests: Tally::default(),
            connections: Tally::default(),
        });
        let telling = told.clone();
        let member = Member::accepting(move |stream| serve_double(stream, speaks, telling.clone())).await;
        Self { member, told }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.member.address
    }

    /// Answers with this status from now on.
    pub(crate) fn answers(&self, status: u16) {
        self.told.status.store(status, SeqCst);
    }

    /// Answers with this field from now on, and no other.
    pub(crate) fn adds(&self, name: &'static str, value: impl Into<String>) {
        *self.told.fields.lock().unwrap() = vec![(name, value.into())];
    }

    /// Answers nobody from now on, before it is told to.
    pub(crate) fn holds(&self) {
        self.told.holds.store(true, SeqCst);
    }

    /// Answers so many of those that wait, or will.
    pub(crate) fn lets_go(&self, requests: usize) {
        self.told.gate.add_permits(requests);
    }

    /// Answers everybody again.
    pub(crate) fn holds_no_more(&self) {
        self.told.holds.store(false, SeqCst);
        self.lets_go(self.told.requests.now.load(SeqCst));
    }

    /// Closes every connection from now on, as soon as it has a request.
    pub(crate) fn hangs_up(&self, hangs_up: bool) {
        self.told.hangs_up.store(hangs_up, SeqCst);
    }

    /// Requests that it got whole.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.told.asked.lock().unwrap().clone()
    }

    /// How many.
    pub(crate) fn times(&self) -> usize {
        self.told.asked.lock().unwrap().len()
    }

    /// Requests it has now.
    pub(crate) fn has(&self) -> usize {
        self.told.requests.now.load(SeqCst)
    }

    /// The most requests that it ever had at once.
    pub(crate) fn most(&self) -> usize {
        self.told.requests.most.load(SeqCst)
    }

    /// The most connections that it ever had at once.
    pub(crate) fn most_connections(&self) -> usize {
        self.told.connections.most.load(SeqCst)
    }
}

async fn serve_double(mut stream: TcpStream, speaks: Speaks, told: Arc<Told>) {
    if told.hangs_up.load(SeqCst) {
        // Not before it has the request: what nobody got is sent again whatever it is.
        read_head(&mut stream).await;
        return;
    }
    let counting = told.clone();
    let _connection = counting.connections.one();
    let answer = Arc::new(move |request: Request<Incoming>| answer(told.clone(), request));
    match speaks {
        Speaks::Http1 => serve(stream, answer).await,
        Speaks::Http2 => serve_http2(stream, answer).await,
    }
}

async fn answer(told: Arc<Told>, request: Request<Incoming>) -> Response<Body> {
    let _request = told.requests.one();
    let (parts, body) = request.into_parts();
    let content = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    told.asked.lock().unwrap().push(Asked {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        headers: parts.headers,
        content: String::from_utf8_lossy(&content).into_owned(),
    });
    if told.holds.load(SeqCst) {
        told.gate.acquire().await.unwrap().forget();
    }
    let mut response = Response::builder().status(told.status.load(SeqCst));
    for (name, value) in told.fields.lock().unwrap().iter() {
        response = response.header(*name, value);
    }
    response.body(whole(told.name)).unwrap()
}

/// Goes away in a way that cannot be taken for a client that only has nothing more to say.
pub(crate) fn vanish(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

/// An address at which connections are neither taken nor refused.
pub(crate) struct BlackHole {
    pub(crate) address: SocketAddr,
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl BlackHole {
    pub(crate) async fn open() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        // Room for one that waits to be accepted; the kernel does not answer those that come after it.
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let waiting = vec![in_time("room for one", TcpStream::connect(address)).await.unwrap()];
        Self { address, _listener: listener, _waiting: waiting }
    }
}

impl Host {
    /// A pool as the control API shows it.
    pub(crate) async fn pool(&self, name: &str) -> Value {
        let (_, pools) = self.control("GET", "/v1/pools", "").await;
        pools.as_array().unwrap().iter().find(|pool| pool["name"] == name).expect("the pool is there").clone()
    }

    /// A member of the pool `blue`.
    pub(crate) async fn blue(&self, address: SocketAddr) -> Value {
        let pool = self.pool("blue").await;
        let members = pool["members"].as_array().unwrap();
        members.iter().find(|member| member["address"] == address.to_string()).expect("it is a member").clone()
    }

    /// Waits until a member of the pool `blue` is in this state.
    pub(crate) async fn wait_for_blue(&self, address: SocketAddr, state: &str) {
        in_time(state, async {
            while self.blue(address).await["state"] != state {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    /// The reasons of the events of a kind, oldest first.
    pub(crate) fn events_of(&self, kind: EventKind) -> Vec<String> {
        let events = self.app().switch.ground.events.last(1000);
        events.into_iter().rev().filter(|event| event.kind == kind).map(|event| event.reason).collect()
    }

    /// Waits until there are so many events of a kind.
    pub(crate) async fn wait_for_events(&self, kind: EventKind, count: usize) -> Vec<String> {
        until("an event", || self.events_of(kind).len() >= count).await;
        self.events_of(kind)
    }

    /// Requests in flight.
    pub(crate) fn in_flight(&self) -> u32 {
        self.app().switch.current.get().flights.in_flight()
    }

    /// Waits until nothing is in flight, and nothing is left of what was: no member, no queue has any of it.
    pub(crate) async fn wait_until_idle(&self) {
        until("nothing is in flight", || self.in_flight() == 0).await;
        // Copies outlive the requests that they are of.
        in_time("no member and no queue has anything", async {
            while !self.control("GET", "/v1/pools", "").await.1.as_array().unwrap().iter().all(is_idle) {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        })
        .await;
    }
}

fn is_idle(pool: &Value) -> bool {
    pool["waiting"] == 0 && pool["members"].as_array().unwrap().iter().all(|member| member["in_flight"] == 0)
}
