//! One client on one kept connection, in an open loop: a request sets out when it is due, and its latency counts from then.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use crate::arguments::Pace;

/// Beyond it a request is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// One request, as its client saw it.
pub(crate) struct Exchange {
    pub(crate) due: Instant,
    pub(crate) sent: Instant,
    pub(crate) took: Duration,
    /// Which pool answered, by its first letter; or why nobody did.
    pub(crate) by: io::Result<u8>,
    /// Whether the connection that was kept for it was closed: before it was sent, while it was, or by its answer.
    pub(crate) was_closed: bool,
}

/// When a client's requests are due.
pub(crate) struct Due {
    first: Instant,
    every: Duration,
    end: Instant,
}

impl Due {
    /// Those of one of the connections, evenly among all.
    pub(crate) fn of(number: u32, began: Instant, end: Instant, pace: &Pace) -> Self {
        let every = Duration::from_secs(1) * pace.connections / pace.rate;
        Self { first: began + every * number / pace.connections, every, end }
    }
}

/// On a thread of its own: the kernel's clock is finer than a runtime's timer.
pub(crate) fn run(address: SocketAddr, due: &Due, done: &Sender<Exchange>) {
    let Due { first: mut due, every, end } = *due;
    let mut kept = connect(address).ok();
    while due < end {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let sent = Instant::now();
        // A client that has heard of the close does not send into it. One that has not loses a request.
        let closed_before = kept.take_if(|stream| !is_open(stream)).is_some();
        let answer = kept.take().map_or_else(|| connect(address), Ok).and_then(ask);
        let took = due.elapsed();
        let (by, closed_after) = match answer {
            Ok(Answer { by, stream }) => {
                kept = stream;
                (Ok(by), kept.is_none())
            }
            Err(error) => (Err(error), true),
        };
        let _ = done.send(Exchange { due, sent, took, by, was_closed: closed_before || closed_after });
        due += every;
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Whether nothing, not even an end, has come since the last answer.
fn is_open(stream: &TcpStream) -> bool {
    let waits = || {
        stream.set_nonblocking(true)?;
        let waits = matches!(stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        stream.set_nonblocking(false)?;
        io::Result::Ok(waits)
    };
    waits().unwrap_or(false)
}

/// Who answered, and the connection if it is kept.
struct Answer {
    by: u8,
    stream: Option<TcpStream>,
}

fn ask(mut stream: TcpStream) -> io::Result<Answer> {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: race.test\r\ncookie: uid=7\r\n\r\n")?;
    let mut bytes = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let read = stream.read(&mut piece)?;
        bytes.extend_from_slice(&piece[..read]);
        if let Some((head, length)) = head_of(&bytes)?
            && bytes.len() >= head + length
        {
            let is_kept = !said(&bytes[..head], "connection").is_some_and(|it| it.eq_ignore_ascii_case("close"));
            return Ok(Answer { by: bytes[head], stream: is_kept.then_some(stream) });
        }
        if read == 0 {
            return Err(io::Error::other(format!("closed after {} bytes of the answer", bytes.len())));
        }
    }
}

/// Where the body begins, and how long it is; nothing while the head is not whole.
fn head_of(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = &bytes[..end + 4];
    let length = said(head, "content-length").and_then(|it| it.parse().ok()).filter(|&length| length > 0);
    match length {
        Some(length) if head.starts_with(b"HTTP/1.1 200") => Ok(Some((end + 4, length))),
        _ => Err(io::Error::other(format!("expected a 200 with a length: {}", String::from_utf8_lossy(head)))),
    }
}

/// The value of a field in a head.
fn said<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = std::str::from_utf8(head).ok()?.split("\r\n");
    lines.filter_map(|line| line.split_once(':')).find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, it)| it.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_begins_behind_the_head_and_is_as_long_as_it_says() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nserver: x\r\n\r\nblue\n", Some((49, 5)));
        check("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n", Some((38, 1)));
        check("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r", None);
        check("", None);
    }

    #[test]
    fn an_answer_that_names_no_pool_is_an_error() {
        for head in [
            "HTTP/1.1 503 no\r\ncontent-length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        ] {
            assert!(head_of(head.as_bytes()).is_err(), "{head}");
        }
    }

    fn check(bytes: &str, expected: Option<(usize, usize)>) {
        assert_eq!(head_of(bytes.as_bytes()).unwrap(), expected, "{bytes}");
    }
}
