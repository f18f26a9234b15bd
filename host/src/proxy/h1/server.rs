//! Serves one client's HTTP/1 connection: reads a head, has it forwarded, writes the answer, and again.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::Frame;
use hyper::{Method, StatusCode, Version};
use tokio::time::{Instant, Sleep, sleep};

use super::conn::{NoRequest, SharedConn, Unsent};
use super::encoder::{self, Encoder};
use super::framing::{self, Framing};
use super::head::HeadLimits;
use super::wire::{Expected, Wire};
use crate::proxy::alarm::Alarm;
use crate::proxy::error::{Error, Malformed};
use crate::proxy::exchange::{Asker, Client};
use crate::proxy::fields::Fields;
use crate::proxy::fields::name::{CONNECTION, CONTENT_LENGTH, DATE, EXPECT, Known, UPGRADE};
use crate::proxy::forward::forward;
use crate::proxy::headers;
use crate::proxy::leaving::Leaving;
use crate::proxy::message::{RequestHead, Response};
use crate::proxy::record::Record;
use crate::proxy::request_body::RequestBody;
use crate::proxy::response::{Body, BrokeOff};
use crate::proxy::worker::Worker;
use crate::telemetry::Limit;
use crate::telemetry::told::Ended;
use crate::time::clock;

/// Bytes of a request's content that are read and thrown away, after an answer that did not wait for it, to keep the
/// connection; also what a client may still send after the last answer without having it cut off by a reset.
const DISCARDED_BYTES_MAX: usize = 256 * 1024;

/// How long that may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// What becomes of the connection after an answer.
enum After {
    /// Another request may follow.
    Keep,
    /// It ends, in order.
    Close,
    /// It has ended, or must end at once.
    Gone,
}

/// Serves a connection to its end.
pub async fn serve(worker: Rc<Worker>, client: Rc<Client>, wire: Wire, leaving: Rc<Leaving>) {
    let limits = &client.listener.spec.limits;
    let conn = SharedConn::new(wire, HeadLimits { bytes: limits.head_bytes_max, fields: limits.fields_max });
    // The first request has no longer than its head: nothing was heard of the client yet.
    let alarm = Alarm::after(limits.head_timeout);
    let mut told_to_leave = leaving.wait();
    loop {
        let next = next(&conn, &alarm, limits.head_timeout, &leaving, told_to_leave.as_mut()).await;
        let after = match next {
            Ok(head) => exchange(&worker, &client, &conn, &leaving, &alarm, head).await,
            Err(NoRequest::Closed) => return,
            Err(NoRequest::Unsent(unsent)) => give_up(&worker, &conn, unsent),
            Err(NoRequest::Slow) => {
                let record = Record::begin(&worker, &client);
                Box::pin(refuse(&worker, &conn, &record, Malformed::Slow)).await
            }
            Err(NoRequest::Bad(bad)) => {
                let record = Record::begin(&worker, &client);
                Box::pin(refuse(&worker, &conn, &record, bad.into())).await
            }
        };
        match after {
            // Where the listener leaves, what was sent ahead is still served, and the last answer says that it is the last.
            After::Keep => alarm.set(clock::now() + limits.idle_timeout),
            After::Close => return close(&conn).await,
            After::Gone => return,
        }
    }
}

/// The next head, unless the listener leaves and nothing of it comes for a while.
async fn next(
    conn: &SharedConn,
    alarm: &Alarm,
    head_timeout: Duration,
    leaving: &Leaving,
    mut told_to_leave: Pin<&mut (impl Future<Output = ()> + ?Sized)>,
) -> Result<Box<RequestHead>, NoRequest> {
    let mut head = pin!(conn.next_head(alarm, head_timeout));
    let mut patience: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        // First: a request that is there already is served.
        if let Poll::Ready(head) = head.as_mut().poll(cx) {
            return Poll::Ready(head);
        }
        if patience.is_none() && told_to_leave.as_mut().poll(cx).is_ready() {
            patience = Some(Box::pin(sleep(leaving.last_request())));
        }
        let is_over = patience.as_mut().is_some_and(|patience| patience.as_mut().poll(cx).is_ready());
        if is_over && conn.with(|conn| conn.wire.input.is_empty() && !conn.has_left()) {
            return Poll::Ready(Err(NoRequest::Closed));
        }
        Poll::Pending
    })
    .await
}

/// What the answer depends on of the request.
struct Asked {
    method: Method,
    version: Version,
    wants_close: bool,
    wants_keep_alive: bool,
}

