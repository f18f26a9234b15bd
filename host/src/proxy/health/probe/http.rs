//! An HTTP request to a member, over HTTP/1.1 or HTTP/2.

use bytes::{Bytes, BytesMut};
use hyper::header::USER_AGENT as USER_AGENT_FIELD;
use hyper::{Method, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Sick, Sought, USER_AGENT, http2};
use crate::proxy::h1::decoder::{Decoded, Decoder};
use crate::proxy::h1::framing;
use crate::proxy::h1::head::{self, HeadLimits, Lines};
use crate::proxy::health::pair::Pair;
use crate::proxy::message;
use crate::spec::check::{CheckMethod, HttpCheck};

/// How long an answer's head may be: a page about health needs little of what others do.
const LIMITS: HeadLimits = HeadLimits { bytes: 16 * 1024, fields: 100 };

/// Interim answers to one request.
const INTERIM_MAX: u32 = 16;

/// Bytes read at once: most answers are smaller, heads and all.
const READ_BYTES: usize = 1024;

/// Bytes of what is no answer that are shown.
const SHOWN_BYTES: usize = 32;

/// Asks over HTTP/1.1. `heard` becomes true with the first byte that comes.
///
/// # Errors
/// What is wrong with the answer.
pub(super) async fn over_http1<S>(
    check: &HttpCheck,
    authority: &str,
    stream: &mut S,
    heard: &mut bool,
) -> Result<(), Sick>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let host = check.host.as_deref().unwrap_or(authority);
    let method = match check.method {
        CheckMethod::Get => "GET",
        CheckMethod::Head => "HEAD",
    };
    let path = &check.path;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(|error| Sick::of_reading(&error))?;
    // TLS keeps some of it back until then.
    stream.flush().await.map_err(|error| Sick::of_reading(&error))?;

    let mut reading = Reading { stream, input: BytesMut::with_capacity(READ_BYTES), heard };
    let head = reading.head().await?;
    if !check.statuses.contain(head.status) {
        return Err(Sick::Status { expected: check.statuses.clone(), got: head.status });
    }
    match &check.body {
        Some(text) => reading.body(&check.method.as_method(), &head, text).await,
        None => Ok(()),
    }
}

/// An answer that is coming.
struct Reading<'a, S> {
    stream: &'a mut S,
    input: BytesMut,
    heard: &'a mut bool,
}

impl<S: AsyncRead + Unpin> Reading<'_, S> {
    /// The final head.
    async fn head(&mut self) -> Result<message::Response<()>, Sick> {
        let mut lines = Lines::default();
        let mut interim = 0;
        loop {
            let answer = loop {
                let begins = begins_as_answer(&self.input);
                let taken = if begins {
                    lines.take(&mut self.input, LIMITS, head::answer)
                } else {
                    Err(head::BadHead::StatusLine)
                };
                match taken {
                    Ok(Some(answer)) => break answer,
                    Ok(None) => {}
                    Err(why) => return Err(Sick::NotHttp1 { got: shown(&self.input), why }),
                }
                if !self.read().await? {
                    return Err(Sick::Closed);
                }
            };
            // Nothing follows a 101 that would be HTTP; it is judged by its status.
            if !answer.status.is_informational() || answer.status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(answer);
            }
            interim += 1;
            if interim > INTERIM_MAX {
                return Err(Sick::Interim(interim));
            }
        }
    }

    /// Reads the body until the text has come.
    async fn body(&mut self, method: &Method, head: &message::Response<()>, text: &str) -> Result<(), Sick> {
        let framing = framing::of_answer(method, head.status, head.version, &head.fields)?;
        let mut decoder = Decoder::new(framing, LIMITS);
        let mut sought = Sought::new(Some(text));
        let mut has_ended = false;
        loop {
            match decoder.decode(&mut self.input, has_ended)? {
                Decoded::Frame(frame) => {
                    if frame.data_ref().is_some_and(|piece| !sought.look(piece)) {
                        break;
                    }
                }
                Decoded::Wanting => has_ended = !self.read().await?,
                Decoded::End => break,
            }
        }
        sought.judge()
    }

    /// Reads more; answers whether there was any.
    async fn read(&mut self) -> Result<bool, Sick> {
        self.input.reserve(READ_BYTES);
        let read = self.stream.read_buf(&mut self.input).await.map_err(|error| Sick::of_reading(&error))?;
        *self.heard |= read > 0;
        Ok(read > 0)
    }
}

/// Whether an answer may begin like this, so that what will never be one is not waited for.
fn begins_as_answer(input: &[u8]) -> bool {
    const ANSWER: &[u8] = b"HTTP/1.";
    let common = input.len().min(ANSWER.len());
    input[..common] == ANSWER[..common]
}

fn shown(input: &[u8]) -> String {
    input[..input.len().min(SHOWN_BYTES)].escape_ascii().to_string()
}

/// Asks over HTTP/2. `heard` becomes true with the answer's head.
///
/// # Errors
/// What is wrong with the answer.
pub(super) async fn over_http2<M, S>(
    check: &HttpCheck,
    pair: &Pair<M>,
    stream: &mut S,
    heard: &mut bool,
) -> Result<(), Sick>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let host = check.host.as_deref().unwrap_or(&pair.authority);
    let request = Request::builder()
        .method(check.method.as_method())
        .uri(http2::uri(pair, host, &check.path)?)
        .header(USER_AGENT_FIELD, USER_AGENT)
        .body(())
        .expect("its parts are good");
    let mut sought = Sought::new(check.body.as_deref());
    let is_good = |head: &Response<()>| check.statuses.contain(head.status());
    let wanted = |head: &Response<()>| is_good(head) && check.body.is_some();
    let answer = http2::exchange(stream, request, Bytes::new(), heard, wanted, |piece| sought.look(piece)).await?;
    if !is_good(&answer.head) {
        return Err(Sick::Status { expected: check.statuses.clone(), got: answer.head.status() });
    }
    sought.judge()
}
