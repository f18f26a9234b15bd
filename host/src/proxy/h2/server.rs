//! Serves one client's HTTP/2 connection: a task for the connection, and one for each of its requests.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::h2::ext::Protocol;
use ::h2::server::{Builder, Connection, SendResponse};
use ::h2::{Reason, RecvStream};
use bytes::{Bytes, BytesMut};
use hyper::header::{CONNECTION, CONTENT_LENGTH, COOKIE, DATE, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, StatusCode};

use super::client::{SharedStream, values_are_trimmed};
use super::guard::{Guarded, Offence};
use super::sender::Sender;
use crate::proxy::alarm::Alarm;
use crate::proxy::error::{Error, Malformed};
use crate::proxy::exchange::Client;
use crate::proxy::fields::Fields;
use crate::proxy::forward::forward;
use crate::proxy::h1::framing::{self, has_no_content};
use crate::proxy::h1::head::BadHead;
use crate::proxy::leaving::Leaving;
use crate::proxy::message::{RequestHead, Response};
use crate::proxy::record::Record;
use crate::proxy::request_body::RequestBody;
use crate::proxy::response::{Body, BrokeOff};
use crate::proxy::stream::Stream;
use crate::proxy::worker::Worker;
use crate::telemetry::Limit;
use crate::telemetry::told::Ended as Cause;
use crate::time::clock::{self, Clocked};

/// What a client may send on one stream before we have passed it on.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// What a client may send on all of its streams together before we have passed it on.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// What is kept of an answer for a client whose window is full.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// What small DATA frames may cost that nobody has taken yet: 256 less their length, each. A window full of messages of 25
/// bytes is well within it; a window full of single bytes, which takes a hundred times its size in memory, is not.
const SMALL_FRAMES_BUDGET: usize = 8 * 1024 * 1024;

/// Requests that a client may have reset before we have looked at them (CVE-2023-44487).
const RESET_UNSEEN_MAX: usize = 64;

/// Streams whose end we remember, to tell late frames from wrong ones.
const RESET_REMEMBERED_MAX: usize = 64;

/// How long a connection that is told to go may take to finish its requests, before it is looked at again.
const IDLE_AFTER_GOAWAY: Duration = Duration::from_secs(5);

/// Serves a connection to its end. `read_ahead` was read of it already.
pub async fn serve(worker: Rc<Worker>, client: Rc<Client>, stream: Stream, read_ahead: BytesMut, leaving: Rc<Leaving>) {
    let limits = &client.listener.spec.limits;
    let (guarded, offence) = Guarded::new(stream, read_ahead);
    let handshake = Builder::new()
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .data_frame_budget(SMALL_FRAMES_BUDGET)
        .max_pending_accept_reset_streams(RESET_UNSEEN_MAX)
        .max_concurrent_reset_streams(RESET_REMEMBERED_MAX)
        .enable_connect_protocol()
        .handshake::<_, Bytes>(guarded);
    let Ok(Ok(connection)) = tokio::time::timeout(limits.head_timeout, handshake).await else { return };
    run(worker, client, connection, offence, leaving).await;
}

