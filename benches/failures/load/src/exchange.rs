//! One connection to the proxy, and one request at a time on it.
//!
//! Reads answers as a careful client does: what is shorter than it said, or is not what members send, is a failure
//! whatever its status.

use std::borrow::Cow;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::clock::Clock;

/// A client gives up after so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked, and of whom.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) method: String,
    /// Bytes of a good answer.
    pub(crate) length: usize,
    /// Hosts that are asked for in turn: `p0.test`, `p1.test` and so on.
    pub(crate) hosts: usize,
    /// What is sent in turn, as it is, instead of what is made of method and hosts.
    pub(crate) requests: Vec<Vec<u8>>,
}

impl Plan {
    fn request(&self, number: usize) -> Cow<'_, [u8]> {
        if let Some(request) = self.requests.get(number % self.requests.len().max(1)) {
            return Cow::Borrowed(request);
        }
        let method = &self.method;
        let content = if method == "POST" { "content-length: 2\r\n\r\nhi" } else { "\r\n" };
        let host = number % self.hosts;
        let request = format!("{method} /n/{number} HTTP/1.1\r\nhost: p{host}.test\r\nuser-agent: load\r\n{content}");
        Cow::Owned(request.into_bytes())
    }
}

/// What became of a request.
pub(crate) struct Outcome {
    pub(crate) ended: Duration,
    pub(crate) status: u16,
    /// Who answered, as members say themselves.
    pub(crate) member: String,
    pub(crate) fault: Option<&'static str>,
    /// Kept connections that had ended before an answer began, after which a request was sent anew.
    pub(crate) stale: u32,
}

pub(crate) struct Connection {
    plan: Plan,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

struct Head {
    status: u16,
    member: String,
    content: Content,
    closes: bool,
    /// Where content begins.
    end: usize,
}

enum Content {
    Length(usize),
    Chunked,
    UntilTheEnd,
}

impl Connection {
    pub(crate) fn new(plan: Plan) -> Self {
        let stream = connect(plan.address).ok();
        Self { plan, stream, buffer: Vec::new() }
    }

    pub(crate) fn exchange(&mut self, number: usize, clock: Clock) -> Outcome {
        let mut stale = 0;
        loop {
            let kept = self.stream.is_some();
            let (mut status, mut member) = (0, String::from("-"));
            let fault = self.attempt(number, &mut status, &mut member).err();
            if fault.is_some() {
                self.stream = None;
            }
            // As browsers do: a proxy may end a connection that is idle at any time.
            if fault == Some("closed") && kept && stale == 0 && self.plan.method == "GET" {
                stale += 1;
                continue;
            }
            return Outcome { ended: clock.now(), status, member, fault, stale };
        }
    }

    fn attempt(&mut self, number: usize, status: &mut u16, member: &mut String) -> Result<(), &'static str> {
        if self.stream.is_none() {
            self.stream = Some(connect(self.plan.address).map_err(|error| name(&error, "not-connected"))?);
        }
        let Self { plan, stream: Some(stream), buffer } = self else { unreachable!() };
        stream.write_all(&plan.request(number)).map_err(|error| name(&error, "closed"))?;
        buffer.clear();
        let head = loop {
            if let Some(head) = Head::parse(buffer)? {
                break head;
            }
            if more(stream, buffer)? == 0 {
                return Err(if buffer.is_empty() { "closed" } else { "short" });
            }
        };
        (*status, *member) = (head.status, head.member);
        let content = read_content(stream, buffer, head.end, &head.content)?;
        if head.closes {
            self.stream = None;
        }
        match head.status {
            200 if content == plan.length => Ok(()),
            200 => Err("other-content"),
            _ => Err("status"),
        }
    }
}

impl Head {
    /// A head, if it is all there.
    fn parse(buffer: &[u8]) -> Result<Option<Self>, &'static str> {
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let text = std::str::from_utf8(&buffer[..end]).map_err(|_| "no-http")?;
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default();
        let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok()).ok_or("no-http")?;
        let mut head = Self { status, member: "-".into(), content: Content::UntilTheEnd, closes: false, end: end + 4 };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.content = Content::Length(value.parse().map_err(|_| "no-http")?),
                "transfer-encoding" => head.content = Content::Chunked,
                "connection" => head.closes = value.eq_ignore_ascii_case("close"),
                "x-member" => head.member = value.to_owned(),
                _ => {}
            }
        }
        head.closes |= matches!(head.content, Content::UntilTheEnd);
        Ok(Some(head))
    }
}

/// How much content there is, once it is whole.
fn read_content(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    start: usize,
    content: &Content,
) -> Result<usize, &'static str> {
    loop {
        let read = &buffer[start..];
        match content {
            Content::Length(length) if read.len() >= *length => return Ok(*length),
            Content::Chunked => {
                if let Some(length) = chunks(read)? {
                    return Ok(length);
                }
            }
            Content::Length(_) | Content::UntilTheEnd => {}
        }
        if more(stream, buffer)? == 0 {
            return match content {
                Content::UntilTheEnd => Ok(buffer.len() - start),
                Content::Length(_) | Content::Chunked => Err("short"),
            };
        }
    }
}

/// The length of what is in chunks, if the last one is there.
fn chunks(mut rest: &[u8]) -> Result<Option<usize>, &'static str> {
    let mut length = 0;
    loop {
        let Some(line) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&rest[..line]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or("no-http")?;
        let Some(after) = rest.get(line + 2 + size + 2..) else { return Ok(None) };
        if size == 0 {
            return Ok(Some(length));
        }
        length += size;
        rest = after;
    }
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<usize, &'static str> {
    let mut bytes = [0; 4096];
    let begun = !buffer.is_empty();
    let read = stream.read(&mut bytes).map_err(|error| name(&error, if begun { "short" } else { "closed" }))?;
    buffer.extend_from_slice(&bytes[..read]);
    Ok(read)
}

fn name(error: &std::io::Error, otherwise: &'static str) -> &'static str {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "timeout",
        _ => otherwise,
    }
}
