//! The two ends of an exchange: a client that asks, and a member that answers. Both do as little as can be done.

use std::future::poll_fn;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use h2::client::SendRequest;
use hyper::Request;
use switchback::proxy::stream::Plain;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::policies::{FIELDS, TARGET};

/// What carries bytes between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// Unix sockets: the kernel copies, and that is all. Everything happens in the same order each time.
    Unix,
    /// TCP over loopback.
    Tcp,
}

/// A member's answer, as small ones are.
pub const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nserver: member\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
    content-type: text/plain\r\ncontent-length: 13\r\netag: \"5e1a-d\"\r\n\r\nhello, world\n";

/// What ends an answer.
const ANSWER_END: &[u8] = b"hello, world\n";

/// An answer that may be tried again elsewhere.
const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

/// Bytes read at once.
const ROOM: usize = 16 * 1024;

/// A request of a browser, with these fields more.
pub fn request(more: &str) -> Vec<u8> {
    let fields: String = FIELDS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET {TARGET} HTTP/1.1\r\nhost: shop.example\r\n{fields}{more}\r\n").into_bytes()
}

/// What a member answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// 200.
    Well,
    /// 503.
    Unavailable,
}

/// Where members are, until dropped.
pub struct Members {
    carrier: Carrier,
    folder: TempDir,
    count: usize,
}

impl Members {
    /// None yet.
    pub fn new(carrier: Carrier) -> Self {
        Self { carrier, folder: tempfile::tempdir().expect("a temporary folder"), count: 0 }
    }

    /// One more, on the local runtime that this is called on; answers its address as a pool names it.
    pub async fn open(&mut self, mood: Mood) -> String {
        self.count += 1;
        match self.carrier {
            Carrier::Unix => {
                let path: PathBuf = self.folder.path().join(self.count.to_string());
                let listener = UnixListener::bind(&path).expect("the folder is ours");
                tokio::task::spawn_local(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::task::spawn_local(answer(Plain::Unix(stream), mood));
                    }
                });
                format!("unix:{}", path.display())
            }
            Carrier::Tcp => {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is there");
                let address = listener.local_addr().expect("it is bound");
                tokio::task::spawn_local(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        let _ = stream.set_nodelay(true);
                        tokio::task::spawn_local(answer(Plain::Tcp(stream), mood));
                    }
                });
                address.to_string()
            }
        }
    }
}

async fn answer(mut stream: Plain, mood: Mood) -> io::Result<()> {
    let mut room = vec![0; ROOM];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut room[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        if room[..filled].ends_with(b"\r\n\r\n") {
            filled = 0;
            stream.write_all(if mood == Mood::Well { ANSWER } else { UNAVAILABLE }).await?;
        }
    }
}

/// Both ends of a connection.
pub async fn pair(carrier: Carrier) -> io::Result<(Plain, Plain)> {
    Ok(match carrier {
        Carrier::Unix => {
            let (ours, theirs) = UnixStream::pair()?;
            (Plain::Unix(ours), Plain::Unix(theirs))
        }
        Carrier::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let (ours, theirs) = tokio::join!(TcpStream::connect(listener.local_addr()?), listener.accept());
            let (ours, (theirs, _)) = (ours?, theirs?);
            ours.set_nodelay(true)?;
            theirs.set_nodelay(true)?;
            (Plain::Tcp(ours), Plain::Tcp(theirs))
        }
    })
}

/// A client on a connection that is kept.
pub struct Client {
    stream: Plain,
    request: Vec<u8>,
    room: Vec<u8>,
}

impl Client {
    /// A client that sends this, again and again.
    pub fn new(stream: Plain, request: Vec<u8>) -> Self {
        Self { stream, request, room: vec![0; ROOM] }
    }

    /// From now on it sends this.
    pub fn says(&mut self, request: Vec<u8>) {
        self.request = request;
    }

    /// Asks once, and reads the whole answer.
    pub async fn ask(&mut self) -> &[u8] {
        self.stream.write_all(&self.request).await.expect("the connection is kept");
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.room[filled..]).await.expect("the connection is kept");
            filled += read;
            let answer = &self.room[..filled];
            assert!(read > 0, "the connection ended after {:?}", String::from_utf8_lossy(answer));
            if answer.ends_with(ANSWER_END) {
                break;
            }
        }
        &self.room[..filled]
    }
}

/// A client that speaks HTTP/2, with one request at a time.
pub struct Http2Client {
    requests: SendRequest<Bytes>,
    request: Request<()>,
}

impl Http2Client {
    /// A client that sends a browser's request again and again, on the local runtime that this is called on.
    pub async fn new(stream: Plain) -> Self {
        let (requests, connection) = h2::client::handshake(stream).await.expect("the other end speaks HTTP/2");
        tokio::task::spawn_local(connection);
        let request = Request::get(format!("http://shop.example{TARGET}"));
        let request = FIELDS.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Self { requests, request: request.body(()).expect("the fields are well-formed") }
    }

    /// Asks once, and reads the whole answer.
    pub async fn ask(&mut self) {
        poll_fn(|cx| self.requests.poll_ready(cx)).await.expect("the connection is kept");
        let (answer, _) = self.requests.send_request(self.request.clone(), true).expect("it is ready");
        let mut content = answer.await.expect("there is an answer").into_body();
        let mut read = Vec::new();
        while let Some(piece) = content.data().await {
            let piece = piece.expect("the answer is whole");
            content.flow_control().release_capacity(piece.len()).expect("so much was taken");
            read.extend_from_slice(&piece);
        }
        assert_eq!(read, ANSWER_END);
    }
}

/// A member behind `stream`, with no proxy in between: what both ends cost by themselves.
pub fn answer_at(stream: Plain) {
    tokio::task::spawn_local(answer(stream, Mood::Well));
}
