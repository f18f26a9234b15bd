//! Every way a request can fail, whose fault it was, and what the client is told: the one place with status codes.
//!
//! The client gets a short sentence and the exchange's id; the log gets the rest.

use super::fields::name::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, X_REQUEST_ID};
use hyper::StatusCode;

use super::exchange::ExchangeId;
use super::grpc;
use super::h1::decoder::BadBody;
use super::h1::framing::BadFraming;
use super::h1::head::BadHead;
use super::h1::member::MemberFault;
use super::message::Response;
use super::request_body::ClientFault;
use super::response::Body;
use super::worker::Worker;
use crate::address::Address;
use crate::telemetry::Limit;
use crate::telemetry::told::{Came, Ended};

/// Why a request was not served by a member.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client's fault: the head cannot be accepted.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The client's fault: nobody serves that host and path.
    #[error("no vip serves this host and path")]
    NoVip,
    /// The client's fault: it asks for a release that does not serve and is not ready to.
    #[error("release `{0}` is not ready here")]
    NoSuchRelease(String),
    /// The policy's fault, and nothing was left to decide.
    #[error("no policy answered and vip `{0}` has no fallback pool")]
    Undecided(String),
    /// The configuration's fault.
    #[error("pool `{0}` has no members")]
    NoMember(String),
    /// Too many requests are in flight.
    #[error("{0} requests are in flight, the most there may be")]
    Overload(u32),
    /// Too many requests of one vip are in flight.
    #[error("vip `{0}` has {1} requests in flight, the most that it may have")]
    VipOverload(String, u32),
    /// The member's fault: it could not be reached.
    #[error("member {0} cannot be reached")]
    Connect(Address, #[source] std::io::Error),
    /// The member's fault: no answer in time.
    #[error("member {0} did not answer in time")]
    ResponseTimeout(Address),
    /// The member's fault: it began to answer and fell silent.
    #[error("member {0} fell silent in the middle of its answer")]
    Silent(Address),
    /// The whole took too long. Not always the member's fault: see `tries`.
    #[error("member {0} did not end its answer in time")]
    WholeTimeout(Address),
    /// Too many requests wait for a pool.
    #[error("{1} requests wait for pool `{0}`, the most that may")]
    QueueFull(String, u32),
    /// The pool could not take the request in time.
    #[error("pool `{0}` could not take the request in time")]
    QueueTimeout(String),
    /// The member's fault: the connection broke, or what came was no answer.
    #[error("member {0}: {1}")]
    Member(Address, MemberFault),
    /// The client's fault: what it did in the middle of its request's content.
    #[error(transparent)]
    Client(#[from] ClientFault),
}

/// What is wrong with a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is no head.
    #[error(transparent)]
    Head(#[from] BadHead),
    /// It cannot be told where its content ends.
    #[error(transparent)]
    Framing(#[from] BadFraming),
    /// Half of a head, and then nothing.
    #[error("the request did not come in time")]
    Slow,
    /// RFC 9112, 3.2: a request of HTTP/1.1 without Host.
    #[error("the Host header is missing")]
    HostMissing,
    /// RFC 9112, 3.2: more than one Host, or one that is no authority.
    #[error("the Host header is repeated or invalid")]
    Host,
    /// RFC 9112, 3.2: the authority of the target is another than that of Host.
    #[error("the Host header and the request target name different hosts")]
    HostDisagrees,
    /// RFC 9112, 3.2: not a target that a member can be asked for.
    #[error("the request target is not one that can be forwarded")]
    Target,
    /// RFC 9110, 10.1.1: an expectation other than `100-continue`.
    #[error("the expectation is not one that can be met")]
    Expectation,
    /// RFC 9110, 7.6.2: not a number.
    #[error("Max-Forwards is not a number")]
    MaxForwards,
    /// RFC 9110, 9.3.8: a TRACE request has no content.
    #[error("a TRACE request cannot have content")]
    TraceContent,
    /// It came through here too often.
    #[error("the request goes round in circles")]
    Loop,
    /// RFC 9110, 9.3.6: this is no tunnel.
    #[error("CONNECT is not offered here")]
    Connect,
}

impl Error {
    /// Whether a member is to blame.
    pub fn is_of_member(&self) -> bool {
        matches!(
            self,
            Self::Connect(..) | Self::ResponseTimeout(_) | Self::Silent(_) | Self::WholeTimeout(_) | Self::Member(..)
        )
    }

    /// What it ends an exchange as, and with it whose fault that is.
    pub fn ended(&self) -> Ended {
        match self {
            Self::Malformed(Malformed::Slow) => Ended::ClientSlow,
            Self::Malformed(Malformed::Head(BadHead::TooLong | BadHead::TargetTooLong)) => Ended::TooLarge,
            Self::Malformed(_) => Ended::Malformed,
            Self::Client(fault) => fault.ended(),
            Self::NoVip | Self::NoSuchRelease(_) => Ended::NoVip,
            Self::Undecided(_) => Ended::Undecided,
            Self::NoMember(_) => Ended::NoMember,
            Self::Overload(_) | Self::VipOverload(..) | Self::QueueFull(..) | Self::QueueTimeout(_) => Ended::Overload,
            Self::Connect(..) => Ended::MemberUnreached,
            Self::ResponseTimeout(_) | Self::Silent(_) | Self::WholeTimeout(_) => Ended::MemberTimeout,
            Self::Member(..) => Ended::MemberBroke,
        }
    }

    /// What it says of a try of a member.
    pub fn came(&self) -> Came {
        match self {
            Self::Connect(..) => Came::Unreached,
            Self::ResponseTimeout(_) | Self::WholeTimeout(_) => Came::Late,
            Self::Client(_) => Came::ClientFault,
            _ => Came::Broke,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(malformed) => malformed.status(),
            Self::Client(ClientFault::TooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Client(ClientFault::Slow) => StatusCode::REQUEST_TIMEOUT,
            Self::Client(_) => StatusCode::BAD_REQUEST,
            Self::NoVip => StatusCode::NOT_FOUND,
            Self::NoSuchRelease(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Undecided(_)
            | Self::NoMember(_)
            | Self::Overload(_)
            | Self::VipOverload(..)
            | Self::QueueFull(..)
            | Self::QueueTimeout(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Connect(..) | Self::Member(..) => StatusCode::BAD_GATEWAY,
            Self::ResponseTimeout(_) | Self::Silent(_) | Self::WholeTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The limit that it ran into, where it did.
    fn limit(&self) -> Option<Limit> {
        Some(match self {
            Self::Malformed(Malformed::Head(BadHead::TooLong | BadHead::TargetTooLong)) => Limit::Head,
            Self::Malformed(Malformed::Slow) => Limit::HeadTimeout,
            Self::Client(ClientFault::TooLarge(_)) => Limit::RequestBody,
            Self::Client(ClientFault::Slow) => Limit::ClientTimeout,
            Self::Overload(_) => Limit::Requests,
            Self::VipOverload(..) => Limit::VipRequests,
            Self::ResponseTimeout(_) => Limit::ResponseTimeout,
            Self::Silent(_) => Limit::BetweenBytesTimeout,
            Self::WholeTimeout(_) => Limit::WholeTimeout,
            Self::QueueFull(..) => Limit::Queue,
            Self::QueueTimeout(_) => Limit::QueueTimeout,
            Self::Connect(..) => Limit::Connect,
            _ => return None,
        })
    }

    /// What the client may know: nothing of members' addresses or vips' names.
    fn public(&self) -> String {
        match self {
            Self::Malformed(malformed) => malformed.to_string(),
            Self::Client(fault) => fault.to_string(),
            Self::NoVip => "nothing is served at this host and path".into(),
            // Only those are told who may ask.
            Self::NoSuchRelease(_) => self.to_string(),
            Self::Undecided(_) | Self::NoMember(_) => "no pool can take this request now".into(),
            Self::Overload(_) | Self::VipOverload(..) | Self::QueueFull(..) | Self::QueueTimeout(_) => {
                "too many requests are being served, try again".into()
            }
            Self::Connect(..) => "no member of the pool can be reached".into(),
            Self::ResponseTimeout(_) | Self::Silent(_) | Self::WholeTimeout(_) => {
                "the member did not answer in time".into()
            }
            Self::Member(..) => "the member's answer cannot be used".into(),
        }
    }

    /// The answer to the client, and a line in the log. Calls of gRPC get their own kind of error.
    pub fn respond(&self, id: &ExchangeId, worker: &Worker, is_grpc: bool) -> Response<Body> {
        let status = self.status();
        if let Some(limit) = self.limit() {
            worker.ground.counts.limited(worker.id, limit);
        }
        if !status.is_server_error() {
            tracing::debug!(exchange = %id, status = status.as_u16(), "{self}");
        } else if let Some(left_out) = worker.log.spend() {
            let cause = std::error::Error::source(self).map(ToString::to_string).unwrap_or_default();
            tracing::warn!(exchange = %id, status = status.as_u16(), cause, left_out, "{self}");
        }
        let mut response = if is_grpc {
            grpc::error(status, &self.public())
        } else {
            let text = format!("{} {}: {}\nrequest {id}\n", status.as_u16(), reason(status), self.public());
            let mut response = Response::new(Body::full(text));
            response.status = status;
            response.fields.insert(CONTENT_TYPE, "text/plain; charset=utf-8");
            response
        };
        let fields = &mut response.fields;
        fields.insert_with(X_REQUEST_ID, |out| id.write(out));
        if matches!(self, Self::Overload(_) | Self::VipOverload(..) | Self::QueueFull(..) | Self::QueueTimeout(_)) {
            fields.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        // After a head or content we could not make sense of, the next bytes may be anything (RFC 9112, 9.6).
        if matches!(self, Self::Malformed(_) | Self::Client(_)) {
            fields.insert(CONNECTION, "close");
        }
        response
    }
}

impl ClientFault {
    /// What it ends an exchange as.
    pub fn ended(&self) -> Ended {
        match self {
            // Its connection ended in the middle of its content.
            Self::Gone | Self::Malformed(BadBody::Incomplete) => Ended::ClientGone,
            Self::Malformed(_) => Ended::Malformed,
            Self::Slow => Ended::ClientSlow,
            Self::TooLarge(_) => Ended::TooLarge,
        }
    }
}

impl Malformed {
    fn status(self) -> StatusCode {
        match self {
            Self::Connect | Self::Framing(BadFraming::UnknownCoding) => StatusCode::NOT_IMPLEMENTED,
            Self::Head(BadHead::Version) => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Head(BadHead::TargetTooLong) => StatusCode::URI_TOO_LONG,
            Self::Head(BadHead::TooLong) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::Loop => StatusCode::LOOP_DETECTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// When a client that was refused for overload may try again: soon, as what is in flight is mostly short.
const RETRY_AFTER_SECONDS: &str = "1";

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}