async fn run(
    worker: Rc<Worker>,
    client: Rc<Client>,
    mut connection: Connection<Guarded, Bytes>,
    offence: Offence,
    leaving: Rc<Leaving>,
) {
    let limits = &client.listener.spec.limits;
    let alarm = Alarm::after(limits.idle_timeout);
    let mut told_to_leave = leaving.wait();
    let active = Rc::new(Cell::new(0_usize));
    let mut goes = false;
    loop {
        let event = poll_fn(|cx| poll_event(&mut connection, &offence, &alarm, told_to_leave.as_mut(), goes, cx)).await;
        match event {
            Event::Request(request, respond) => {
                let stream = Active::begin(&active);
                let (worker, client) = (worker.clone(), client.clone());
                // In a box: a task moves what it is given three times when it begins, and three times when it ends.
                tokio::task::spawn_local(Clocked(Box::pin(async move {
                    exchange(&worker, &client, request, respond).await;
                    drop(stream);
                })));
                alarm.set(clock::now() + if goes { IDLE_AFTER_GOAWAY } else { limits.idle_timeout });
            }
            Event::Offence(reason) => {
                if reason == Reason::ENHANCE_YOUR_CALM {
                    worker.ground.counts.limited(worker.id, Limit::Flood);
                }
                tracing::debug!(%client, %reason, "a client's HTTP/2 connection is closed");
                connection.abrupt_shutdown(reason);
                // What says so is written, if the client takes it.
                let _ = tokio::time::timeout(Duration::from_secs(1), poll_fn(|cx| connection.poll_closed(cx))).await;
                return;
            }
            Event::Flooded => return worker.ground.counts.limited(worker.id, Limit::Flood),
            Event::Leave => {
                goes = true;
                connection.graceful_shutdown();
                // A client that sleeps does not say that it has heard of it.
                alarm.set(clock::now() + IDLE_AFTER_GOAWAY);
            }
            Event::Rang if active.get() > 0 => {
                alarm.set(clock::now() + if goes { IDLE_AFTER_GOAWAY } else { limits.idle_timeout });
            }
            Event::Rang if !goes => {
                goes = true;
                connection.graceful_shutdown();
                alarm.set(clock::now() + IDLE_AFTER_GOAWAY);
            }
            Event::Rang | Event::Ended => return,
        }
    }
}

/// What a connection's task wakes up for.
#[allow(clippy::large_enum_variant, reason = "looked at once; a box would be an allocation for each request")]
enum Event {
    Request(Request<RecvStream>, SendResponse<Bytes>),
    Offence(Reason),
    Flooded,
    Leave,
    Rang,
    Ended,
}

fn poll_event(
    connection: &mut Connection<Guarded, Bytes>,
    offence: &Offence,
    alarm: &Alarm,
    told_to_leave: Pin<&mut (impl Future<Output = ()> + ?Sized)>,
    goes: bool,
    cx: &mut Context<'_>,
) -> Poll<Event> {
    let accepted = connection.poll_accept(cx);
    if let Some(reason) = offence.reason() {
        return Poll::Ready(Event::Offence(reason));
    }
    match accepted {
        Poll::Ready(Some(Ok((request, respond)))) => return Poll::Ready(Event::Request(request, respond)),
        // The library has said so to the client already.
        Poll::Ready(Some(Err(error))) if error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM) => {
            return Poll::Ready(Event::Flooded);
        }
        Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Event::Ended),
        Poll::Pending => {}
    }
    if !goes && told_to_leave.poll(cx).is_ready() {
        return Poll::Ready(Event::Leave);
    }
    alarm.poll(cx).map(|()| Event::Rang)
}

/// A request of this connection, until dropped.
struct Active(Rc<Cell<usize>>);

