//! How an answer is written: its head, then its content as it comes, while what is left of the request goes on to the member.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use hyper::{Method, StatusCode, Version};

use super::conn::{SharedConn, Unsent};
use super::encoder::{self, Encoder};
use super::{framing, linger, tunnel};
use crate::proxy::alarm::Alarm;
use crate::proxy::fields::name::{CONNECTION, CONTENT_LENGTH, DATE, Known};
use crate::proxy::leaving::Leaving;
use crate::proxy::message::Response;
use crate::proxy::record::Record;
use crate::proxy::response::{Body, BrokeOff};
use crate::proxy::worker::Worker;
use crate::telemetry::Limit;
use crate::telemetry::told::Ended;

/// What the answer depends on of the request.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) wants_close: bool,
    pub(super) wants_keep_alive: bool,
}

/// What becomes of the connection after an answer.
pub(super) enum After {
    /// Another request may follow.
    Keep,
    /// It ends, in order.
    Close,
    /// It has ended, or must end at once.
    Gone,
}

/// How far an answer has come.
pub(super) enum Answered {
    /// It is recorded, and written as far as it could be.
    Over(After),
    /// All of it is there, and may be left for the end of the round: nothing else is to be done before the next request. Who
    /// is to be told if it cannot be written there.
    Gathered(Waker),
}

/// Answers a request, while the rest of that is still passed on.
pub(super) async fn respond(
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
        let ended = Box::pin(tunnel::pass(conn, alarm, record, body)).await;
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
            if conn.has_whole_request() || linger::discard(conn).await { After::Keep } else { After::Close }
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
pub(super) fn give_up(worker: &Worker, conn: &SharedConn, unsent: Unsent) -> After {
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
                record.sent(&frame);
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
