//! One exchange on an HTTP/1.1 connection to a member: the request goes out while the answer may already come in.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::Frame;
use hyper::{Method, StatusCode};
use tokio::time::Instant;

use super::decoder::{BadBody, Decoded, Decoder};
use super::encoder::{self, Encoder};
use super::framing::{self, BadFraming, Framing};
use super::head::{self, BadHead, HeadLimits};
use super::round::{self, Message};
use super::wire::{Came, Expected, Wire};
use crate::proxy::exchange::Asker;
use crate::proxy::fields::name::{CONTENT_LENGTH, TRANSFER_ENCODING};
use crate::proxy::headers;
use crate::proxy::message::{RequestHead, Response};
use crate::proxy::request_body::{ClientFault, RequestBody};
use crate::time::clock;

/// How long a member's head may be: what its clients may send us, and twice the fields.
const LIMITS: HeadLimits = HeadLimits { bytes: 64 * 1024, fields: 200 };

/// Interim answers to one request. More of them say nothing that is worth the time.
pub const INTERIM_MAX: u32 = 64;

/// A request on its way, and its answer.
pub struct Exchange {
    /// Shared with the end of the round, while a request is left for that.
    wire: Rc<RefCell<Wire>>,
    method: Method,
    wants_upgrade: bool,
    body: RequestBody,
    /// Whether any of the content was taken from the client, so that the request cannot be sent anew.
    body_begun: bool,
    body_ended: bool,
    encoder: Encoder,
    sending: Sending,
    /// When the request last moved.
    moved: Instant,
    interim: u32,
    answer: Decoder,
    keeps: bool,
    client_fault: Option<ClientFault>,
}

/// How far the request has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// Its head is not written whole.
    Head,
    /// All of it is left for the end of the round.
    Left,
    /// Its content is passed on.
    Content,
    /// All of it is written.
    Done,
    /// The member takes no more of it.
    Refused,
}

