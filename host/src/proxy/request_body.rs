//! The request's content on its way to a member, whatever the client speaks.

use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::Frame;

use super::h1::conn::SharedConn;
use super::h1::decoder::BadBody;
use super::h2::client::SharedStream;
use super::mirror::Copied;

/// A client's content. Pulled by whoever sends it on, so that no more is read than a member takes.
pub enum RequestBody {
    /// None, known from the head.
    Empty,
    /// From an HTTP/1 connection.
    H1(SharedConn),
    /// From an HTTP/2 stream.
    H2(SharedStream),
    /// Here already: that of a copy.
    Kept(Option<Bytes>),
    /// One of these, of which a copy is kept.
    Copied(Box<Copied>),
}

/// What ended a request before its end: all of it the client's doing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientFault {
    /// It went away.
    #[error("the client went away")]
    Gone,
    /// It broke the rules.
    #[error(transparent)]
    Malformed(#[from] BadBody),
    /// It kept us waiting.
    #[error("the client is too slow")]
    Slow,
    /// It sends more than the vip takes.
    #[error("the content is longer than the {0} bytes that are allowed")]
    TooLarge(u64),
}

impl RequestBody {
    /// The next piece of content, or the trailers; `None` at the end.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::H1(conn) => conn.poll_frame(cx),
            Self::H2(stream) => stream.poll_frame(cx),
            Self::Kept(content) => Poll::Ready(content.take().map(|content| Ok(Frame::data(content)))),
            Self::Copied(copied) => copied.poll_frame(cx),
        }
    }

    /// Its length, where the head says it.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::H1(conn) => conn.body_length(),
            Self::H2(stream) => stream.length(),
            Self::Kept(content) => Some(content.as_ref().map_or(0, |content| content.len() as u64)),
            Self::Copied(copied) => copied.body().length(),
        }
    }

    /// Whether the client sends nothing before it is told to go on.
    pub fn awaits_continue(&self) -> bool {
        match self {
            Self::H1(conn) => conn.awaits_continue(),
            Self::Copied(copied) => copied.body().awaits_continue(),
            Self::Empty | Self::Kept(_) | Self::H2(_) => false,
        }
    }

    /// From now on, everything that the client sends is content: the member has switched protocols.
    pub fn become_tunnel(&mut self) {
        match self {
            Self::Empty | Self::Kept(_) => {}
            Self::Copied(copied) => copied.body_mut().become_tunnel(),
            Self::H1(conn) => conn.become_tunnel(),
            Self::H2(stream) => stream.become_tunnel(),
        }
    }
}
