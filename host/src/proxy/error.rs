//! Every way a request can fail, whose fault it was, and what the client is told: the one place with status codes.
//!
//! The client gets a short sentence and the exchange's id; the log gets the rest.

use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::exchange::ExchangeId;
use super::headers::X_REQUEST_ID;
use super::log_budget::LogBudget;
use super::response::Body;
use crate::address::Address;

/// Why a request was not served by a member.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client's fault: the head cannot be accepted.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The client's fault: nobody serves that host and path.
    #[error("no vip serves this host and path")]
    NoVip,
    /// The policy's fault, and nothing was left to decide.
    #[error("no policy answered and vip `{0}` has no fallback pool")]
    Undecided(String),
    /// The configuration's fault.
    #[error("pool `{0}` has no members")]
    NoMember(String),
    /// The member's fault: it could not be reached.
    #[error("member {0} cannot be reached")]
    Connect(Address, #[source] std::io::Error),
    /// The member's fault: no answer in time.
    #[error("member {0} did not answer in time")]
    ResponseTimeout(Address),
    /// The member's fault: the connection broke, or what came was not HTTP.
    #[error("member {0} broke off or did not speak HTTP")]
    Broken(Address, #[source] hyper::Error),
    /// The member's fault: a transfer coding that nobody asked for (RFC 9110, 10.1.4).
    #[error("member {0} answered in a transfer coding that is not understood")]
    UnknownCoding(Address),
    /// The client's fault: it went away, or broke the rules, in the middle of its request's body.
    #[error("the client broke off its request")]
    ClientGone(#[source] hyper::Error),
    /// The member's fault: it switched to a protocol nobody asked for (RFC 9110, 15.2.2).
    #[error("member {0} switched protocols unasked")]
    UnaskedUpgrade(Address),
}

/// What is wrong with a request's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// RFC 9112, 3.2: a request of HTTP/1.1 without Host.
    #[error("the Host header is missing")]
    HostMissing,
    /// RFC 9112, 3.2: more than one Host, or one that is no authority.
    #[error("the Host header is repeated or invalid")]
    Host,
    /// RFC 9112, 3.2: not a target that a member can be asked for.
    #[error("the request target is not one that can be forwarded")]
    Target,
    /// RFC 9112, 6.1: a transfer coding other than chunked.
    #[error("the transfer coding is not one that is understood here")]
    Coding,
    /// RFC 9110, 9.3.6: this is no tunnel.
    #[error("CONNECT is not offered here")]
    Connect,
}

impl Error {
    /// Whether a member is to blame.
    pub fn is_of_member(&self) -> bool {
        !matches!(self, Self::Malformed(_) | Self::NoVip | Self::Undecided(_) | Self::NoMember(_) | Self::ClientGone(_))
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(Malformed::Connect | Malformed::Coding) => StatusCode::NOT_IMPLEMENTED,
            Self::Malformed(_) | Self::ClientGone(_) => StatusCode::BAD_REQUEST,
            Self::NoVip => StatusCode::NOT_FOUND,
            Self::Undecided(_) | Self::NoMember(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Connect(..) | Self::Broken(..) | Self::UnaskedUpgrade(_) | Self::UnknownCoding(_) => {
                StatusCode::BAD_GATEWAY
            }
            Self::ResponseTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// What the client may know: nothing of members' addresses or vips' names.
    fn public(&self) -> String {
        match self {
            Self::Malformed(malformed) => malformed.to_string(),
            Self::NoVip => "nothing is served at this host and path".into(),
            Self::Undecided(_) | Self::NoMember(_) => "no pool can take this request now".into(),
            Self::Connect(..) => "no member of the pool can be reached".into(),
            Self::ResponseTimeout(_) => "the member did not answer in time".into(),
            Self::Broken(..) | Self::UnaskedUpgrade(_) | Self::UnknownCoding(_) => {
                "the member's answer cannot be used".into()
            }
            Self::ClientGone(_) => "the request broke off".into(),
        }
    }

    /// The answer to the client, and a line in the log.
    pub fn respond(&self, id: &ExchangeId, log: &LogBudget) -> Response<Body> {
        let status = self.status();
        if !status.is_server_error() {
            tracing::debug!(exchange = %id, status = status.as_u16(), "{self}");
        } else if let Some(left_out) = log.spend() {
            let cause = std::error::Error::source(self).map(ToString::to_string).unwrap_or_default();
            tracing::warn!(exchange = %id, status = status.as_u16(), cause, left_out, "{self}");
        }
        let text = format!("{} {}: {}\nrequest {id}\n", status.as_u16(), reason(status), self.public());
        let mut response = Response::new(Body::full(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(X_REQUEST_ID, id.to_value());
        // After a head we could not make sense of, the next bytes may be anything (RFC 9112, 9.6).
        if matches!(self, Self::Malformed(_)) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}