/// Why an exchange ended early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The client's fault.
    #[error(transparent)]
    Client(#[from] ClientFault),
    /// The member's fault.
    #[error(transparent)]
    Member(#[from] MemberFault),
}

/// What a member did wrong.
#[derive(Debug, thiserror::Error)]
pub enum MemberFault {
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[source] io::Error),
    /// It ended without an answer.
    #[error("the connection was closed before an answer")]
    Closed,
    /// It answered before it was asked.
    #[error("the answer came before the request")]
    TooEarly,
    /// What came is no head.
    #[error("the answer cannot be read: {0}")]
    Head(#[from] BadHead),
    /// It cannot be told where the answer ends.
    #[error("the answer cannot be read: {0}")]
    Framing(#[from] BadFraming),
    /// The answer's content is not as it should be.
    #[error("the answer broke off: {0}")]
    Body(#[from] BadBody),
    /// It switched to a protocol that nobody asked for (RFC 9110, 15.2.2).
    #[error("it switched protocols unasked")]
    UnaskedUpgrade,
    /// It sends interim answers and never a final one.
    #[error("it sent {INTERIM_MAX} interim answers")]
    Interim,
    /// HTTP/2.
    #[error("{0}")]
    H2(String),
}

impl MemberFault {
    /// Whether the connection was gone, so that the member may never have seen the request.
    pub fn is_of_connection(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Closed)
    }
}

impl Exchange {
    /// Begins with a request whose fields are as the member shall get them, but for those that frame its content.
    pub fn begin(wire: Rc<RefCell<Wire>>, head: &RequestHead, body: RequestBody) -> Self {
        let mut connection = wire.borrow_mut();
        let wants_upgrade = headers::connection_has(&head.fields, "upgrade");
        // All that HTTP/2 sends is the tunnel's and waits for the member to switch; HTTP/1 may have content before that.
        let holds_body = wants_upgrade && matches!(body, RequestBody::H2(_));
        let length = if holds_body { Some(0) } else { body.length() };
        let target = head.target.path_and_query().map_or("/", |target| target.as_str());
        let output = connection.output();
        encoder::request_line(output, &head.method, target);
        // The length is written anew, from what is known of the content.
        head.fields.write_to(output, &[CONTENT_LENGTH]);
        let encoder = match length {
            // RFC 9110, 8.6: a method that gives content a meaning says that there is none.
            Some(0) if !matches!(head.method, Method::POST | Method::PUT | Method::PATCH) => Encoder::Length(0),
            Some(length) => {
                encoder::content_length(output, length);
                Encoder::Length(length)
            }
            None => {
                encoder::field(output, TRANSFER_ENCODING, &headers::CHUNKED);
                Encoder::Chunked
            }
        };
        output.extend_from_slice(b"\r\n");
        drop(connection);
        Self {
            wire,
            method: head.method.clone(),
            wants_upgrade,
            body,
            body_begun: false,
            body_ended: holds_body,
            encoder,
            sending: Sending::Head,
            moved: clock::now(),
            interim: 0,
            answer: Decoder::new(Framing::Length(0), LIMITS),
            keeps: false,
            client_fault: None,
        }
    }

    /// The answer's head. Interim answers go to `asker`.
    pub fn poll_head(&mut self, cx: &mut Context<'_>, asker: &dyn Asker) -> Poll<Result<Response<()>, Failure>> {
        loop {
            self.drive(cx);
            if let Some(fault) = self.client_fault.take() {
                return Poll::Ready(Err(fault.into()));
            }
            if self.sending == Sending::Left && self.wire.borrow().is_left() {
                // What comes in the same round is looked at after it.
                match ready!(self.wire.borrow_mut().poll_read(cx, Expected::Head)).map_err(MemberFault::Io)? {
                    0 => return Poll::Ready(Err(MemberFault::Closed.into())),
                    _ => cx.waker().wake_by_ref(),
                }
                return Poll::Pending;
            }
            let head = ready!(self.poll_any_head(cx))?;
            if matches!(self.sending, Sending::Head | Sending::Left) {
                return Poll::Ready(Err(MemberFault::TooEarly.into()));
            }
            let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
            if !head.status.is_informational() || switches {
                return Poll::Ready(self.accept(head, switches).map_err(Failure::from));
            }
            self.interim += 1;
            if self.interim > INTERIM_MAX {
                return Poll::Ready(Err(MemberFault::Interim.into()));
            }
            let mut fields = head.fields;
            headers::strip_connection_fields(&mut fields);
            // RFC 9110, 8.6.
            fields.remove(CONTENT_LENGTH);
            asker.interim(head.status, &fields);
        }
    }

    /// The next head, of an interim answer or of the final one.
    fn poll_any_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, MemberFault>> {
        let wire = &mut *self.wire.borrow_mut();
        loop {
            if let Some(head) = wire.take_head(LIMITS, head::answer)? {
                return Poll::Ready(Ok(head));
            }
            match ready!(wire.poll_head(cx, LIMITS, head::answer)).map_err(MemberFault::Io)? {
                Came::Head(head) => return Poll::Ready(Ok(head)),
                Came::Part => {}
                Came::Bad(bad) => return Poll::Ready(Err(bad.into())),
                Came::End => return Poll::Ready(Err(MemberFault::Closed)),
            }
        }
    }

    fn accept(&mut self, head: Response<()>, switches: bool) -> Result<Response<()>, MemberFault> {
        let framing = framing::of_answer(&self.method, head.status, head.version, &head.fields)?;
        if switches {
            if !self.wants_upgrade || self.sending != Sending::Done {
                return Err(MemberFault::UnaskedUpgrade);
            }
            self.body.become_tunnel();
            self.encoder = Encoder::UntilClose;
            self.body_ended = false;
            self.sending = Sending::Content;
        }
        let framing = if switches { Framing::UntilClose } else { framing };
        self.answer = Decoder::new(framing, LIMITS);
        let stays = if encoder::is_modern(head.version) {
            !headers::connection_has(&head.fields, "close")
        } else {
            headers::connection_has(&head.fields, "keep-alive")
        };
        self.keeps = stays && framing != Framing::UntilClose;
        Ok(head)
    }

    /// The next piece of the answer's content, or its trailers. [`Exchange::drive`] must be called beside it.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if let Some(fault) = self.client_fault.take() {
            return Poll::Ready(Some(Err(fault.into())));
        }
        let wire = &mut *self.wire.borrow_mut();
        loop {
            let ended = wire.has_ended();
            match self.answer.decode(&mut wire.input, ended) {
                Ok(Decoded::End) => return Poll::Ready(None),
                Ok(Decoded::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(Decoded::Wanting) => {}
                Err(bad) => return Poll::Ready(Some(Err(MemberFault::from(bad).into()))),
            }
            if let Err(error) = ready!(wire.poll_read(cx, Expected::Body)) {
                return Poll::Ready(Some(Err(MemberFault::Io(error).into())));
            }
        }
    }

    /// The length of what is left of the answer's content, where it is known.
    pub fn length(&self) -> Option<u64> {
        self.answer.remaining()
    }

    /// Passes on what the client sends, as far as it goes now; answers whether anything moved.
    pub fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while !self.is_request_done() {
            // Gather what is there, so that head and content leave together.
            let mut waits = false;
            if !self.body_ended && self.wire.borrow().has_room() {
                match self.body.poll_frame(cx) {
                    Poll::Pending => waits = true,
                    Poll::Ready(frame) => {
                        moved = true;
                        if let Err(fault) = self.pass_on(frame) {
                            self.sending = Sending::Refused;
                            self.client_fault = Some(fault);
                        }
                        continue;
                    }
                }
            }
            let mut wire = self.wire.borrow_mut();
            match self.sending {
                Sending::Head if self.body_ended => {
                    wire.leave();
                    round::leave(Message::Request(self.wire.clone()), cx.waker().clone());
                    self.sending = Sending::Left;
                    break;
                }
                Sending::Left if wire.is_left() => break,
                _ => {}
            }
            let is_end_of_tunnel = self.body_ended && self.encoder == Encoder::UntilClose;
            let flushed = if is_end_of_tunnel { wire.poll_shutdown(cx) } else { wire.poll_flush(cx) };
            match flushed {
                Poll::Pending => break,
                // It may have answered all the same: an early answer, and then the end of the connection.
                Poll::Ready(Err(_)) => self.sending = Sending::Refused,
                Poll::Ready(Ok(())) if self.body_ended => self.sending = Sending::Done,
                Poll::Ready(Ok(())) => self.sending = Sending::Content,
            }
            if waits {
                // The member has all that there is: what it takes from now on is the client's time, unless that waits
                // for the member.
                if !self.body.awaits_continue() {
                    self.moved = clock::now();
                }
                break;
            }
        }
        moved
    }

    fn pass_on(&mut self, frame: Option<Result<Frame<Bytes>, ClientFault>>) -> Result<(), ClientFault> {
        let as_announced = match frame {
            Some(frame) => {
                (self.body_begun, self.moved) = (true, clock::now());
                self.encoder.encode(frame?, &mut self.wire.borrow_mut())
            }
            None => {
                self.body_ended = true;
                self.encoder.end(&mut self.wire.borrow_mut())
            }
        };
        as_announced.map_err(|_| BadBody::Incomplete.into())
    }

    /// Whether the client's side has ended, and the member knows.
    pub fn is_request_done(&self) -> bool {
        matches!(self.sending, Sending::Done | Sending::Refused)
    }

    /// Whether nothing of its content was taken from the client.
    pub fn is_repeatable(&self) -> bool {
        !self.body_begun
    }

    /// When the request last moved: a member cannot be expected to answer while it is still being told.
    pub fn moved(&self) -> Instant {
        self.moved
    }

    /// Gives up an exchange that was not answered: the content, where none of it was taken, and whether any of the head
    /// can have reached the member.
    pub fn into_unsent(self) -> (Option<RequestBody>, bool) {
        let Self { body, body_begun, sending, wire, .. } = self;
        let was_seen = match sending {
            Sending::Head => false,
            Sending::Left => wire.borrow().is_flushed(),
            Sending::Content | Sending::Done | Sending::Refused => true,
        };
        ((!body_begun).then_some(body), was_seen)
    }

    /// The connection, where it can carry another exchange: request and answer have both ended, and nothing follows.
    pub fn into_idle(self) -> Option<Rc<RefCell<Wire>>> {
        let ended = self.answer.is_done() && self.sending == Sending::Done && self.keeps;
        let is_silent = |wire: &Wire| wire.input.is_empty() && !wire.has_ended();
        (ended && is_silent(&self.wire.borrow())).then_some(self.wire)
    }
}
