//! The answer's content on its way to the client: streamed as it comes, and what happens when it ends.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::Frame;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::connector::{ConnectionKey, MemberExchange};
use super::error::Error;
use super::exchange::Flight;
use super::h1::member::Failure;
use super::message::Response;
use super::pool::InUse;
use super::queue::Place;
use super::session::Session;
use super::tries::Sent;
use super::worker::Worker;
use crate::telemetry::Limit;
use crate::telemetry::told::Ended;

/// An answer's content: our own few bytes, or a member's stream.
pub enum Body {
    /// Made here.
    Full(Option<Bytes>),
    /// Streamed from a member.
    Member(Box<MemberBody>),
}

/// A member's answer, with what must outlive it. When the client goes away this is dropped, and with it the connection to
/// the member that nobody reads any more.
pub struct MemberBody {
    /// `None` once it has ended.
    exchange: Option<MemberExchange>,
    ended: bool,
    key: ConnectionKey,
    worker: Rc<Worker>,
    use_of_member: InUse,
    keeps_trailers: bool,
    is_tunnel: bool,
    limits: Limits,
    /// Since when the member is silent, while there is somebody to take what it says.
    silent_since: Option<Instant>,
    /// Made when there is something to wait for, which most answers have not.
    alarm: Option<Alarm>,
    /// When a tunnel is to be closed, as its release was left.
    closing: Option<Pin<Box<dyn Future<Output = ()>>>>,
    _place: Option<Place>,
    flight: Option<Flight>,
}

/// How long an answer may take.
#[derive(Clone, Copy)]
pub struct Limits {
    /// For which the member may fall silent.
    pub between_bytes: Duration,
    /// When all of it must have come.
    pub deadline: Option<Instant>,
    /// For which nothing may pass, if it becomes a tunnel.
    pub tunnel: Duration,
}

/// The rest of the answer cannot be had: what the client has of it is not all. Says what ended it.
#[derive(Debug)]
pub struct BrokeOff(pub Ended);

impl Body {
    /// Content made here.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::Full(Some(bytes.into()))
    }

    /// An answer whose content is streamed from a member.
    pub(super) fn member(
        sent: Sent,
        worker: &Rc<Worker>,
        keeps_trailers: bool,
        limits: Limits,
        flight: Option<Flight>,
    ) -> Response<Self> {
        let Sent { response, exchange, key, member, place } = sent;
        let is_tunnel = response.status == StatusCode::SWITCHING_PROTOCOLS;
        response.with_body(Self::Member(Box::new(MemberBody {
            exchange: Some(exchange),
            ended: false,
            key,
            worker: worker.clone(),
            use_of_member: member,
            keeps_trailers,
            is_tunnel,
            limits,
            silent_since: None,
            alarm: None,
            closing: None,
            _place: place,
            flight,
        })))
    }

    /// Ends it as these sessions say, where it is a tunnel.
    pub(super) fn ends_with(&mut self, session: &Session) {
        if let Self::Member(body) = self
            && body.is_tunnel
        {
            body.flight.iter_mut().for_each(Flight::becomes_tunnel);
            body.closing = session.spec.upgraded_limit.map(|_| Box::pin(session.closing()) as _);
        }
    }

    /// Ready when a tunnel is to be closed.
    pub fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Member(body) => body.closing.as_mut().map_or(Poll::Pending, |closing| closing.as_mut().poll(cx)),
            Self::Full(_) => Poll::Pending,
        }
    }

    /// The next piece of content, or the trailers; `None` at the end. [`Body::drive`] must be called beside it.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        match self {
            Self::Full(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Member(body) => body.poll_frame(cx),
        }
    }

    /// Passes on what the client still sends; answers whether anything moved.
    pub fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Member(body) => body.exchange.as_mut().is_some_and(|exchange| exchange.drive(cx)),
            Self::Full(_) => false,
        }
    }

    /// Whether all that the client sends has been passed on.
    pub fn is_request_done(&self) -> bool {
        match self {
            Self::Member(body) => body.exchange.as_ref().is_none_or(MemberExchange::is_request_done),
            Self::Full(_) => true,
        }
    }

    /// How many bytes are still to come, where that is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Full(bytes) => Some(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Member(body) => body.exchange.as_ref().map_or(Some(0), MemberExchange::length),
        }
    }

    /// Whether trailers may follow.
    pub fn may_have_trailers(&self) -> bool {
        match self {
            Self::Full(_) => false,
            Self::Member(body) => body.exchange.as_ref().is_some_and(MemberExchange::may_have_trailers),
        }
    }

    /// How long nothing may pass, where this is a tunnel.
    pub fn tunnel_timeout(&self) -> Duration {
        match self {
            Self::Full(_) => Duration::ZERO,
            Self::Member(body) => body.limits.tunnel,
        }
    }
}

