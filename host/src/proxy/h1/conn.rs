//! A client's connection, shared by those who take part in one exchange: its server, which reads heads and writes
//! answers, and the member's side, which pulls the request's content.
//!
//! All of them run in one task, one after the other, so that each borrows it for as long as a poll takes.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::Frame;
use tokio::time::{Interval, MissedTickBehavior};

use super::decoder::{Decoded, Decoder};
use super::encoder;
use super::framing::Framing;
use super::head::{self, BadHead, HeadLimits};
use super::round::{self, Message};
use super::wire::{Came, Expected, Wire};
use crate::proxy::alarm::Alarm;
use crate::proxy::fields::Fields;
use crate::proxy::message::RequestHead;
use crate::proxy::pace::Pace;
use crate::proxy::record::Record;
use crate::proxy::request_body::ClientFault;
use crate::spec::vip::VipLimits;
use crate::telemetry::told::Ended;
use crate::time::clock;

/// Bytes of further requests that are read while one is being served.
const PIPELINED_BYTES_MAX: usize = 16 * 1024;

/// How often we look whether a client that has ended its side is still there.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// How many times, while there is nothing to write to it, before we take it for gone: most that end their side are.
const LOOKS_MAX: u32 = 5;

/// A client's connection, shared.
#[derive(Clone)]
pub struct SharedConn(Rc<RefCell<Conn>>);

/// A client's connection.
pub struct Conn {
    /// Its bytes.
    pub wire: Wire,
    limits: HeadLimits,
    body: Decoder,
    body_bytes: u64,
    body_bytes_max: Option<u64>,
    reading: Pace,
    /// How fast the client takes our answers.
    pub writing: Pace,
    /// Whether the client of this exchange reads interim answers.
    takes_interim: bool,
    /// Whether it waits for one before it sends its content.
    awaits_continue: bool,
    /// Whether all that comes is a tunnel's, which has a time-out of its own.
    is_tunnel: bool,
    looking_after: Option<Pin<Box<Interval>>>,
    /// How often we looked since anything was written.
    looks: u32,
    /// An answer that is whole, and left for the end of the round.
    left: Option<Left>,
}

/// What there is to do when an answer has been written.
struct Left {
    record: Record,
    /// Bytes of content that came with its request.
    received_bytes: u64,
}

/// Why an answer could not be written.
#[derive(Clone, Copy, Debug)]
pub enum Unsent {
    /// The client has gone.
    Gone,
    /// The client does not take it.
    Slow,
}

/// What came instead of a request.
#[derive(Debug)]
pub enum NoRequest {
    /// Nothing: the client has gone, or was idle for too long.
    Closed,
    /// Bytes that are no request.
    Bad(BadHead),
    /// Half of a head, and then nothing for too long.
    Slow,
    /// Nothing: the answer before it could not be written.
    Unsent(Unsent),
}

impl SharedConn {
    /// A connection before its first request.
    pub fn new(wire: Wire, limits: HeadLimits) -> Self {
        let defaults = VipLimits::default();
        Self(Rc::new(RefCell::new(Conn {
            wire,
            limits,
            body: Decoder::new(Framing::Length(0), limits),
            body_bytes: 0,
            body_bytes_max: None,
            reading: Pace::new(&defaults),
            writing: Pace::new(&defaults),
            takes_interim: false,
            awaits_continue: false,
            is_tunnel: false,
            looking_after: None,
            looks: 0,
            left: None,
        })))
    }

    /// Does something with the connection.
    pub fn with<T>(&self, act: impl FnOnce(&mut Conn) -> T) -> T {
        act(&mut self.0.borrow_mut())
    }

