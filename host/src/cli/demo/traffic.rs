//! The demo's clients: light traffic over a few connections, and a log of what came back.
//!
//! Each request is of another user (a cookie), so that a policy which goes by users has something to go by. Whatever is
//! not `200` counts as an error, as does a connection that breaks under a request.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::members::X_POOL;

/// Connections, so that more than one worker has something to do.
const CONNECTIONS: u32 = 4;

/// Time between two requests of one connection: 200 requests/s in all, which is next to nothing.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a client waits. Far beyond what a switch may cost, so that a request that hangs is an error, not a pause.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers kept: some 50 seconds.
const ANSWERS_MAX: usize = 10_000;

/// Clients that ask until they are dropped.
pub(super) struct Traffic {
    log: Arc<Log>,
    _clients: JoinSet<()>,
}

/// What a request came to.
struct Answer {
    sent: Instant,
    took: Duration,
    pool: String,
}

#[derive(Default)]
struct Log {
    users: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    answers: VecDeque<Answer>,
    errors: u64,
    last_error: Option<String>,
}

impl Traffic {
    /// Begins to ask.
    pub(super) fn start(proxy: SocketAddr) -> Self {
        let log = Arc::new(Log::default());
        let mut clients = JoinSet::new();
        for client in 0..CONNECTIONS {
            // Taking turns, not all at once.
            let first = Instant::now() + PAUSE * client / CONNECTIONS;
            clients.spawn(ask_for_ever(proxy, first, log.clone()));
        }
        Self { log, _clients: clients }
    }

    /// How many answers to requests sent since `mark` came from each pool.
    pub(super) fn answers_since(&self, mark: Instant) -> BTreeMap<String, u64> {
        let mut pools = BTreeMap::new();
        for answer in self.log.seen().answers.iter().filter(|answer| answer.sent >= mark) {
            *pools.entry(answer.pool.clone()).or_default() += 1;
        }
        pools
    }

    /// How long the answers to requests sent since `mark` took, shortest first.
    pub(super) fn times_since(&self, mark: Instant) -> Vec<Duration> {
        let seen = self.log.seen();
        let mut times: Vec<_> =
            seen.answers.iter().filter(|answer| answer.sent >= mark).map(|answer| answer.took).collect();
        times.sort_unstable();
        times
    }

    /// Errors since the start, and the last of them.
    pub(super) fn errors(&self) -> (u64, Option<String>) {
        let seen = self.log.seen();
        (seen.errors, seen.last_error.clone())
    }
}

impl Log {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, sent: Instant, pool: anyhow::Result<String>) {
        let took = sent.elapsed();
        let mut seen = self.seen();
        match pool {
            Ok(pool) => seen.answers.push_back(Answer { sent, took, pool }),
            Err(error) => {
                seen.errors += 1;
                seen.last_error = Some(format!("{error:#}"));
            }
        }
        while seen.answers.len() > ANSWERS_MAX {
            seen.answers.pop_front();
        }
    }
}

async fn ask_for_ever(proxy: SocketAddr, first: Instant, log: Arc<Log>) {
    let mut turns = tokio::time::interval_at(first, PAUSE);
    // A pause is not made up for: that would be a burst.
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection = None;
    loop {
        turns.tick().await;
        let user = log.users.fetch_add(1, Ordering::Relaxed);
        let sent = Instant::now();
        let asked = tokio::time::timeout(PATIENCE, ask(proxy, user, &mut connection)).await;
        let pool = asked.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {PATIENCE:?}")));
        if pool.is_err() {
            connection = None;
        }
        log.note(sent, pool);
    }
}

/// Asks once; answers which pool did.
async fn ask(
    proxy: SocketAddr,
    user: u64,
    connection: &mut Option<SendRequest<Empty<Bytes>>>,
) -> anyhow::Result<String> {
    // One that was closed while it was idle is nobody's error.
    if connection.as_ref().is_none_or(SendRequest::is_closed) {
        let stream = TcpStream::connect(proxy).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let (sender, driver) = handshake(TokioIo::new(stream)).await?;
        // Ends with its sender.
        tokio::spawn(driver);
        *connection = Some(sender);
    }
    let sender = connection.as_mut().expect("there is one now");
    sender.ready().await.context("the connection broke")?;
    let request =
        Request::get("/").header(header::HOST, "shop.example").header(header::COOKIE, format!("uid=user-{user}"));
    let answer = sender.send_request(request.body(Empty::new())?).await.context("the connection broke")?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await.context("the answer broke off")?.to_bytes();
    if head.status != StatusCode::OK {
        bail!("{}: {}", head.status, String::from_utf8_lossy(&body).trim());
    }
    let pool = head.headers.get(X_POOL).context("an answer of no pool")?;
    Ok(pool.to_str()?.to_owned())
}