async fn exchange(
    worker: &Rc<Worker>,
    client: &Client,
    conn: &SharedConn,
    leaving: &Leaving,
    alarm: &Alarm,
    head: Box<RequestHead>,
) -> After {
    let record = Record::begin(worker, client);
    record.head(client, &head);
    let framing = match framing::of_request(head.version, &head.fields) {
        Ok(framing) => framing,
        Err(bad) => return Box::pin(refuse(worker, conn, &record, bad.into())).await,
    };
    let is_modern = encoder::is_modern(head.version);
    // RFC 9110, 10.1.1: an expectation of HTTP/1.0 is ignored.
    let awaits_continue = is_modern
        && framing != Framing::Length(0)
        && head.fields.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    conn.begin(framing, is_modern, awaits_continue);
    let asked = Asked {
        method: head.method.clone(),
        version: head.version,
        wants_close: headers::connection_has(&head.fields, "close"),
        wants_keep_alive: headers::connection_has(&head.fields, "keep-alive"),
    };
    // A tunnel's content is what follows the request, once the member has switched.
    let may_upgrade = is_modern && head.fields.contains(UPGRADE);
    let body =
        if framing == Framing::Length(0) && !may_upgrade { RequestBody::Empty } else { RequestBody::H1(conn.clone()) };
    let response = {
        let mut forwarded = pin!(forward(worker, client, conn, alarm, &record, head, body));
        poll_fn(|cx| {
            if let Poll::Ready(response) = forwarded.as_mut().poll(cx) {
                return Poll::Ready(Some(response));
            }
            conn.poll_gone(cx).map(|()| None)
        })
        .await
    };
    let Some(response) = response else {
        record.finish(Ended::ClientGone, conn.body_bytes());
        return After::Gone;
    };
    match respond(worker, conn, leaving, alarm, &record, &asked, response).await {
        Answered::Over(after) => after,
        Answered::Gathered(waker) => {
            conn.leave(record, waker);
            After::Keep
        }
    }
}

/// Answers what is no request. What follows it cannot be understood either.
async fn refuse(worker: &Rc<Worker>, conn: &SharedConn, record: &Record, malformed: Malformed) -> After {
    conn.begin(Framing::Length(0), false, false);
    let (id, error) = (worker.ids.next(), Error::Malformed(malformed));
    record.named(&id);
    record.failed(&error);
    let response = error.respond(&id, worker, false);
    let asked = Asked { method: Method::GET, version: Version::HTTP_11, wants_close: true, wants_keep_alive: false };
    let alarm = Alarm::after(DISCARD_TIMEOUT);
    match respond(worker, conn, &Leaving::default(), &alarm, record, &asked, response).await {
        Answered::Over(after) => after,
        Answered::Gathered(_) => unreachable!("a connection that is not kept has its end to wait for"),
    }
}

/// How far an answer has come.
enum Answered {
    /// It is recorded, and written as far as it could be.
    Over(After),
    /// All of it is there, and may be left for the end of the round: nothing else is to be done before the next request. Who
    /// is to be told if it cannot be written there.
    Gathered(Waker),
}

/// Answers a request, while the rest of that is still passed on.
async fn respond(
    worker: &Worker,
    conn: &SharedConn,
    leaving: &Leaving,
    alarm: &Alarm,
    record: &Record,
    asked: &Asked,
    response: Response<Body>,
) -> Answered {
    let Response { status, reason, fields, mut body, .. } = response;
    record.answers(status);
    let is_tunnel = status == StatusCode::SWITCHING_PROTOCOLS;
    let is_modern = encoder::is_modern(asked.version);
    let has_content = asked.method != Method::HEAD && !framing::has_no_content(status);
    let length = body.length();
    if !has_content && let Body::Full(content) = &mut body {
        *content = None;
    }
    let mut encoder = match length {
        _ if is_tunnel => Encoder::UntilClose,
        _ if !has_content => Encoder::Length(0),
        Some(length) => Encoder::Length(length),
        None if is_modern => Encoder::Chunked,
        None => Encoder::UntilClose,
    };
    let stays = !asked.wants_close && (is_modern || asked.wants_keep_alive);
    let keeps = stays
        && !is_tunnel
        && encoder != Encoder::UntilClose
        && !leaving.has_begun()
        && !worker.ground.descriptors.are_short()
        && !fields.contains(CONNECTION)
        && !conn.with(|conn| conn.wire.has_ended() && conn.wire.input.is_empty())
        // It may send its content now, or a new request: nobody can tell.
        && !conn.awaits_continue();
    conn.with(|conn| {
        let output = conn.wire.output();
        let usual = status.canonical_reason().unwrap_or_default().as_bytes();
        encoder::status_line(output, status, reason.as_deref().unwrap_or(usual));
        let keeps_length = !has_content && status != StatusCode::NO_CONTENT && !is_tunnel;
        // Both are written anew, from what is known of the content.
        let anew: &[Known] = match (keeps_length, is_tunnel) {
            (true, _) => &[CONNECTION],
            (false, true) => &[CONTENT_LENGTH],
            (false, false) => &[CONTENT_LENGTH, CONNECTION],
        };
        fields.write_to(output, anew);
        if !fields.contains(DATE) && !is_tunnel {
            // RFC 9110, 6.6.1: whoever passes on an answer without a date says when it came.
            encoder::field(output, DATE, &worker.date());
        }
        connection_fields(output, encoder, has_content, is_modern, keeps, is_tunnel);
    });
    drop(fields);

    if is_tunnel {
        let ended = Box::pin(tunnel(conn, alarm, record, body)).await;
        match ended {
            Ended::TunnelSilent => worker.ground.counts.limited(worker.id, Limit::TunnelTimeout),
            Ended::SessionOver => worker.ground.counts.limited(worker.id, Limit::UpgradedLimit),
            _ => {}
        }
        record.finish(ended, conn.body_bytes());
        return Answered::Over(After::Gone);
    }
    let wrote = match poll_fn(|cx| poll_write(conn, &mut encoder, record, &mut body, keeps, cx)).await {
        Ok(wrote) => wrote,
        Err(waker) => return Answered::Gathered(waker),
    };
    record.kept(conn.with(|conn| conn.wire.waiting_bytes() as u64));
    record.finish(wrote.ended(), conn.body_bytes());
    Answered::Over(match wrote {
        Wrote::Whole if !keeps => After::Close,
        Wrote::Whole => {
            drop(body);
            if conn.has_whole_request() || discard(conn).await { After::Keep } else { After::Close }
        }
        Wrote::Not(unsent) => give_up(worker, conn, unsent),
        Wrote::Broken(_) => {
            // Without a length and without chunks, an end in order would look like the whole content.
            if encoder == Encoder::UntilClose {
                conn.with(|conn| conn.wire.stream().plain().reset_on_close());
            }
            After::Gone
        }
    })
}

