//! The client: does what the case says on one connection, and reads to the letter all that comes back.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::Instant;

use super::case::Piece;
use super::content::{self, Framing};
use super::strict::{self, Checked, Fields, Head};

/// How long one conversation may take. None has a reason to take long; what hangs is a failure.
const LIMIT: Duration = Duration::from_secs(4);

/// An answer as the client read it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) old: bool,
    pub(super) fields: Fields,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Fields,
    pub(super) framing: Framing,
    /// The interim answers before it.
    pub(super) interim: Vec<(u16, Fields)>,
    /// Whether it came to the end that it said it would have.
    pub(super) whole: bool,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// In order.
    Closed,
    /// With an error.
    Reset,
    /// It did not, though it should have, or an answer is missing.
    Hung,
}

/// What came back on one connection.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) answers: Vec<Answer>,
    /// The answer to a request that was sent after the case, where the connection allowed that.
    pub(super) last: Option<Answer>,
    pub(super) end: End,
    /// What came after the last answer.
    pub(super) beyond: Vec<u8>,
    /// What was wrong with the bytes.
    pub(super) fault: Option<String>,
}

/// What the client must know to read answers.
pub(super) struct Wanted {
    /// For each answer, whether it answers HEAD.
    pub(super) heads: Vec<bool>,
    /// Whether the client speaks HTTP/1.0.
    pub(super) old: bool,
    /// Names the request that follows the case.
    pub(super) number: usize,
}

impl Answer {
    /// Whether the connection ends after it (RFC 9112, 9.3).
    pub(super) fn says_close(&self, old: bool) -> bool {
        let options = self.fields.options();
        let has = |option: &str| options.iter().any(|other| other == option);
        has("close") || ((old || self.old) && !has("keep-alive")) || self.framing == Framing::UntilClose
    }
}

/// Holds a conversation; `between` is what happens elsewhere once all answers are there.
pub(super) async fn converse(
    address: SocketAddr,
    send: &[Piece],
    wanted: &Wanted,
    between: impl Future<Output = ()>,
) -> Heard {
    let stream = TcpStream::connect(address).await.expect("the host listens");
    stream.set_nodelay(true).unwrap();
    let (read, write) = stream.into_split();
    let (told, heard) = watch::channel(0);
    let mut writer = tokio::spawn(write_all(write, send.to_vec(), heard));
    let mut hearing =
        Hearing { read, told, buffer: Vec::new(), answers: Vec::new(), interim: Vec::new(), end: None, wanted };
    let end = Instant::now() + LIMIT;

    let mut fault = hearing.until(wanted.heads.len(), end).await.err();
    between.await;
    let stays = hearing.answers.last().is_some_and(|answer| !answer.says_close(wanted.old));
    let through = fault.is_none() && hearing.end.is_none() && hearing.answers.len() == wanted.heads.len();
    let mut last = None;
    if through && stays {
        if let Ok(Ok(mut write)) = tokio::time::timeout_at(end, &mut writer).await {
            let more = format!("GET /last/{} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", wanted.number);
            let _ = write.write_all(more.as_bytes()).await;
            let count = hearing.answers.len();
            fault = hearing.until(usize::MAX, end).await.err();
            if hearing.answers.len() > count {
                last = Some(hearing.answers.remove(count));
            }
            drop(write);
        }
    } else if fault.is_none() {
        fault = hearing.until(usize::MAX, end).await.err();
    }
    writer.abort();
    let Hearing { answers, end, buffer, .. } = hearing;
    Heard { answers, last, end: end.unwrap_or(End::Hung), beyond: buffer, fault }
}

/// Writes what the case says, as far as the other side lets it.
async fn write_all(mut write: OwnedWriteHalf, pieces: Vec<Piece>, mut heard: watch::Receiver<usize>) -> OwnedWriteHalf {
    for piece in pieces {
        let written = match piece {
            Piece::Bytes(bytes) => write.write_all(&bytes).await,
            Piece::Drip(bytes) => drip(&mut write, &bytes).await,
            Piece::Await => {
                let before = *heard.borrow_and_update();
                if before == 0 {
                    let _ = heard.changed().await;
                }
                Ok(())
            }
            Piece::End => write.shutdown().await,
        };
        // What the other side no longer reads is its answer to judge, not a reason to stop.
        if written.is_err() {
            break;
        }
    }
    write
}

async fn drip(write: &mut OwnedWriteHalf, bytes: &[u8]) -> std::io::Result<()> {
    for byte in bytes {
        write.write_all(&[*byte]).await?;
        // The client's own pace, so that each byte is read alone.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

struct Hearing<'a> {
    read: OwnedReadHalf,
    /// How many heads there were.
    told: watch::Sender<usize>,
    buffer: Vec<u8>,
    answers: Vec<Answer>,
    interim: Vec<(u16, Fields)>,
    end: Option<End>,
    wanted: &'a Wanted,
}

impl Hearing<'_> {
    /// Reads until there are so many answers, or until the end.
    async fn until(&mut self, count: usize, deadline: Instant) -> Checked<()> {
        loop {
            while self.answers.len() < count && self.take()? {}
            if self.answers.len() >= count || self.end.is_some() {
                return Ok(());
            }
            match tokio::time::timeout_at(deadline, self.read.read_buf(&mut self.buffer)).await {
                Ok(Ok(0)) => self.end = Some(End::Closed),
                Ok(Ok(_)) => {}
                Ok(Err(_)) => self.end = Some(End::Reset),
                Err(_) => return Ok(()),
            }
        }
    }

    /// Takes one answer off the buffer, or what there is of one at the end.
    fn take(&mut self) -> Checked<bool> {
        let Some((head, used)) = strict::answer_head(&self.buffer)? else { return Ok(false) };
        let Head { start: [version, status, _], fields } = &head;
        let status: u16 = status.parse().map_err(|_| "no status")?;
        let to_head = self.wanted.heads.get(self.answers.len()).is_some_and(|to_head| *to_head);
        let mut framing = content::of_answer(&head, to_head)?;
        if self.wanted.old && framing == Framing::Chunked {
            return Err("chunks for a client of HTTP/1.0".into());
        }
        if status < 200 && status != 101 {
            if self.wanted.old {
                return Err(format!("an interim answer {status} for a client of HTTP/1.0"));
            }
            self.interim.push((status, fields.clone()));
            self.buffer.drain(..used);
            self.told.send_modify(|told| *told += 1);
            return Ok(true);
        }
        if status == 101 {
            framing = Framing::UntilClose;
        }
        let content = content::read(framing, &self.buffer[used..], self.end == Some(End::Closed))?;
        self.told.send_modify(|told| *told += 1);
        let whole = content.used.is_some();
        if !whole && self.end.is_none() {
            return Ok(false);
        }
        self.buffer.drain(..content.used.map_or(self.buffer.len(), |content| used + content));
        self.answers.push(Answer {
            status,
            old: version == "HTTP/1.0",
            fields: head.fields,
            body: content.body,
            trailers: content.trailers,
            framing,
            interim: std::mem::take(&mut self.interim),
            whole,
        });
        Ok(true)
    }
}
