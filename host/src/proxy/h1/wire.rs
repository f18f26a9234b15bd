//! One connection's bytes: what was read and is not understood yet, and what is still to be written.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::head::{BadHead, HeadLimits, Lines};

use crate::proxy::connector::Held;
use crate::proxy::stream::Stream;

/// Bytes read at once where a head is expected: most are smaller.
const READ_HEAD_BYTES: usize = 16 * 1024;

/// Bytes read at once of a body.
const READ_BODY_BYTES: usize = 64 * 1024;

/// A piece of a body up to this size is copied behind what waits to be written; a larger one is written where it is.
const COPY_BYTES_MAX: usize = 4 * 1024;

/// Bytes that there is room for where anything is written: most heads are smaller.
const OUTPUT_BYTES: usize = 2 * 1024;

/// Bytes that may wait to be written before more is taken in.
const OUTPUT_BYTES_MAX: usize = 32 * 1024;

thread_local! {
    /// Where this worker's connections are read into, so that none has to keep room for what may never come: what did come
    /// is copied out, into as much as it needs.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BODY_BYTES].into());

    /// Room for output that nobody has a use for now.
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Rooms that are kept for those that write next.
const SPARE_MAX: usize = 64;

/// Bytes of a room that is kept.
const SPARE_BYTES_MAX: usize = 2 * OUTPUT_BYTES;

/// A connection.
pub struct Wire {
    stream: Stream,
    /// Read, and not understood yet.
    pub input: BytesMut,
    /// Where lines end in it, while a head is expected.
    pub lines: Lines,
    output: Output,
    /// Whether all that was written has left what carries it: TLS keeps some of it back until it is flushed.
    flushed: bool,
    ended: bool,
    /// Whether what waits is written at the end of the round.
    is_left: bool,
    /// What is held for as long as the connection is there.
    held: Option<Box<Held>>,
}

/// What waits to be written: copied bytes, then one large piece of a body, then what ends that.
#[derive(Default)]
struct Output {
    copied: BytesMut,
    piece: Bytes,
    after: &'static [u8],
}

/// What is expected to come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// A head.
    Head,
    /// A body.
    Body,
}

/// What came where a head was expected.
pub enum Came<T> {
    /// All of it.
    Head(T),
    /// Bytes that may become one.
    Part,
    /// Bytes that cannot.
    Bad(BadHead),
    /// The end.
    End,
}

impl<T> Came<T> {
    /// So many bytes came, and are in the input.
    pub fn unread(bytes: usize) -> Self {
        if bytes == 0 { Self::End } else { Self::Part }
    }
}

impl Wire {
    /// A connection of which `input` has been read already.
    pub fn new(stream: Stream, input: BytesMut) -> Self {
        Self {
            stream,
            input,
            lines: Lines::default(),
            output: Output::default(),
            flushed: true,
            ended: false,
            is_left: false,
            held: None,
        }
    }

    /// The same, of a member.
    pub fn to_member(stream: Stream, held: Held) -> Self {
        Self { held: Some(held.into()), ..Self::new(stream, BytesMut::new()) }
    }

    /// When it was opened, if it is one to a member.
    pub fn opened(&self) -> Option<Instant> {
        self.held.as_ref().map(|held| held.since)
    }

    /// What carries it.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The connection and what was read ahead, for another protocol.
    pub fn into_parts(self) -> (Stream, BytesMut) {
        (self.stream, self.input)
    }

