//! The member behind: it reads HTTP/1.1 to the letter and records every request that reaches it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as the member has read it so far.
#[derive(Debug, Default, Clone)]
pub(crate) struct Record {
    /// The request line, each field as `name: value` with its name in lower case, an empty line, the content, then
    /// any trailers; a line each.
    pub(crate) text: String,
    pub(crate) target: String,
    /// The request was read to its end.
    pub(crate) whole: bool,
    /// What is not HTTP/1.1 about it.
    pub(crate) wrong: Option<String>,
}

/// Each record grows while its request is read, whoever has taken it meanwhile.
type Records = Arc<Mutex<Vec<Arc<Mutex<Record>>>>>;

pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    records: Records,
    task: JoinHandle<()>,
}

impl Recorder {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let records = Records::default();
        let shared = records.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let records = shared.clone();
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while serve(&mut stream, &records).await.is_some() {}
                });
            }
        });
        Self { address, records, task }
    }

    /// What came since this was last asked.
    pub(crate) fn take(&self) -> Vec<Record> {
        let records = std::mem::take(&mut *self.records.lock().unwrap());
        records.iter().map(|record| record.lock().unwrap().clone()).collect()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads a request, records it as it grows, and answers it; none when the connection is over.
async fn serve(stream: &mut BufReader<TcpStream>, records: &Records) -> Option<()> {
    let mut record = Record::default();
    let framing = read_head(stream, &mut record).await;
    if record.text.is_empty() {
        return None;
    }
    let kept = Arc::new(Mutex::new(record.clone()));
    records.lock().unwrap().push(kept.clone());
    let read = match framing {
        Ok(framing) => read_content(stream, &mut record, framing).await,
        Err(wrong) => Err(wrong),
    };
    record.whole = read.is_ok();
    if let Err(Wrong::Rule(rule)) = read {
        record.wrong = Some(format!("{rule}: {:?}", record.text));
    }
    *kept.lock().unwrap() = record.clone();
    answer(stream, &record, read.ok()?).await
}

enum Wrong {
    /// The connection ended: that is how a proxy gives up.
    Cut,
    Rule(&'static str),
}

impl From<&'static str> for Wrong {
    fn from(rule: &'static str) -> Self {
        Self::Rule(rule)
    }
}

enum Framing {
    Length(u64),
    Chunked,
}

/// A line without its end, which must be CR LF.
async fn line(stream: &mut BufReader<TcpStream>) -> Result<String, Wrong> {
    let mut octets = Vec::new();
    if stream.read_until(b'\n', &mut octets).await.is_err() || !octets.ends_with(b"\n") {
        return Err(Wrong::Cut);
    }
    let line = octets.strip_suffix(b"\r\n").ok_or("a bare LF")?;
    if line.iter().any(|octet| *octet == b'\r' || *octet == 0) {
        return Err("CR or NUL in a line".into());
    }
    Ok(String::from_utf8_lossy(line).into_owned())
}

async fn read_head(stream: &mut BufReader<TcpStream>, record: &mut Record) -> Result<Framing, Wrong> {
    let first = line(stream).await?;
    record.text = format!("{first}\n");
    let words: Vec<_> = first.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else { return Err("not a request line".into()) };
    if method.is_empty() || target.is_empty() || target.contains(|of: char| of.is_ascii_control() || of == '#') {
        return Err("not a method and a target".into());
    }
    record.target = target.to_owned();
    let (mut hosts, mut lengths, mut chunked) = (0, Vec::new(), false);
    for (name, value) in read_fields(stream, record).await? {
        match name.as_str() {
            "host" => hosts += 1,
            "content-length" => lengths.push(value.parse().map_err(|_| "content-length is not a number")?),
            "transfer-encoding" if value == "chunked" && !chunked => chunked = true,
            "transfer-encoding" => return Err("a coding other than chunked".into()),
            _ => {}
        }
    }
    match (hosts, lengths.as_slice(), chunked) {
        (1, [], true) => Ok(Framing::Chunked),
        (1, [], false) => Ok(Framing::Length(0)),
        (1, [length], false) => Ok(Framing::Length(*length)),
        (1, ..) => Err("more than one framing".into()),
        _ => Err("not one host".into()),
    }
}

async fn read_fields(stream: &mut BufReader<TcpStream>, record: &mut Record) -> Result<Vec<(String, String)>, Wrong> {
    let mut fields = Vec::new();
    loop {
        let line = line(stream).await?;
        if line.is_empty() {
            return Ok(fields);
        }
        let (name, value) = line.split_once(':').ok_or("a field without a colon")?;
        let (name, value) = (name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned());
        record.text += &format!("{name}: {value}\n");
        let token = |of: char| of.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(of);
        if name.is_empty() || !name.chars().all(token) {
            return Err("a field name is not a token".into());
        }
        fields.push((name, value));
    }
}

/// Reads the content and counts it.
async fn read_content(stream: &mut BufReader<TcpStream>, record: &mut Record, framing: Framing) -> Result<u64, Wrong> {
    record.text += "\n";
    let mut count = 0;
    loop {
        let length = match framing {
            Framing::Length(length) => length,
            Framing::Chunked => u64::from_str_radix(&line(stream).await?, 16).map_err(|_| "not a chunk size")?,
        };
        count += length;
        let mut octets = vec![0; usize::try_from(length).map_err(|_| "too large")?];
        stream.read_exact(&mut octets).await.map_err(|_| Wrong::Cut)?;
        record.text += &String::from_utf8_lossy(&octets);
        match framing {
            Framing::Length(_) => return Ok(count),
            Framing::Chunked if length == 0 => {
                record.text += "\n";
                read_fields(stream, record).await?;
                return Ok(count);
            }
            Framing::Chunked if !line(stream).await?.is_empty() => return Err("a chunk does not end".into()),
            Framing::Chunked => {}
        }
    }
}

/// Answers with the request's method, target and octets of content, or in the way that the target asks for.
async fn answer(stream: &mut BufReader<TcpStream>, record: &Record, content: u64) -> Option<()> {
    let method = record.text.split(' ').next().unwrap_or_default();
    let target = record.target.as_str();
    let mut bytes = String::new();
    let mut close = false;
    match target.trim_start_matches('/').split_once('/').unwrap_or((target, "")) {
        ("big", octets) => {
            let octets = octets.parse().unwrap_or(0);
            bytes += &format!("HTTP/1.1 200 OK\r\nContent-Length: {octets}\r\n\r\n{}", "o".repeat(octets));
        }
        ("/hints", _) => {
            bytes += "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        }
        ("/trailers", _) => {
            bytes += "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n";
        }
        ("/empty", _) => bytes += "HTTP/1.1 204 No Content\r\nX-Mixed-Case: yes\r\n\r\n",
        ("/truncated", _) => {
            bytes += "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.";
            close = true;
        }
        ("/garbage", _) => {
            bytes += "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy";
            close = true;
        }
        _ => {
            let body = format!("{method} {target} {content}\n");
            let length = body.len();
            bytes += "HTTP/1.1 200 OK\r\nConnection: keep-alive, x-hop\r\nKeep-Alive: timeout=60\r\nX-Hop: 1\r\n";
            bytes += &format!("X-Mixed-Case: yes\r\nContent-Length: {length}\r\n\r\n");
            bytes += if method == "HEAD" { "" } else { &body };
        }
    }
    stream.write_all(bytes.as_bytes()).await.ok().filter(|()| !close)
}
