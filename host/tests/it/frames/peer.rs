//! A client's end of one connection: sends what it is told, and keeps the ledger of what comes back.

use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::ledger::Ledger;
use super::wire::*;

/// Anything that carries octets both ways: TCP, or TLS over it.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<W: AsyncRead + AsyncWrite + Send + Unpin> Wire for W {}

/// Opens one more connection to whom the cases are played at.
pub(crate) type Dial = dyn Fn() -> Pin<Box<dyn Future<Output = io::Result<Box<dyn Wire>>>>>;

pub(crate) struct Peer {
    pub(crate) seen: Ledger,
    writer: WriteHalf<Box<dyn Wire>>,
    frames: mpsc::UnboundedReceiver<Frame>,
    reader: JoinHandle<()>,
}

impl Peer {
    /// A connection on which nothing has been said.
    pub(crate) async fn silent(dial: &Dial) -> Self {
        let (mut reader, writer) = tokio::io::split(dial().await.expect("somebody listens"));
        let (feed, frames) = mpsc::unbounded_channel();
        // Read whatever comes at once: a flood of ours is then never held up by its answers.
        let reader = tokio::spawn(async move {
            while let Some(frame) = Frame::read(&mut reader).await {
                let _ = feed.send(frame);
            }
        });
        Self { seen: Ledger::new(), writer, frames, reader }
    }

    /// A connection on which both sides have sent and acknowledged their settings.
    pub(crate) async fn greeted(dial: &Dial, ours: &[(u16, u32)]) -> Self {
        let mut peer = Self::silent(dial).await;
        peer.send(&[PREFACE, &settings(ours)].concat()).await;
        peer.until(|seen| seen.greeted && seen.acks == 1).await;
        peer
    }

    /// Sends these bytes. A side that has closed is noticed when reading.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let mut rest = bytes.strip_prefix(PREFACE).unwrap_or(bytes);
        while let Some((frame, after)) = Frame::first_of(rest) {
            self.seen.sent(&frame);
            rest = after;
        }
        let _ = self.writer.write_all(bytes).await;
        let _ = self.writer.flush().await;
    }

    /// Ends our half of the connection.
    pub(crate) async fn finish(&mut self) {
        let _ = self.writer.shutdown().await;
    }

    /// Takes the next frame in; false once there are no more.
    pub(crate) async fn next(&mut self) -> bool {
        let Some(frame) = self.frames.recv().await else {
            self.seen.closed = true;
            return false;
        };
        if frame.kind == SETTINGS && !frame.has(ACK) {
            self.send(&settings_ack()).await;
        }
        if let (PING, false, Ok(payload)) = (frame.kind, frame.has(ACK), frame.payload.as_slice().try_into()) {
            self.send(&ping(ACK, payload)).await;
        }
        self.seen.take(frame);
        true
    }

    /// Reads until this holds; false when the connection ends before that.
    pub(crate) async fn until(&mut self, holds: impl Fn(&Ledger) -> bool) -> bool {
        while !holds(&self.seen) {
            if !self.next().await {
                return holds(&self.seen);
            }
        }
        true
    }

    /// Sends so many octets of content as the windows allow, and the end of the stream.
    pub(crate) async fn upload(&mut self, stream: u32, octets: usize) -> bool {
        let mut left = octets;
        while left > 0 {
            if !self.until(|seen| seen.credit_of(stream) > 0).await {
                return false;
            }
            let credit = usize::try_from(self.seen.credit_of(stream)).unwrap_or(0);
            let piece = left.min(credit).min(FRAME_MAX);
            left -= piece;
            self.send(&data(stream, if left == 0 { END_STREAM } else { NONE }, &vec![b'x'; piece])).await;
        }
        true
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
