//! Sends content on a stream, as fast as the other end's windows allow, and no faster than it can be kept.

use std::task::{Context, Poll};

use ::h2::{Error, Reason, SendStream};
use bytes::Bytes;
use hyper::body::Frame;

/// One direction of a stream.
pub struct Sender {
    stream: SendStream<Bytes>,
    /// What the window has no room for yet.
    pending: Bytes,
    ended: bool,
}

impl Sender {
    /// Sends on this stream.
    pub fn new(stream: SendStream<Bytes>) -> Self {
        Self { stream, pending: Bytes::new(), ended: false }
    }

    /// Ready when more may be sent.
    ///
    /// # Errors
    /// When the stream was reset, or the connection has ended.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.pending.is_empty() {
            self.stream.reserve_capacity(self.pending.len());
            let mut room = self.stream.capacity();
            if room == 0 {
                room = match std::task::ready!(self.stream.poll_capacity(cx)) {
                    Some(room) => room?,
                    None => return Poll::Ready(Err(Reason::STREAM_CLOSED.into())),
                };
            }
            let piece = self.pending.split_to(room.min(self.pending.len()));
            if !piece.is_empty() {
                self.stream.send_data(piece, false)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Bytes that wait for room.
    pub fn waiting_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Takes content or trailers; asks [`Sender::poll_room`] first. Trailers end the stream: answers whether they did.
    ///
    /// # Errors
    /// When the stream was reset, or the connection has ended.
    pub fn send(&mut self, frame: Frame<Bytes>) -> Result<bool, Error> {
        match frame.into_data() {
            Ok(data) => {
                self.pending = data;
                Ok(false)
            }
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => self.stream.send_trailers(trailers).map(|()| true),
                Err(_) => Ok(false),
            },
        }
    }

    /// Ends the stream; asks [`Sender::poll_room`] first.
    ///
    /// # Errors
    /// When the stream was reset, or the connection has ended.
    pub fn end(&mut self) -> Result<(), Error> {
        self.ended = true;
        self.stream.send_data(Bytes::new(), true)
    }

    /// Whether it was ended.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Breaks the stream off, so that the other end can tell.
    pub fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    /// Ready when the other end has reset the stream.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_reset(cx).map(drop)
    }
}
