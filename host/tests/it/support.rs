//! A host on loopback with members behind it, and what tests ask of both.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use switchback::app::App;
use switchback::config::Config;
use switchback::random::Random;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Long enough for a busy machine, short enough to notice that nothing happens.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Chance that can be had again.
pub(crate) struct Chance(Random);

impl Chance {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Random::seeded(seed))
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0.number() % end
    }
}

/// An address that refuses connections, now and later: whatever else binds to port 0 gets another port, and a
/// client that connects comes from another address and does not meet itself.
pub(crate) fn nobody() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(10_000);
    let [.., a, b, c] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, a | 0x40, b, c], NEXT.fetch_add(1, Ordering::Relaxed)))
}

pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

/// A body that is there at once.
pub(crate) fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

/// A body that is fed piece by piece.
pub(crate) fn fed() -> (mpsc::Sender<&'static str>, Body) {
    let (feed, mut pieces) = mpsc::channel::<&'static str>(1);
    let stream = futures_util::stream::poll_fn(move |cx| {
        pieces.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
    });
    (feed, BodyExt::boxed(StreamBody::new(stream)))
}

/// A host, and the folder it lives in.
pub(crate) struct Host {
    pub(crate) app: Option<App>,
    pub(crate) folder: TempDir,
}

/// What a test wants of a host before it starts.
pub(crate) struct Setup {
    pools: Vec<(String, Vec<SocketAddr>, String)>,
    top: String,
    vips: String,
    extra: String,
    policies: Vec<(String, Vec<u8>)>,
    workers: usize,
}

impl Host {
    /// A host to be described further. Without `vip`, one vip `web` serves everything.
    pub(crate) fn with() -> Setup {
        Setup {
            pools: Vec::new(),
            top: String::new(),
            vips: String::new(),
            extra: String::new(),
            policies: Vec::new(),
            workers: 2,
        }
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.folder.path().join("switchback.toml")
    }

    pub(crate) fn policy_path(&self, name: &str) -> PathBuf {
        self.folder.path().join("policies").join(format!("{name}.wasm"))
    }

    pub(crate) fn state_path(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn app(&self) -> &App {
        self.app.as_ref().expect("the host runs")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.app().switch.listening().first().and_then(|(_, bound)| bound.tcp()).expect("a vip listens at a port")
    }

    pub(crate) fn current(&self) -> u64 {
        self.app().switch.current.get().number
    }

    /// Asks for a path with these header fields; the answer whole.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::get(path).header("host", "web.example");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Empty::new().map_err(|never| match never {}).boxed()).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        Answer::of(send(self.address(), request).await).await
    }

    /// Asks the control API; changes carry the token.
    pub(crate) async fn control(&self, method: &str, path: &str, body: impl Into<Bytes>) -> (StatusCode, Value) {
        let token = std::fs::read_to_string(self.state_path().join("control.token")).unwrap();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("x-switchback-who", "tester")
            .header("authorization", format!("Bearer {token}"))
            .body(whole(body))
            .unwrap();
        let answer = Answer::of(send(self.app().control, request).await).await;
        (answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::String(answer.body)))
    }

    pub(crate) async fn history(&self) -> Vec<Value> {
        let (_, history) = self.control("GET", "/v1/history?limit=1000", "").await;
        history["entries"].as_array().expect("a history has entries").clone()
    }

    /// Drops a policy into the folder as `cp` would.
    pub(crate) fn drop_in(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.policy_path(name), bytes).unwrap();
    }

    /// Drops a policy in and waits until it serves.
    pub(crate) async fn activate_from_folder(&self, name: &str, bytes: &[u8]) {
        let before = self.current();
        self.drop_in(name, bytes);
        until("the policy serves", || self.current() > before).await;
    }

    /// Waits for an entry of the history that holds this text.
    pub(crate) async fn wait_for_entry(&self, kind: &str, text: &str) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let history = self.history().await;
            let found =
                history.iter().find(|entry| entry["kind"] == kind && entry["why"].as_str().unwrap().contains(text));
            if let Some(entry) = found {
                return entry.clone();
            }
            assert!(Instant::now() < end, "no `{kind}` entry with `{text}` in {history:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops the host as SIGTERM would; the folder stays.
    pub(crate) async fn stop(&mut self) {
        assert!(self.app.take().expect("the host runs").leave().await, "requests were left");
    }

    pub(crate) async fn restart(&mut self) {
        if self.app.is_some() {
            self.stop().await;
        }
        self.app = Some(start(&self.config_path()).await.expect("the host starts again"));
    }
}

async fn start(config: &Path) -> anyhow::Result<App> {
    Ok(App::start(Config::read(config)?, env!("CARGO_BIN_EXE_switchback").into()).await?)
}

impl Setup {
    pub(crate) fn pool(self, name: &str, members: &[&Member]) -> Self {
        let members: Vec<_> = members.iter().map(|member| member.address).collect();
        self.pool_at(name, &members, "")
    }

    pub(crate) fn pool_at(mut self, name: &str, members: &[SocketAddr], rest: &str) -> Self {
        self.pools.push((name.into(), members.to_vec(), rest.into()));
        self
    }

    /// A vip's keys, such as `pool = "blue"`; `listen` is added.
    pub(crate) fn vip(mut self, name: &str, keys: &str) -> Self {
        let _ = write!(self.vips, "[vips.{name}]\nlisten = \"127.0.0.1:0\"\n{keys}\n");
        self
    }

