//! Posts spans to a collector, in batches: OTLP over HTTP, in protobuf.
//!
//! A batch that the collector does not take is tried again a few times, and then dropped and counted: a collector that is
//! gone must not fill our memory.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::Collector;
use super::otlp::{self, Answer, Span};
use crate::causes::with_causes;
use crate::telemetry::Telling;
use crate::telemetry::told::Told;

/// Exchanges in one batch, at most.
const BATCH_MAX: usize = 512;

/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_millis(500);

/// How long one post may take.
const POST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait before a batch is posted again, each time.
const AGAIN: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Exports what comes, until nobody records any more.
pub async fn run(collector: Collector, mut spans: mpsc::Receiver<Arc<Told>>, telling: Arc<Telling>) {
    let mut fails = false;
    let mut batch = Vec::new();
    while spans.recv_many(&mut batch, BATCH_MAX).await > 0 {
        if batch.len() < BATCH_MAX {
            // Workers need not wake us for each, either.
            let _ = tokio::time::timeout(GATHER, gather(&mut spans, &mut batch)).await;
        }
        let mut all: Vec<Span> = Vec::new();
        batch.drain(..).for_each(|told| otlp::spans(&told, &mut all));
        let number = all.len() as u64;
        let rejected = match post_with_patience(&collector, otlp::request(all).encode_to_vec().into()).await {
            Ok(rejected) => {
                if std::mem::take(&mut fails) {
                    tracing::info!(collector = %collector, "the collector takes spans again");
                }
                rejected.min(number)
            }
            Err(error) => {
                // Once, and not for each batch.
                if !std::mem::replace(&mut fails, true) {
                    let error = with_causes(&error);
                    tracing::warn!(collector = %collector, error, "spans cannot be exported, and are dropped");
                }
                number
            }
        };
        telling.spans_failed.fetch_add(rejected, Ordering::Relaxed);
        telling.spans.fetch_add(number - rejected, Ordering::Relaxed);
    }
}

async fn gather(spans: &mut mpsc::Receiver<Arc<Told>>, batch: &mut Vec<Arc<Told>>) {
    loop {
        // Looked at from time to time, so that no worker has to wake this task.
        tokio::time::sleep(GATHER / 5).await;
        while let Ok(told) = spans.try_recv() {
            batch.push(told);
            if batch.len() == BATCH_MAX {
                return;
            }
        }
        if spans.is_closed() {
            return;
        }
    }
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
enum PostError {
    #[error("the collector cannot be reached")]
    Connect(#[source] io::Error),
    #[error("the collector does not answer")]
    Http(#[from] hyper::Error),
    #[error("the collector did not answer in time")]
    Timeout,
    #[error("the collector answered {0}")]
    Status(StatusCode),
}

impl PostError {
    /// Whether the same batch may be taken later (OTLP, failures).
    fn is_passing(&self) -> bool {
        match self {
            Self::Status(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Connect(_) | Self::Http(_) | Self::Timeout => true,
        }
    }
}

async fn post_with_patience(collector: &Collector, body: Bytes) -> Result<u64, PostError> {
    let mut waits = AGAIN.into_iter();
    loop {
        let posted = tokio::time::timeout(POST_TIMEOUT, post(collector, body.clone())).await;
        let error = match posted.unwrap_or(Err(PostError::Timeout)) {
            Ok(rejected) => return Ok(rejected),
            Err(error) => error,
        };
        match waits.next().filter(|_| error.is_passing()) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return Err(error),
        }
    }
}

/// Answers how many spans the collector rejected.
async fn post(collector: &Collector, body: Bytes) -> Result<u64, PostError> {
    let stream = TcpStream::connect((&*collector.host, collector.port)).await.map_err(PostError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::post(&collector.path)
        .header(HOST, collector.authority())
        .header(CONTENT_TYPE, "application/x-protobuf")
        .header(USER_AGENT, concat!("switchback/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(body))
        .expect("the collector's address was checked");
    // It ends with the sender.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    if !answer.status().is_success() {
        return Err(PostError::Status(answer.status()));
    }
    let content = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let partial = content.ok().and_then(|content| Answer::decode(content.to_bytes()).ok()?.partial_success);
    let Some(partial) = partial.filter(|partial| partial.rejected_spans > 0) else { return Ok(0) };
    tracing::debug!(rejected = partial.rejected_spans, message = partial.error_message, "the collector rejected spans");
    Ok(u64::try_from(partial.rejected_spans).unwrap_or_default())
}