fn connection_fields(
    output: &mut BytesMut,
    encoder: Encoder,
    has_content: bool,
    is_modern: bool,
    keeps: bool,
    is_tunnel: bool,
) {
    match encoder {
        Encoder::Length(length) if has_content => encoder::content_length(output, length),
        Encoder::Chunked => output.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Encoder::Length(_) | Encoder::UntilClose => {}
    }
    if !is_tunnel && !keeps {
        output.extend_from_slice(b"connection: close\r\n");
    } else if !is_tunnel && !is_modern {
        output.extend_from_slice(b"connection: keep-alive\r\n");
    }
    output.extend_from_slice(b"\r\n");
}

/// Leaves a client to which an answer cannot be written.
fn give_up(worker: &Worker, conn: &SharedConn, unsent: Unsent) -> After {
    if let Unsent::Slow = unsent {
        worker.ground.counts.limited(worker.id, Limit::ClientTimeout);
        // What it did not take would wait for it in the kernel for minutes.
        conn.with(|conn| conn.wire.stream().plain().reset_on_close());
    }
    After::Gone
}

/// How writing an answer ended.
enum Wrote {
    Whole,
    Not(Unsent),
    /// The member's answer broke off.
    Broken(Ended),
}

impl Wrote {
    fn ended(&self) -> Ended {
        match self {
            Self::Whole => Ended::Whole,
            Self::Not(unsent) => unsent.ended(),
            Self::Broken(ended) => *ended,
        }
    }
}

/// Writes an answer. `Err` has who waits for it, where all of it may be left for the end of the round.
fn poll_write(
    conn: &SharedConn,
    encoder: &mut Encoder,
    record: &Record,
    body: &mut Body,
    keeps: bool,
    cx: &mut Context<'_>,
) -> Poll<Result<Wrote, Waker>> {
    // What the client still sends goes on to the member, whether or not the client takes the answer meanwhile.
    body.drive(cx);
    loop {
        let has_room = conn.with(|conn| conn.wire.has_room());
        // Gather what is there, so that head and content leave together.
        let frame = if has_room { body.poll_frame(cx) } else { Poll::Pending };
        match frame {
            Poll::Ready(Some(Ok(frame))) => {
                record.sent(content_bytes(&frame));
                if conn.with(|conn| encoder.encode(frame, &mut conn.wire)).is_err() {
                    return Poll::Ready(Ok(Wrote::Broken(Ended::MemberBroke)));
                }
            }
            Poll::Ready(None) => {
                if conn.with(|conn| encoder.end(&mut conn.wire)).is_err() {
                    return Poll::Ready(Ok(Wrote::Broken(Ended::MemberBroke)));
                }
                if keeps && conn.with(|conn| conn.has_nothing_else()) {
                    return Poll::Ready(Err(cx.waker().clone()));
                }
                let flushed = ready!(conn.with(|conn| conn.poll_flush(cx)));
                return Poll::Ready(Ok(flushed.map_or_else(Wrote::Not, |()| Wrote::Whole)));
            }
            Poll::Ready(Some(Err(BrokeOff(ended)))) => {
                // What came before it is the client's, as far as it takes it at once.
                let _ = conn.with(|conn| conn.wire.poll_flush(cx));
                return Poll::Ready(Ok(Wrote::Broken(ended)));
            }
            Poll::Pending => match ready!(conn.with(|conn| conn.poll_flush(cx))) {
                Err(unsent) => return Poll::Ready(Ok(Wrote::Not(unsent))),
                Ok(()) if !has_room => {}
                Ok(()) => return conn.poll_gone(cx).map(|()| Ok(Wrote::Not(Unsent::Gone))),
            },
        }
    }
}