    /// The vip `web` at a listener `front`, each with these keys; the listener's address is `127.0.0.1:0` if it has
    /// none.
    pub(crate) fn front(self, listener: &str, vip: &str) -> Self {
        let address = if listener.contains("address = ") { "" } else { "address = \"127.0.0.1:0\"\n" };
        self.config(&format!("[listeners.front]\n{address}{listener}\n[vips.web]\nlisten = \"front\"\n{vip}"))
    }

    /// Another number of workers than two.
    pub(crate) fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Keys of no table.
    pub(crate) fn top(mut self, text: &str) -> Self {
        let _ = writeln!(self.top, "{text}");
        self
    }

    /// Any other part of the configuration file.
    pub(crate) fn config(mut self, text: &str) -> Self {
        let _ = writeln!(self.extra, "{text}");
        self
    }

    pub(crate) fn policy(mut self, name: &str, bytes: &[u8]) -> Self {
        self.policies.push((name.into(), bytes.to_vec()));
        self
    }

    pub(crate) fn config_text(&self) -> String {
        let mut text = format!("workers = {}\n{}", self.workers, self.top);
        text += "drain = \"10s\"\n[control]\nlisten = \"127.0.0.1:0\"\n";
        for (name, members, rest) in &self.pools {
            let members: Vec<_> = members.iter().map(|member| format!("\"{member}\"")).collect();
            let _ = write!(text, "[pools.{name}]\nmembers = [{}]\n{rest}\n", members.join(", "));
        }
        text + &self.vips + &self.extra
    }

    pub(crate) async fn start(self) -> Host {
        self.try_start().await.expect("the host starts")
    }

    pub(crate) async fn try_start(self) -> anyhow::Result<Host> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("policies"))?;
        for (name, bytes) in &self.policies {
            std::fs::write(folder.path().join("policies").join(format!("{name}.wasm")), bytes)?;
        }
        let config = folder.path().join("switchback.toml");
        std::fs::write(&config, self.config_text())?;
        Ok(Host { app: Some(start(&config).await?), folder })
    }
}

/// Sends one request on a connection of its own.
pub(crate) async fn send(address: SocketAddr, request: Request<Body>) -> Response<Incoming> {
    let stream = TcpStream::connect(address).await.expect("somebody listens");
    send_on(stream, request).await
}

/// Sends one request of HTTP/1.1.
pub(crate) async fn send_on(stream: impl Wire, request: Request<Body>) -> Response<Incoming> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    in_time("an answer", sender.send_request(request)).await.expect("there is an answer")
}

/// Sends bytes as they are, and reads until the other side closes.
pub(crate) async fn send_raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection closes");
    String::from_utf8_lossy(&answer).into_owned()
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn of(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("the body is whole").to_bytes();
        Self { status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&body).into_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A member: a server of its own that answers as it is told.
pub(crate) struct Member {
    pub(crate) address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Member {
    /// Answers every request with its name.
    pub(crate) async fn named(name: &'static str) -> Self {
        Self::answering(move |_| async move { Response::new(whole(name)) }).await
    }

    /// Answers every request with the head it got, a line a field.
    pub(crate) async fn echoing() -> Self {
        Self::answering(echo).await
    }

    pub(crate) async fn answering<F, A>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let answer = Arc::new(answer);
        Self::accepting(move |stream| serve(stream, answer.clone())).await
    }

    /// Reads one request's head on each connection and answers with these bytes, then closes.
    pub(crate) async fn raw(answer: &'static [u8]) -> Self {
        Self::accepting(move |mut stream| async move {
            if read_head(&mut stream).await.is_some() {
                let _ = stream.write_all(answer).await;
            }
        })
        .await
    }

    /// Hands each connection to `serve`.
    pub(crate) async fn accepting<F, A>(serve: F) -> Self
    where
        F: Fn(TcpStream) -> A + Send + Sync + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream));
            }
        });
        Self { address, task }
    }
}

/// Answers with the head it got, a line a field, and the content.
pub(crate) async fn echo(request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut text = format!("{} {} {:?}\n", parts.method, parts.uri, parts.version);
    for (name, value) in &parts.headers {
        let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let _ = write!(text, "\n{}", String::from_utf8_lossy(&body));
    Response::new(whole(text))
}

/// Serves one connection of HTTP/1.1 as a member would.
pub(crate) async fn serve<F, A>(stream: impl Wire, answer: Arc<F>)
where
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Response<Body>>,
{
    let service = service_fn(|request| {
        let answered = answer(request);
        async move { Ok::<_, std::convert::Infallible>(answered.await) }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Reads up to the empty line, and not a byte more; `None` if it ends before.
pub(crate) async fn read_head(stream: &mut impl Wire) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// Bytes both ways.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Wire for T {}

impl Drop for Member {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The same, where it must be asked for.
pub(crate) async fn until_async(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < end, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for something that must come.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("gave up waiting: {what}"))
}

/// The configuration of the `by-header` policy that tests use: `x-group: green` goes to green.
pub(crate) const BY_GROUP: &str = r#"
[policies.web.config]
rules = [{ header = "x-group", value = "green", pool = "green" }]
otherwise = "blue"
"#;
