//! The member: reads requests to the letter and records them, answers each with a number of its own, or says what the
//! case wants it to say.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::content::{self, Framing};
use super::script::{Moment, Script, Step};
use super::strict::{self, Checked, Fields};
use crate::support::PATIENCE;

/// What a member saw on one of its connections.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A first byte.
    Begun,
    /// A request.
    Whole(Request),
    /// Something that nobody may send.
    Invalid(String),
}

/// A request as a member read it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Its answer says this number.
    pub(super) serial: usize,
    pub(super) connection: usize,
    pub(super) method: String,
    pub(super) target: String,
    pub(super) fields: Fields,
    pub(super) body: Vec<u8>,
}

/// A member that records.
pub(super) struct Recorder {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    events: Mutex<Vec<Event>>,
    script: Mutex<Option<Script>>,
    serials: AtomicUsize,
    connections: AtomicUsize,
    /// Tells idle connections to close.
    /// Whether the client has its answer.
    later: watch::Sender<bool>,
    /// Whether the script is through.
    done: watch::Sender<bool>,
}

impl Recorder {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            events: Mutex::default(),
            script: Mutex::default(),
            serials: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            later: watch::Sender::new(false),
            done: watch::Sender::new(false),
        });
        let task = tokio::spawn({
            let shared = shared.clone();
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let shared = shared.clone();
                    tokio::spawn(async move {
                        let number = shared.connections.fetch_add(1, Ordering::Relaxed);
                        let _ = Connection { stream, number, buffer: Vec::new(), shared: &shared }.serve().await;
                    });
                }
            }
        });
        Self { address, shared, task }
    }

    /// Prepares for a case.
    pub(super) fn play(&self, script: Option<Script>) {
        self.shared.later.send_replace(false);
        self.shared.done.send_replace(false);
        *self.shared.script.lock().unwrap() = script;
        self.shared.events.lock().unwrap().clear();
    }

    /// Lets happen what is to happen once the client has its answer.
    pub(super) async fn go_on(&self) {
        let waits = self.shared.script.lock().unwrap().take().is_some_and(|script| script.waits());
        if waits {
            self.shared.later.send_replace(true);
            let mut done = self.shared.done.subscribe();
            let _ = tokio::time::timeout(Duration::from_secs(2), done.wait_for(|done| *done)).await;
        }
    }

    /// What was seen since the case began.
    pub(super) fn events(&self) -> Vec<Event> {
        self.shared.events.lock().unwrap().clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Connection<'a> {
    stream: TcpStream,
    number: usize,
    buffer: Vec<u8>,
    shared: &'a Shared,
}

/// A request that is there, or as much of it as the script asks for.
struct Read {
    request: Request,
    script: Option<Script>,
}

impl Connection<'_> {
    async fn serve(mut self) -> std::io::Result<()> {
        self.stream.set_nodelay(true)?;
        loop {
            let read = match self.next().await {
                Ok(Some(read)) => read,
                Ok(None) => return Ok(()),
                Err(fault) => {
                    self.record(Event::Invalid(fault));
                    return Ok(());
                }
            };
            let closes = match &read.script {
                Some(script) if script.moment == Moment::Head => {
                    let closes = self.play(script).await?;
                    // The rest of the content is nobody's request.
                    while !closes && self.stream.read_buf(&mut self.buffer).await? > 0 {}
                    true
                }
                Some(script) => self.play(script).await?,
                None => self.answer(&read.request).await?,
            };
            if closes {
                return Ok(());
            }
        }
    }

    fn record(&self, event: Event) {
        self.shared.events.lock().unwrap().push(event);
    }

    /// Reads and records the next request; none when the connection ends.
    async fn next(&mut self) -> Checked<Option<Read>> {
        let (mut begun, mut continued) = (false, false);
        loop {
            if !begun && !self.buffer.is_empty() {
                begun = true;
                self.record(Event::Begun);
            }
            if let Some((head, used)) = strict::request_head(&self.buffer)? {
                let framing = content::of_request(&head)?;
                let content = content::read(framing, &self.buffer[used..], false)?;
                let [method, target, _] = head.start;
                let script = self.shared.script.lock().unwrap().clone().filter(|_| target.starts_with("/case"));
                let early = script.as_ref().is_some_and(|script| script.moment == Moment::Head);
                if early || content.used.is_some() {
                    self.buffer.drain(..used + content.used.unwrap_or(self.buffer.len() - used));
                    let serial = self.shared.serials.fetch_add(1, Ordering::Relaxed);
                    let (connection, fields, body) = (self.number, head.fields, content.body);
                    let request = Request { serial, connection, method, target, fields, body };
                    self.record(Event::Whole(request.clone()));
                    // Nobody knows yet whether this request gets an answer, so nobody may send another.
                    let ahead = !self.buffer.is_empty() && script.is_none();
                    return if ahead {
                        Err(strict::fault("more than a request", &self.buffer))
                    } else {
                        Ok(Some(Read { request, script }))
                    };
                }
                let expects =
                    head.fields.joined("expect").is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
                if expects && !continued && framing != Framing::Length(0) {
                    continued = true;
                    let _ = self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
                }
            }
            if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return Ok(None);
            }
        }
    }

    /// The answer that tells which request it belongs to.
    async fn answer(&mut self, request: &Request) -> std::io::Result<bool> {
        let body = format!("answer {}", request.serial);
        let mut answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Serial: {}\r\n\r\n", body.len(), request.serial);
        if request.method != "HEAD" {
            answer += &body;
        }
        self.stream.write_all(answer.as_bytes()).await?;
        Ok(false)
    }

    async fn play(&mut self, script: &Script) -> std::io::Result<bool> {
        for step in &script.steps {
            match step {
                Step::Say(bytes) => self.stream.write_all(bytes).await?,
                Step::Drip(bytes) => {
                    for byte in bytes {
                        self.stream.write_all(&[*byte]).await?;
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
                Step::Hear(bytes) => {
                    while self.buffer.len() < bytes.len() && self.stream.read_buf(&mut self.buffer).await? > 0 {}
                    if !self.buffer.starts_with(bytes) {
                        self.record(Event::Invalid(strict::fault("other bytes than these were sent on", &self.buffer)));
                    }
                    self.buffer.clear();
                }
                Step::Later => {
                    let _ =
                        tokio::time::timeout(PATIENCE, self.shared.later.subscribe().wait_for(|later| *later)).await;
                }
                Step::Reset => socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?,
            }
        }
        self.shared.done.send_replace(true);
        Ok(script.closes)
    }
}