    /// The next request's head. `alarm` is set to the end of the idle time; a head that has begun gets `head_timeout`.
    pub async fn next_head(&self, alarm: &Alarm, head_timeout: Duration) -> Result<Box<RequestHead>, NoRequest> {
        let (mut skipped, mut begun) = (0, false);
        std::future::poll_fn(|cx| {
            let conn = &mut *self.0.borrow_mut();
            loop {
                // An answer that the end of the round could not write whole, or that is in the way of the next one.
                if conn.left.is_some() && !(conn.wire.is_left() && conn.wire.input.is_empty()) {
                    ready!(conn.poll_left(cx)).map_err(NoRequest::Unsent)?;
                }
                if conn.wire.lines.skip_empty(&mut conn.wire.input, &mut skipped).map_err(NoRequest::Bad)? {
                    if let Some(head) = conn.wire.take_head(conn.limits, head::request).map_err(NoRequest::Bad)? {
                        return Poll::Ready(Ok(Box::new(head)));
                    }
                    if !begun {
                        begun = true;
                        alarm.set(clock::now() + head_timeout);
                    }
                } else if !begun {
                    conn.wire.rest();
                }
                let came = match conn.left {
                    None => conn.wire.poll_head(cx, conn.limits, head::request),
                    // Not read before that is written.
                    Some(_) => conn.wire.poll_read(cx, Expected::Head).map_ok(Came::unread),
                };
                match came {
                    Poll::Ready(Ok(Came::Head(head))) => return Poll::Ready(Ok(Box::new(head))),
                    Poll::Ready(Ok(Came::Part)) => {}
                    Poll::Ready(Ok(Came::Bad(bad))) => return Poll::Ready(Err(NoRequest::Bad(bad))),
                    Poll::Ready(Ok(Came::End) | Err(_)) => {
                        // Whoever ends its side may wait for what it is owed.
                        if conn.left.is_some() {
                            ready!(conn.poll_left(cx)).map_err(NoRequest::Unsent)?;
                        }
                        return Poll::Ready(Err(NoRequest::Closed));
                    }
                    Poll::Pending => {
                        ready!(alarm.poll(cx));
                        return Poll::Ready(Err(if begun { NoRequest::Slow } else { NoRequest::Closed }));
                    }
                }
            }
        })
        .await
    }

    /// Has an answer that is whole written at the end of the round, and recorded then.
    pub fn leave(&self, record: Record, waker: Waker) {
        let conn = &mut *self.0.borrow_mut();
        conn.wire.leave();
        conn.left = Some(Left { record, received_bytes: conn.body_bytes });
        round::leave(Message::Answer(self.clone()), waker);
    }

    /// Begins an exchange whose content is framed so.
    pub fn begin(&self, framing: Framing, takes_interim: bool, awaits_continue: bool) {
        let conn = &mut *self.0.borrow_mut();
        conn.body = Decoder::new(framing, conn.limits);
        conn.body_bytes = 0;
        conn.takes_interim = takes_interim;
        conn.awaits_continue = awaits_continue;
    }

    /// What the vip allows its clients.
    pub fn limit(&self, limits: &VipLimits) {
        let conn = &mut *self.0.borrow_mut();
        conn.body_bytes_max = limits.request_body_bytes_max;
        conn.reading = Pace::new(limits);
        conn.writing = Pace::new(limits);
    }

    /// Puts an interim answer before the final one, for a client that reads them.
    pub fn interim(&self, status: StatusCode, fields: &Fields) {
        let conn = &mut *self.0.borrow_mut();
        if status == StatusCode::CONTINUE {
            // Nobody waits for it, or it was said already.
            if !std::mem::take(&mut conn.awaits_continue) {
                return;
            }
        }
        if conn.takes_interim && conn.wire.has_room() {
            let output = conn.wire.output();
            encoder::status_line(output, status, status.canonical_reason().unwrap_or_default().as_bytes());
            fields.write_to(output, &[]);
            output.extend_from_slice(b"\r\n");
        }
    }

