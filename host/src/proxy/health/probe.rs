//! Asks one member once, and says what was wrong with the answer.
//!
//! What would be refused of a member that serves is refused of one that is probed: both are read by `h1`. No more is read
//! than is needed to judge, and the connection is used for nothing else. Opening it is the caller's; so is closing it
//! with a reset, which costs least (`Plain::reset_on_close`).

mod http;
mod http2;
mod grpc;

use std::io;
use std::pin::pin;
use std::time::Duration;

use hyper::StatusCode;
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use super::pair::Pair;
use crate::proxy::h1::decoder::BadBody;
use crate::proxy::h1::framing::BadFraming;
use crate::proxy::h1::head::BadHead;
use crate::spec::check::{BODY_BYTES_MAX, CheckKind, Statuses};
use crate::spec::pool::Protocol;

/// Who asks, in `User-Agent`, so that members can leave probes out of their logs.
const USER_AGENT: &str = "switchback-check";

/// Why a member is not fit to serve: what was expected, and what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Sick {
    /// Nobody listens there.
    #[error("refused")]
    Refused,
    /// The connection cannot be had, or no TLS on it.
    #[error("cannot be connected to: {0}")]
    NotConnected(String),
    /// It was still being opened.
    #[error("not connected within {0:?}")]
    ConnectTimeout(Duration),
    /// Nothing came.
    #[error("answered nothing within {0:?}")]
    Silent(Duration),
    /// Something came, but not all that is needed to judge.
    #[error("answered only in part within {0:?}")]
    Slow(Duration),
    /// The end came first.
    #[error("closed the connection before an answer")]
    Closed,
    /// An error came first.
    #[error("the connection broke: {0}")]
    Broke(String),
    /// What came is no head of HTTP/1.
    #[error("expected an HTTP/1 answer, got \"{got}\": {why}")]
    NotHttp1 {
        /// How it begins, with everything escaped that is not plain ASCII.
        got: String,
        /// What is wrong with it.
        why: BadHead,
    },
    /// Interim answers and never a final one.
    #[error("expected an answer, got {0} interim ones")]
    Interim(u32),
    /// It cannot be told where the body ends.
    #[error("the answer cannot be read: {0}")]
    Framing(#[from] BadFraming),
    /// The body is not as it should be.
    #[error("the answer broke off: {0}")]
    Body(#[from] BadBody),
    /// What came is no HTTP/2, or ended the exchange.
    #[error("expected an HTTP/2 answer, got: {0}")]
    NotHttp2(String),
    /// Another status.
    #[error("expected status {expected}, got {}", .got.as_u16())]
    Status {
        /// Those that are good.
        expected: Statuses,
        /// The one that came.
        got: StatusCode,
    },
    /// All of the body, or as much of it as is looked at, without the text.
    #[error("body does not contain {text:?}{}", if *.is_whole { "" } else { " in its first 64 KiB" })]
    NoText {
        /// What was looked for.
        text: String,
        /// Whether the body has ended.
        is_whole: bool,
    },
    /// Not the answer to a call of gRPC.
    #[error("expected a gRPC answer, got {0}")]
    NotGrpc(String),
    /// The call did not go well.
    #[error("grpc-status {code}{}{message}", if .message.is_empty() { "" } else { ": " })]
    GrpcStatus {
        /// Its code and name.
        code: String,
        /// What the member says about it.
        message: String,
    },
    /// The call went well, and says that the service does not serve.
    #[error("expected grpc status SERVING, got {0}")]
    GrpcHealth(String),
    /// The check's fault: it was not verified.
    #[error("cannot be asked over HTTP/2: {0}")]
    Unaskable(String),
    /// Our fault; nothing is known of the member.
    #[error("the probe itself broke off")]
    Aborted,
}

/// Puts a member to its check, once, over the connection that `connect` opens; what is left of it is dropped.
///
/// # Errors
/// What is wrong with the member.
pub async fn probe<M, S>(pair: &Pair<M>, connect: impl Future<Output = io::Result<S>>) -> Result<(), Sick>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let check = &*pair.check;
    // One timer for all of it: setting one costs as much as a small read.
    let mut late = pin!(sleep_until(Instant::now() + check.timeout));
    let mut stream = tokio::select! {
        biased;
        connected = connect => connected.map_err(|error| Sick::of_connecting(&error))?,
        () = &mut late => return Err(Sick::ConnectTimeout(check.timeout)),
    };
    let mut heard = false;
    let asked = async {
        match (&check.kind, pair.protocol) {
            (CheckKind::Tcp, _) => Ok(()),
            (CheckKind::Http(http), Protocol::Http1) => {
                http::over_http1(http, &pair.authority, &mut stream, &mut heard).await
            }
            // Boxed, as they are large and rare.
            (CheckKind::Http(http), Protocol::Http2) => {
                Box::pin(http::over_http2(http, pair, &mut stream, &mut heard)).await
            }
            (CheckKind::Grpc { service }, _) => Box::pin(grpc::ask(service, pair, &mut stream, &mut heard)).await,
        }
    };
    let answered = tokio::select! {
        biased;
        answered = asked => Some(answered),
        () = &mut late => None,
    };
    answered.unwrap_or(Err(if heard { Sick::Slow(check.timeout) } else { Sick::Silent(check.timeout) }))
}

impl Sick {
    fn of_connecting(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            _ => Self::NotConnected(text(error)),
        }
    }

    fn of_reading(error: &io::Error) -> Self {
        match error.kind() {
            // TLS without its own end.
            io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Broke(text(error)),
        }
    }
}

/// An error as one reads it: without the number that the system has for it.
fn text(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(&*text, |(text, _)| text).to_lowercase()
}

/// A text that is looked for in a body that comes in pieces.
struct Sought<'a> {
    text: Option<&'a str>,
    seen: Vec<u8>,
}

impl<'a> Sought<'a> {
    fn new(text: Option<&'a str>) -> Self {
        Self { text, seen: Vec::new() }
    }

    /// Looks at another piece; answers whether more of the body is of use.
    fn look(&mut self, piece: &[u8]) -> bool {
        let Some(text) = self.text else { return false };
        // It may begin in what was seen already.
        let from = self.seen.len().saturating_sub(text.len() - 1);
        let room = BODY_BYTES_MAX - self.seen.len();
        self.seen.extend_from_slice(&piece[..piece.len().min(room)]);
        if memmem::find(&self.seen[from..], text.as_bytes()).is_some() {
            self.text = None;
            return false;
        }
        self.seen.len() < BODY_BYTES_MAX
    }

    fn judge(&self) -> Result<(), Sick> {
        let is_whole = self.seen.len() < BODY_BYTES_MAX;
        self.text.map_or(Ok(()), |text| Err(Sick::NoText { text: text.to_owned(), is_whole }))
    }
}

#[cfg(test)]
mod tests;