impl Active {
    fn begin(active: &Rc<Cell<usize>>) -> Self {
        active.set(active.get() + 1);
        Self(active.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn exchange(worker: &Rc<Worker>, client: &Client, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    let (mut parts, content) = request.into_parts();
    let mut respond = respond;
    let record = Record::begin(worker, client);
    let is_trimmed = values_are_trimmed(&parts.headers);
    let head = Box::new(RequestHead {
        protocol: parts.extensions.remove::<Protocol>(),
        method: parts.method,
        target: parts.uri,
        version: parts.version,
        fields: Fields::from(&parts.headers),
    });
    record.head(client, &head);
    if !is_trimmed || !is_well_formed(&head) {
        record.finish(Cause::Malformed, 0);
        // RFC 9113, 8.1.1.
        return respond.send_reset(Reason::PROTOCOL_ERROR);
    }
    let is_connect = head.method == Method::CONNECT;
    let stream = SharedStream::new(respond, content, &head.fields);
    let is_head = head.method == Method::HEAD;
    let alarm = Alarm::after(client.listener.spec.limits.idle_timeout);
    if number_of_fields(&head.fields) > client.listener.spec.limits.fields_max {
        let (id, error) = (worker.ids.next(), Error::from(Malformed::from(BadHead::TooLong)));
        record.named(&id);
        record.failed(&error);
        let response = error.respond(&id, worker, false);
        let ended = respond_with(worker, &stream, &alarm, &record, is_head, response).await;
        return record.finish(ended, stream.bytes());
    }
    let body = if stream.length() == Some(0) { RequestBody::Empty } else { RequestBody::H2(stream.clone()) };
    let response = {
        let mut forwarded = pin!(forward(worker, client, &stream, &alarm, &record, head, body));
        poll_fn(|cx| {
            if let Poll::Ready(response) = forwarded.as_mut().poll(cx) {
                return Poll::Ready(Some(response));
            }
            stream.poll_gone(cx).map(|()| None)
        })
        .await
    };
    let ended = match response {
        Some(response) => {
            let response = if is_connect { switched(response) } else { response };
            respond_with(worker, &stream, &alarm, &record, is_head, response).await
        }
        None => Cause::ClientGone,
    };
    record.finish(ended, stream.bytes());
}

/// Answers what ended it.
async fn respond_with(
    worker: &Worker,
    stream: &SharedStream,
    alarm: &Alarm,
    record: &Record,
    is_head: bool,
    mut response: Response<Body>,
) -> Cause {
    let is_tunnel = response.status == StatusCode::SWITCHING_PROTOCOLS;
    for_http2(&mut response, is_tunnel);
    let Response { status, fields, mut body, .. } = response;
    let has_content = !is_head && (is_tunnel || !has_no_content(status));
    let length = body.length();
    let mut answer = hyper::Response::new(());
    *answer.status_mut() = status;
    *answer.headers_mut() = fields.to_map();
    let fields = answer.headers_mut();
    if !has_content {
        if status == StatusCode::NO_CONTENT {
            fields.remove(CONTENT_LENGTH);
        }
    } else if let Some(length) = length.filter(|_| !is_tunnel) {
        fields.insert(CONTENT_LENGTH, length.into());
    }
    record.answers(status);
    fields.entry(DATE).or_insert_with(|| worker.date());
    let ends = !has_content || length == Some(0) && !is_tunnel && !body.may_have_trailers();
    let sent = stream.respond(|respond| respond.send_response(answer, ends));
    let Ok(sending) = sent else { return Cause::ClientGone };
    let mut sender = Sender::new(sending);
    if !ends {
        let timeout = is_tunnel.then(|| body.tunnel_timeout());
        if is_tunnel {
            stream.become_tunnel();
            alarm.set(clock::now() + body.tunnel_timeout());
        }
        let sent = poll_fn(|cx| poll_send(stream, &mut sender, record, &mut body, alarm, timeout, cx)).await;
        if let Err(ended) = sent {
            ended.limit.into_iter().for_each(|limit| worker.ground.counts.limited(worker.id, limit));
            sender.reset(ended.reason);
            return ended.cause;
        }
    }
    // Where the rest of the request is not wanted any more, the library says so once the answer is out (RFC 9113, 8.1).
    Cause::Whole
}

/// How many fields HTTP/1 would have: crumbs of cookies are one (RFC 9113, 8.2.3).
fn number_of_fields(fields: &Fields) -> usize {
    fields.len() - fields.get_all(COOKIE).count().saturating_sub(1)
}

/// What the library leaves to be checked (RFC 9113, 8.2.1 and 8.3.1, and RFC 9110, 8.6).
fn is_well_formed(head: &RequestHead) -> bool {
    let target = head.target.path_and_query().map(PathAndQuery::as_str);
    let target_is_good = match (&head.method, target) {
        (&Method::CONNECT, None) => true,
        (&Method::OPTIONS, Some("*")) => true,
        (_, target) => target.is_some_and(|target| target.starts_with('/')),
    };
    target_is_good && framing::length(&head.fields).is_ok()
}

/// A tunnel that was asked for, or a refusal: any other answer of success would look like a tunnel (RFC 8441, 4).
fn switched(response: Response<Body>) -> Response<Body> {
    if response.status == StatusCode::SWITCHING_PROTOCOLS || !response.status.is_success() {
        return response;
    }
    let mut refusal = Response::new(Body::full("501 Not Implemented: the member does not speak this protocol\n"));
    refusal.status = StatusCode::NOT_IMPLEMENTED;
    refusal
}

/// What HTTP/2 says otherwise (RFC 9113, 8.2.2, and RFC 8441, 5).
fn for_http2(response: &mut Response<Body>, is_tunnel: bool) {
    response.fields.remove(CONNECTION);
    if is_tunnel {
        response.status = StatusCode::OK;
        for name in [UPGRADE, SEC_WEBSOCKET_ACCEPT, CONTENT_LENGTH] {
            response.fields.remove(name);
        }
    }
}

/// Why an answer was not sent whole.
struct Ended {
    reason: Reason,
    limit: Option<Limit>,
    cause: Cause,
}

impl Ended {
    /// The stream was reset, or the connection has ended.
    fn gone() -> Self {
        Self { reason: Reason::CANCEL, limit: None, cause: Cause::ClientGone }
    }
}

impl From<Limit> for Ended {
    fn from(limit: Limit) -> Self {
        let cause = match limit {
            Limit::TunnelTimeout => Cause::TunnelSilent,
            Limit::UpgradedLimit => Cause::SessionOver,
            _ => Cause::ClientSlow,
        };
        Self { reason: Reason::CANCEL, limit: Some(limit), cause }
    }
}

fn poll_send(
    stream: &SharedStream,
    sender: &mut Sender,
    record: &Record,
    body: &mut Body,
    alarm: &Alarm,
    tunnel_timeout: Option<Duration>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Ended>> {
    if body.poll_closing(cx).is_ready() {
        return Poll::Ready(Err(Limit::UpgradedLimit.into()));
    }
    loop {
        let mut moved = body.drive(cx);
        if sender.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Ended::gone()));
        }
        let waiting = sender.waiting_bytes();
        let room = sender.poll_room(cx);
        let taken = waiting - sender.waiting_bytes();
        if taken > 0 {
            moved = true;
            stream.writing(|writing| writing.moved(taken));
        }
        match room {
            // Of a tunnel, the client's side may go on.
            _ if sender.has_ended() && body.is_request_done() => return Poll::Ready(Ok(())),
            _ if sender.has_ended() => {}
            Poll::Ready(Err(_)) => return Poll::Ready(Err(Ended::gone())),
            Poll::Pending if tunnel_timeout.is_none() => {
                return stream.writing(|writing| writing.poll_overdue(cx)).map(|()| Err(Limit::ClientTimeout.into()));
            }
            Poll::Pending => {}
            Poll::Ready(Ok(())) => match body.poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    record.sent(&frame);
                    match sender.send(frame) {
                        Ok(false) => {}
                        Ok(true) => return Poll::Ready(Ok(())),
                        Err(_) => return Poll::Ready(Err(Ended::gone())),
                    }
                    continue;
                }
                Poll::Ready(None) => match sender.end() {
                    Ok(()) if tunnel_timeout.is_some() => continue,
                    ended => return Poll::Ready(ended.map_err(|_| Ended::gone())),
                },
                // RFC 9113, 8.1: an answer that is not whole ends in an error that says so.
                Poll::Ready(Some(Err(BrokeOff(cause)))) => {
                    return Poll::Ready(Err(Ended { reason: Reason::INTERNAL_ERROR, limit: None, cause }));
                }
                Poll::Pending => {}
            },
        }
        let Some(timeout) = tunnel_timeout else { return Poll::Pending };
        if moved {
            alarm.set(clock::now() + timeout);
            continue;
        }
        return alarm.poll(cx).map(|()| Err(Limit::TunnelTimeout.into()));
    }
}
