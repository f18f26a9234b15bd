//! The request's body on its way to a member.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Instant;

/// What a member is sent.
pub enum RequestBody {
    /// The client's stream. It can be sent once.
    Client(Incoming, Progress),
    /// Nothing: can be sent as often as wanted.
    Empty,
}

impl From<Incoming> for RequestBody {
    fn from(incoming: Incoming) -> Self {
        if incoming.is_end_stream() { Self::Empty } else { Self::Client(incoming, Progress::default()) }
    }
}

impl RequestBody {
    /// When it last moved, if it can.
    pub fn progress(&self) -> Option<Progress> {
        match self {
            Self::Client(_, progress) => Some(progress.clone()),
            Self::Empty => None,
        }
    }
}

/// When a body last moved: a member cannot be expected to answer while it is still being told.
#[derive(Clone)]
pub struct Progress(Rc<Cell<Instant>>);

impl Progress {
    /// The last time that a piece was passed on.
    pub fn last(&self) -> Instant {
        self.0.get()
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self(Rc::new(Cell::new(Instant::now())))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Client(incoming, progress) => {
                let frame = std::task::ready!(Pin::new(incoming).poll_frame(cx));
                progress.0.set(Instant::now());
                Poll::Ready(frame)
            }
            Self::Empty => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Client(incoming, _) => incoming.is_end_stream(),
            Self::Empty => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Client(incoming, _) => incoming.size_hint(),
            Self::Empty => SizeHint::with_exact(0),
        }
    }
}
