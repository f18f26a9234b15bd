//! The answer's content on its way to the client: streamed as it comes, and what happens when it ends.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Frame;

use super::connector::{ConnectionKey, MemberExchange};
use super::exchange::Flight;
use super::h1::member::Failure;
use super::member::Member;
use super::worker::Worker;
use crate::telemetry::told::Ended;

/// An answer's content: our own few bytes, or a member's stream.
pub enum Body {
    /// Made here.
    Full(Option<Bytes>),
    /// Streamed from a member.
    Member(MemberBody),
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
    tunnel_timeout: Duration,
    _flight: Flight,
}

/// The rest of the answer cannot be had: what the client has of it is not all. Says what ended it.
#[derive(Debug)]
pub struct BrokeOff(pub Ended);

/// A member with one more request in flight, until dropped.
pub struct InUse(pub Arc<Member>);

impl InUse {
    /// Counts a request to this member.
    pub fn begin(member: &Arc<Member>) -> Self {
        member.begin();
        Self(member.clone())
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Body {
    /// Content made here.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::Full(Some(bytes.into()))
    }

    /// Content streamed from a member.
    pub fn member(
        exchange: MemberExchange,
        key: ConnectionKey,
        worker: &Rc<Worker>,
        use_of_member: InUse,
        keeps_trailers: bool,
        tunnel_timeout: Duration,
        flight: Flight,
    ) -> Self {
        Self::Member(MemberBody {
            exchange: Some(exchange),
            ended: false,
            key,
            worker: worker.clone(),
            use_of_member,
            keeps_trailers,
            tunnel_timeout,
            _flight: flight,
        })
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
            Self::Member(MemberBody { exchange: Some(exchange), .. }) => exchange.drive(cx),
            _ => false,
        }
    }

    /// Whether all that the client sends has been passed on.
    pub fn is_request_done(&self) -> bool {
        match self {
            Self::Member(MemberBody { exchange: Some(exchange), .. }) => exchange.is_request_done(),
            _ => true,
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
            Self::Member(body) => body.tunnel_timeout,
        }
    }
}

impl MemberBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        let Some(exchange) = self.exchange.as_mut().filter(|_| !self.ended) else { return Poll::Ready(None) };
        match std::task::ready!(exchange.poll_frame(cx)) {
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
                let fault = match failure {
                    Failure::Client(fault) => return Poll::Ready(Some(Err(BrokeOff(fault.ended())))),
                    Failure::Member(fault) => fault,
                };
                self.use_of_member.0.fail();
                if let Some(left_out) = self.worker.log.spend() {
                    let member = &self.use_of_member.0.address;
                    tracing::warn!(%member, error = %fault, left_out, "a member's answer broke off");
                }
                Poll::Ready(Some(Err(BrokeOff(Ended::MemberBroke))))
            }
        }
    }
}

impl Drop for MemberBody {
    fn drop(&mut self) {
        // An exchange that is not at its end on both sides takes its connection with it.
        if let Some(exchange) = self.exchange.take() {
            self.worker.connector.give_back(&self.key, exchange);
        }
    }
}