impl MemberBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        let Some(exchange) = self.exchange.as_mut().filter(|_| !self.ended) else { return Poll::Ready(None) };
        let Poll::Ready(frame) = exchange.poll_frame(cx) else {
            if self.is_tunnel {
                return Poll::Pending;
            }
            let moved = exchange.moved();
            return self.poll_silence(moved, cx).map(|broke| Some(Err(broke)));
        };
        self.silent_since = None;
        match frame {
            // RFC 9110, 6.5.1: not to those who did not say that they read them. Nothing follows them.
            Some(Ok(frame)) if frame.is_trailers() && !self.keeps_trailers => {
                self.ended = true;
                Poll::Ready(None)
            }
            Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
            None => {
                self.ended = true;
                Poll::Ready(None)
            }
            Some(Err(failure)) => {
                self.exchange = None;
                match failure {
                    Failure::Client(fault) => Poll::Ready(Some(Err(BrokeOff(fault.ended())))),
                    Failure::Member(fault) => {
                        let error = Error::Member(self.key.address.clone(), fault);
                        Poll::Ready(Some(Err(self.blame(&error))))
                    }
                }
            }
        }
    }

    /// Ready once the member has been silent for too long, or the whole has taken too long.
    fn poll_silence(&mut self, moved: Instant, cx: &mut Context<'_>) -> Poll<BrokeOff> {
        let Limits { between_bytes, deadline: whole, .. } = self.limits;
        let since = *self.silent_since.get_or_insert_with(Instant::now);
        // While the member still takes the request, it may wait with its answer.
        let deadline = since.max(moved) + between_bytes;
        let deadline = whole.map_or(deadline, |whole| whole.min(deadline));
        let alarm = self.alarm.get_or_insert_with(|| Alarm::at(deadline));
        alarm.set(deadline);
        ready!(alarm.poll(cx));
        let is_announced = self.exchange.as_ref().is_some_and(|exchange| exchange.length().is_some());
        self.exchange = None;
        let is_whole = whole.is_some_and(|whole| whole <= Instant::now());
        let limit = if is_whole { Limit::WholeTimeout } else { Limit::BetweenBytesTimeout };
        self.worker.ground.counts.limited(self.worker.id, limit);
        let address = self.key.address.clone();
        Poll::Ready(if is_whole {
            // It did answer, and a client may have taken its time with that.
            self.broke_off(&Error::WholeTimeout(address))
        } else if is_announced {
            self.blame(&Error::Silent(address))
        } else {
            // A stream of events may have nothing to say.
            self.broke_off(&Error::Silent(address))
        })
    }

    /// It is the member's fault.
    fn blame(&self, error: &Error) -> BrokeOff {
        self.use_of_member.failed(error);
        self.broke_off(error)
    }

    fn broke_off(&self, error: &Error) -> BrokeOff {
        if let Some(left_out) = self.worker.log.spend() {
            tracing::warn!(%error, left_out, "a member's answer broke off");
        }
        BrokeOff(error.ended())
    }
}

impl Drop for MemberBody {
    fn drop(&mut self) {
        // An exchange that is not at its end on both sides takes its connection with it.
        if let Some(exchange) = self.exchange.take() {
            let keep = &self.use_of_member.pool.spec.keep_alive;
            self.worker.connector.give_back(&self.key, keep, exchange);
        }
    }
}
