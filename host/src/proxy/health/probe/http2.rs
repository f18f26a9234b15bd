//! One exchange on an HTTP/2 connection that is there for it alone.
//!
//! The connection is driven by the task that asks: a task beside it would outlive a probe that is given up.

use std::pin::pin;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture};
use hyper::header::HeaderMap;
use hyper::{Request, Response, Uri};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Sick;
use crate::proxy::health::pair::Pair;
use crate::spec::check::BODY_BYTES_MAX;

/// Bytes of an answer's fields.
const FIELD_BYTES_MAX: u32 = 16 * 1024;

/// What a member may send of a body before it was looked at: all that is ever looked at.
const WINDOW_BYTES: u32 = BODY_BYTES_MAX as u32;

/// Characters of an error that are passed on: a member can put a page of text into its GOAWAY.
const TEXT_CHARS_MAX: usize = 200;

/// What came back.
pub(super) struct Answer {
    /// Its status and fields.
    pub(super) head: Response<()>,
    /// What followed the body; empty where that was not read to its end.
    pub(super) trailers: HeaderMap,
}

/// Sends a request and reads the answer: its head, its body where `wanted` says so and as long as `look` wants more, and its
/// trailers.
///
/// # Errors
/// When that is not what comes.
pub(super) async fn exchange<S>(
    stream: &mut S,
    request: Request<()>,
    content: Bytes,
    heard: &mut bool,
    wanted: impl FnOnce(&Response<()>) -> bool,
    look: impl FnMut(&[u8]) -> bool,
) -> Result<Answer, Sick>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = Builder::new()
        .enable_push(false)
        .initial_window_size(WINDOW_BYTES)
        .max_header_list_size(FIELD_BYTES_MAX)
        .handshake(stream);
    let (requests, connection) = handshake.await.map_err(|error| sick(&error))?;
    let asked = async {
        let mut requests = requests.ready().await.map_err(|error| sick(&error))?;
        let ends = content.is_empty();
        let (answer, mut sending) = requests.send_request(request, ends).map_err(|error| sick(&error))?;
        if !ends {
            sending.send_data(content, true).map_err(|error| sick(&error))?;
        }
        read(answer, heard, wanted, look).await
    };
    let (mut asked, connection) = (pin!(asked), pin!(connection));
    tokio::select! {
        biased;
        answer = &mut asked => answer,
        // What it took in before its end may be all of the answer.
        _ = connection => asked.await,
    }
}

async fn read(
    answer: ResponseFuture,
    heard: &mut bool,
    wanted: impl FnOnce(&Response<()>) -> bool,
    mut look: impl FnMut(&[u8]) -> bool,
) -> Result<Answer, Sick> {
    let (parts, mut body) = answer.await.map_err(|error| sick(&error))?.into_parts();
    *heard = true;
    let mut answer = Answer { head: Response::from_parts(parts, ()), trailers: HeaderMap::new() };
    if !wanted(&answer.head) {
        return Ok(answer);
    }
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(|error| sick(&error))?;
        if !look(&piece) {
            return Ok(answer);
        }
        let _ = body.flow_control().release_capacity(piece.len());
    }
    answer.trailers = body.trailers().await.map_err(|error| sick(&error))?.unwrap_or_default();
    Ok(answer)
}

/// What is asked for, as HTTP/2 has it.
///
/// # Errors
/// When it cannot be said; of a check that was verified it can.
pub(super) fn uri<M>(pair: &Pair<M>, host: &str, path: &str) -> Result<Uri, Sick> {
    let scheme = if pair.is_tls { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(host).path_and_query(path).build();
    uri.map_err(|error| Sick::Unaskable(error.to_string()))
}

fn sick(error: &h2::Error) -> Sick {
    match error.get_io() {
        Some(error) => Sick::of_reading(error),
        None => Sick::NotHttp2(error.to_string().chars().take(TEXT_CHARS_MAX).collect()),
    }
}