    /// Whether the peer has ended its side.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Reads more into `input`; answers how much, which is 0 at the end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, expected: Expected) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        let most = if expected == Expected::Head { READ_HEAD_BYTES } else { READ_BODY_BYTES };
        self.poll_come(cx, most, |wire, came| {
            wire.input.extend_from_slice(came);
            came.len()
        })
    }

    /// Reads more, where a head is expected and `input` has none; one that comes whole is read where it lies, as `read`
    /// does, and never goes through `input`. What has ended answers [`Came::End`].
    pub fn poll_head<T>(
        &mut self,
        cx: &mut Context<'_>,
        limits: HeadLimits,
        read: impl FnOnce(&[u8], &Lines) -> Result<T, BadHead>,
    ) -> Poll<io::Result<Came<T>>> {
        if self.ended {
            return Poll::Ready(Ok(Came::End));
        }
        self.poll_come(cx, READ_HEAD_BYTES, |wire, came| {
            // Empty lines in front of it are not many, nor for us to skip.
            let may_be_whole = wire.input.is_empty() && came.first().is_some_and(|first| *first != b'\r');
            let found = if may_be_whole { wire.lines.read(came, limits, read) } else { Ok(None) };
            match found {
                Ok(Some((head, end))) => {
                    wire.input.extend_from_slice(&came[end..]);
                    Came::Head(head)
                }
                Ok(None) => {
                    wire.input.extend_from_slice(came);
                    Came::unread(came.len())
                }
                Err(bad) => Came::Bad(bad),
            }
        })
    }

    /// Reads no more than `most`, and has `take` look at it where it lies. Nothing at all is the end.
    fn poll_come<T>(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        take: impl FnOnce(&mut Self, &[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        ROOM.with_borrow_mut(|room| {
            let mut buffer = ReadBuf::new(&mut room[..most]);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            self.ended = buffer.filled().is_empty();
            Poll::Ready(Ok(take(self, buffer.filled())))
        })
    }

    /// Takes a whole head off `input`, as `read` reads it.
    ///
    /// # Errors
    /// When it cannot become one, or is none.
    pub fn take_head<T>(
        &mut self,
        limits: HeadLimits,
        read: impl FnOnce(&[u8], &Lines) -> Result<T, BadHead>,
    ) -> Result<Option<T>, BadHead> {
        self.lines.take(&mut self.input, limits, read)
    }

    /// Whether nothing has come, no end and no error either, on a connection that should be silent.
    pub fn is_silent(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        // A task that has done much already is told that nothing has come, to give others their turn: here it would be
        // believed.
        let read = pin!(tokio::task::unconstrained(poll_fn(|cx| self.poll_read(cx, Expected::Head))));
        let is_pending = read.poll(&mut cx).is_pending();
        is_pending && self.input.is_empty() && !self.ended
    }

    /// Gives back the memory that an idle connection does not need.
    pub fn rest(&mut self) {
        if self.output.is_empty() {
            let room = std::mem::take(&mut self.output.copied);
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < SPARE_MAX && (OUTPUT_BYTES..=SPARE_BYTES_MAX).contains(&room.capacity()) {
                    spare.push(room);
                }
            });
        }
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        self.lines.rest();
    }

    /// Where heads are written to. Goes out at the next flush.
    pub fn output(&mut self) -> &mut BytesMut {
        debug_assert!(self.output.takes_more(), "a head never follows a piece that waits");
        if self.output.copied.capacity() == 0 {
            let spare = SPARE.with_borrow_mut(Vec::pop);
            self.output.copied = spare.unwrap_or_else(|| BytesMut::with_capacity(OUTPUT_BYTES));
        }
        &mut self.output.copied
    }

    /// Whether more may be put behind what waits to be written.
    pub fn has_room(&self) -> bool {
        self.output.takes_more() && self.output.copied.len() < OUTPUT_BYTES_MAX
    }

    /// Puts a piece of a body, and what ends it, behind what waits to be written.
    pub fn push(&mut self, piece: Bytes, after: &'static [u8]) {
        debug_assert!(self.output.takes_more(), "asked before");
        if piece.len() <= COPY_BYTES_MAX {
            self.output.copied.extend_from_slice(&piece);
            self.output.copied.extend_from_slice(after);
        } else {
            self.output.piece = piece;
            self.output.after = after;
        }
    }

    /// Whether all was written.
    pub fn is_flushed(&self) -> bool {
        self.output.is_empty() && self.flushed
    }

    /// Bytes that wait to be written.
    pub fn waiting_bytes(&self) -> usize {
        self.output.copied.len() + self.output.piece.len() + self.output.after.len()
    }

    /// Leaves what waits for the end of the round, which has to be told (`h1/round.rs`).
    pub fn leave(&mut self) {
        self.is_left = true;
    }

    /// Whether what waits is written at the end of the round.
    pub fn is_left(&self) -> bool {
        self.is_left
    }

    /// The end of the round: writes what can be written at once, and answers whether that was all.
    pub fn write_left(&mut self) -> bool {
        matches!(self.poll_flush(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())))
    }

    /// Writes all that waits.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_left = false;
        if self.is_flushed() {
            return Poll::Ready(Ok(()));
        }
        while !self.output.is_empty() {
            let stream = Pin::new(&mut self.stream);
            let written = ready!(if self.output.takes_more() {
                stream.poll_write(cx, &self.output.copied)
            } else {
                stream.poll_write_vectored(cx, &self.output.slices())
            })?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(written);
            self.flushed = false;
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.flushed = true;
        Poll::Ready(Ok(()))
    }

    /// Ends our side, after all that waits.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Output {
    fn is_empty(&self) -> bool {
        self.copied.is_empty() && self.piece.is_empty() && self.after.is_empty()
    }

    /// Whether what is copied comes last.
    fn takes_more(&self) -> bool {
        self.piece.is_empty() && self.after.is_empty()
    }

    fn slices(&self) -> [IoSlice<'_>; 3] {
        [IoSlice::new(&self.copied), IoSlice::new(&self.piece), IoSlice::new(self.after)]
    }

    fn advance(&mut self, mut written: usize) {
        let copied = written.min(self.copied.len());
        if copied == self.copied.len() {
            // Keeps the room.
            self.copied.clear();
        } else {
            self.copied.advance(copied);
        }
        written -= copied;
        let piece = written.min(self.piece.len());
        self.piece.advance(piece);
        if self.piece.is_empty() {
            self.piece = Bytes::new();
        }
        self.after = &self.after[written - piece..];
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::UnixStream;

    use super::*;
    use crate::proxy::h1::encoder::Encoder;
    use crate::proxy::stream::Plain;
    use tokio::io::AsyncReadExt;

    fn pair() -> (Wire, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Wire::new(Stream::Plain(Plain::Unix(ours)), BytesMut::new()), theirs)
    }

    #[tokio::test]
    async fn what_ends_a_piece_follows_it_where_a_write_stopped_between_them() {
        let (mut wire, mut peer) = pair();
        for written in [COPY_BYTES_MAX + 1, COPY_BYTES_MAX + 2] {
            wire.push(Bytes::from(vec![b'a'; COPY_BYTES_MAX + 1]), b"\r\n");
            wire.output.advance(written);
            assert!(!wire.has_room());
            poll_fn(|cx| wire.poll_flush(cx)).await.unwrap();
            let mut rest = vec![0; COPY_BYTES_MAX + 3 - written];
            peer.read_exact(&mut rest).await.unwrap();
            assert!(b"\r\n".ends_with(&rest));
        }
    }

    #[tokio::test]
    async fn what_tls_keeps_back_is_not_flushed() {
        let certified = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let (cert, key) = (certified.cert.der().clone(), certified.signing_key.serialize_der());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(cert.clone()).unwrap();
        let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let server = rustls::ServerConfig::builder().with_no_client_auth();
        let server = server.with_single_cert(vec![cert], key.try_into().unwrap()).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let name = "a".try_into().unwrap();
        let (ours, theirs) = tokio::join!(
            tokio_rustls::TlsAcceptor::from(Arc::new(server)).accept(Plain::Unix(ours)),
            tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, theirs),
        );
        let (mut wire, mut peer) =
            (Wire::new(Stream::Tls(Box::new(ours.unwrap().into())), BytesMut::new()), theirs.unwrap());
        let mut cx = Context::from_waker(Waker::noop());
        let mut pushed = 0;
        while wire.poll_flush(&mut cx).is_ready() {
            wire.push(Bytes::from_static(&[b'a'; COPY_BYTES_MAX]), b"");
            pushed += COPY_BYTES_MAX;
        }
        assert!(wire.poll_flush(&mut cx).is_pending());
        let mut read = vec![0; pushed];
        let (flushed, read) = tokio::join!(poll_fn(|cx| wire.poll_flush(cx)), peer.read_exact(&mut read));
        assert!(flushed.is_ok() && read.is_ok());
    }

    #[tokio::test]
    async fn a_chunk_is_taken_where_its_size_fills_the_room() {
        let (mut wire, _peer) = pair();
        wire.output().extend_from_slice(&[b'a'; OUTPUT_BYTES_MAX - 1]);
        Encoder::Chunked.encode(hyper::body::Frame::data(Bytes::from_static(b"abc")), &mut wire).unwrap();
        assert!(wire.output.copied.ends_with(b"a3\r\nabc\r\n"));
    }

    #[tokio::test]
    async fn bytes_that_came_unasked_are_heard_however_much_the_task_has_done() {
        let (mut wire, mut peer) = pair();
        tokio::io::AsyncWriteExt::write_all(&mut peer, b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
        let Stream::Plain(Plain::Unix(stream)) = &wire.stream else { panic!("made of one") };
        stream.readable().await.unwrap();
        // More than a task may do before others get their turn.
        let polled = async {
            for _ in 0..10_000 {
                if tokio::task::coop::has_budget_remaining() {
                    let _ = std::pin::pin!(tokio::task::coop::consume_budget())
                        .poll(&mut Context::from_waker(Waker::noop()));
                }
            }
            wire.is_silent()
        };
        assert!(!polled.await);
    }
}
