//! The answer's body on its way to the client: streamed as it comes, and what happens when it ends.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::connector::MemberConnection;
use super::exchange::Flight;
use super::member::Member;
use super::worker::Worker;

/// A response body: our own few bytes, or a member's stream.
pub enum Body {
    /// Made here.
    Full(Option<Bytes>),
    /// Streamed from a member.
    Member(MemberBody),
}

/// A member's answer, with what must outlive it. When the client goes away, hyper drops this, and with it the connection
/// to the member that nobody reads any more.
pub struct MemberBody {
    incoming: Incoming,
    ended: bool,
    /// `None` once it was given back.
    connection: Option<MemberConnection>,
    worker: Rc<Worker>,
    use_of_member: InUse,
    _flight: Flight,
}

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
    /// A body made here.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self::Full(Some(bytes.into()))
    }

    /// A body streamed from a member.
    pub fn member(
        incoming: Incoming,
        connection: MemberConnection,
        worker: &Rc<Worker>,
        use_of_member: InUse,
        flight: Flight,
    ) -> Self {
        Self::Member(MemberBody {
            incoming,
            ended: false,
            connection: Some(connection),
            worker: worker.clone(),
            use_of_member,
            _flight: flight,
        })
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Member(body) => {
                let frame = std::task::ready!(Pin::new(&mut body.incoming).poll_frame(cx));
                match &frame {
                    None => body.ended = true,
                    // hyper breaks off the connection to the client, by which it can tell that this is not all.
                    Some(Err(error)) => {
                        body.use_of_member.0.fail();
                        if let Some(left_out) = body.worker.log.spend() {
                            let member = &body.use_of_member.0.address;
                            tracing::warn!(%member, %error, left_out, "a member's answer broke off");
                        }
                    }
                    Some(Ok(_)) => {}
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Member(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Member(body) => body.incoming.size_hint(),
        }
    }
}

impl Drop for MemberBody {
    fn drop(&mut self) {
        // A connection whose answer was not read to its end cannot carry another one.
        let ended = self.ended || self.incoming.is_end_stream();
        if let Some(connection) = self.connection.take().filter(|_| ended) {
            self.worker.connector.give_back(&self.use_of_member.0.address, connection);
        }
    }
}