    /// The next piece of the request's content.
    pub fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        let conn = &mut *self.0.borrow_mut();
        loop {
            let ended = conn.wire.has_ended();
            match conn.body.decode(&mut conn.wire.input, ended) {
                Ok(Decoded::End) => return Poll::Ready(None),
                Ok(Decoded::Frame(frame)) => return Poll::Ready(Some(conn.count(frame))),
                Ok(Decoded::Wanting) => {}
                Err(bad) => return Poll::Ready(Some(Err(bad.into()))),
            }
            match conn.wire.poll_read(cx, Expected::Body) {
                Poll::Ready(Ok(read)) => conn.reading.moved(read),
                Poll::Ready(Err(_)) => return Poll::Ready(Some(Err(ClientFault::Gone))),
                Poll::Pending if conn.is_tunnel => return Poll::Pending,
                Poll::Pending => {
                    ready!(conn.reading.poll_overdue(cx));
                    return Poll::Ready(Some(Err(ClientFault::Slow)));
                }
            }
        }
    }

    /// The length of the content, where it is known.
    pub fn body_length(&self) -> Option<u64> {
        self.0.borrow().body.remaining()
    }

    /// Bytes of content that came.
    pub fn body_bytes(&self) -> u64 {
        self.0.borrow().body_bytes
    }

    /// Whether the request was read to its end.
    pub fn has_whole_request(&self) -> bool {
        self.0.borrow().body.is_done()
    }

    /// Whether the client still waits for leave to send its content, which then may or may not come.
    pub fn awaits_continue(&self) -> bool {
        self.0.borrow().awaits_continue
    }

    /// Everything that comes from now on is content.
    pub fn become_tunnel(&self) {
        let conn = &mut *self.0.borrow_mut();
        conn.body = Decoder::new(Framing::UntilClose, conn.limits);
        (conn.is_tunnel, conn.body_bytes_max) = (true, None);
    }

    /// Ready when the client has gone. Writes what waits to be written.
    ///
    /// A client that has ended its side may well wait for its answer (RFC 9112, 9.6), and looks just like one that has
    /// closed altogether. Which of the two it is shows when it is written to. Until there is something to write it is
    /// given some time.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let conn = &mut *self.0.borrow_mut();
        if let Poll::Ready(Err(_)) = conn.wire.poll_flush(cx) {
            return Poll::Ready(());
        }
        if !conn.body.is_done() {
            // Whoever pulls the content will see it.
            return Poll::Pending;
        }
        while !conn.wire.has_ended() && conn.wire.input.len() < PIPELINED_BYTES_MAX {
            if ready!(conn.wire.poll_read(cx, Expected::Head)).is_err() {
                return Poll::Ready(());
            }
        }
        if !conn.wire.has_ended() {
            return Poll::Pending;
        }
        let plain = conn.wire.stream().plain();
        let looking_after = conn.looking_after.get_or_insert_with(|| {
            let mut every = tokio::time::interval(LOOK_AFTER);
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            Box::pin(every)
        });
        loop {
            ready!(looking_after.poll_tick(cx));
            conn.looks += 1;
            if plain.error().is_some() || conn.looks > LOOKS_MAX {
                return Poll::Ready(());
            }
        }
    }
}

impl Conn {
    /// Whether there is an answer that is left for the end of the round, or could not be written there.
    pub fn has_left(&self) -> bool {
        self.left.is_some()
    }

    /// Whether there is nothing to do but to write: the request was read to its end, and no other has come.
    pub fn has_nothing_else(&self) -> bool {
        self.body.is_done() && self.wire.input.is_empty() && !self.wire.has_ended()
    }

    /// Writes what waits.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        let before = self.wire.waiting_bytes();
        let flushed = self.wire.poll_flush(cx);
        let moved = before - self.wire.waiting_bytes();
        if moved > 0 {
            self.writing.moved(moved);
            self.looks = 0;
        }
        match flushed {
            Poll::Ready(flushed) => Poll::Ready(flushed.map_err(|_| Unsent::Gone)),
            Poll::Pending => self.writing.poll_overdue(cx).map(|()| Err(Unsent::Slow)),
        }
    }

    /// The end of the round: answers whether nothing is left to be written.
    pub(super) fn write_left(&mut self) -> bool {
        if self.left.is_none() {
            return true;
        }
        let is_written = self.wire.write_left();
        if is_written {
            self.looks = 0;
            self.end_left(Ended::Whole);
            self.wire.rest();
        }
        is_written
    }

    /// Writes an answer that was left.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        let written = ready!(self.poll_flush(cx));
        self.end_left(written.map_or_else(Unsent::ended, |()| Ended::Whole));
        Poll::Ready(written)
    }

    fn end_left(&mut self, ended: Ended) {
        if let Some(Left { record, received_bytes }) = self.left.take() {
            record.kept(self.wire.waiting_bytes() as u64);
            record.finish(ended, received_bytes);
        }
    }

    fn count(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, ClientFault> {
        // It did not wait, or it was told to go on.
        self.awaits_continue = false;
        self.body_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        match self.body_bytes_max {
            Some(max) if self.body_bytes > max => Err(ClientFault::TooLarge(max)),
            _ => Ok(frame),
        }
    }
}

impl Unsent {
    /// What ended the exchange.
    pub fn ended(self) -> Ended {
        match self {
            Self::Gone => Ended::ClientGone,
            Self::Slow => Ended::ClientSlow,
        }
    }
}