fn content_bytes(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}

/// Passes bytes both ways until either side has had enough; answers what ended it.
async fn tunnel(conn: &SharedConn, alarm: &Alarm, record: &Record, mut body: Body) -> Ended {
    conn.become_tunnel();
    let timeout = body.tunnel_timeout();
    alarm.set(Instant::now() + timeout);
    let mut encoder = Encoder::UntilClose;
    let mut ended = false;
    poll_fn(|cx| {
        if body.poll_closing(cx).is_ready() {
            return Poll::Ready(Ended::SessionOver);
        }
        loop {
            let mut moved = body.drive(cx);
            let has_room = conn.with(|conn| conn.wire.has_room());
            if !ended && has_room {
                match body.poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        moved = true;
                        record.sent(content_bytes(&frame));
                        let _ = conn.with(|conn| encoder.encode(frame, &mut conn.wire));
                    }
                    Poll::Ready(Some(Err(BrokeOff(ended)))) => return Poll::Ready(ended),
                    Poll::Ready(None) => ended = true,
                    Poll::Pending => {}
                }
            }
            let flushed = conn.with(|conn| if ended { conn.wire.poll_shutdown(cx) } else { conn.wire.poll_flush(cx) });
            match flushed {
                Poll::Ready(Err(_)) => return Poll::Ready(Ended::ClientGone),
                // The member has ended its side, and been told that the client has, too.
                Poll::Ready(Ok(())) if ended && body.is_request_done() => return Poll::Ready(Ended::Whole),
                // The client took what it had no room for: the member may go on.
                Poll::Ready(Ok(())) if !has_room => moved = true,
                _ => {}
            }
            if moved {
                alarm.set(Instant::now() + timeout);
                continue;
            }
            return alarm.poll(cx).map(|()| Ended::TunnelSilent);
        }
    })
    .await
}

/// Reads what is left of a request that was answered without it; answers whether that was all.
async fn discard(conn: &SharedConn) -> bool {
    let alarm = Alarm::after(DISCARD_TIMEOUT);
    let mut left = DISCARDED_BYTES_MAX;
    poll_fn(|cx| {
        loop {
            match conn.poll_frame(cx) {
                Poll::Ready(None) => return Poll::Ready(true),
                Poll::Ready(Some(Ok(frame))) => {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    left = left.saturating_sub(bytes);
                    if left == 0 {
                        return Poll::Ready(false);
                    }
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
                Poll::Pending => return alarm.poll(cx).map(|()| false),
            }
        }
    })
    .await
}

/// Ends a connection in order: our side first, and then not before the client has seen all of the answer. Closing while
/// bytes of it are unread would reset the connection, and the answer might be lost (RFC 9112, 9.6).
async fn close(conn: &SharedConn) {
    let alarm = Alarm::after(DISCARD_TIMEOUT);
    let mut left = DISCARDED_BYTES_MAX;
    poll_fn(|cx| {
        conn.with(|conn| {
            let shut = conn.wire.poll_shutdown(cx);
            match shut {
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) if conn.wire.has_ended() => return Poll::Ready(()),
                _ => {}
            }
            loop {
                conn.wire.input.clear();
                match conn.wire.poll_read(cx, Expected::Head) {
                    Poll::Ready(Ok(0) | Err(_)) if shut.is_ready() => return Poll::Ready(()),
                    Poll::Ready(Ok(0) | Err(_)) => return alarm.poll(cx),
                    Poll::Ready(Ok(read)) => {
                        left = left.saturating_sub(read);
                        if left == 0 {
                            return Poll::Ready(());
                        }
                    }
                    Poll::Pending => return alarm.poll(cx),
                }
            }
        })
    })
    .await;
}

impl Asker for SharedConn {
    fn interim(&self, status: StatusCode, fields: &Fields) {
        Self::interim(self, status, fields);
    }

    fn limit(&self, limits: &crate::spec::vip::VipLimits) {
        Self::limit(self, limits);
    }
}
