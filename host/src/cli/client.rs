//! The control API, from a command's side: one call over the Unix socket in the state folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HOST, IF_MATCH};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

use crate::control::abstract_address;
use crate::control::auth::{SOCKET_HOST, X_WHO};
use crate::control::error::{ErrorBody, NOT_NOW};
use crate::store::{ADMIN_TOKEN_FILE, SOCKET_FILE, TOKEN_FILE};

/// A host to talk to.
pub(super) struct Client {
    state: PathBuf,
    /// The release that changes are wanted of.
    if_current: Option<String>,
    /// Where the token is: a variable of the environment, or else a file in the state folder.
    token: (&'static str, &'static str),
}

/// How long to go on asking a host that is starting, or whose place is changing hands.
const NOT_NOW_PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait in between.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// It says that it cannot now.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotNow(String);

/// Nobody answers.
#[derive(Debug, thiserror::Error)]
#[error("no host answers at {0}")]
pub(super) struct Unreachable(PathBuf, #[source] std::io::Error);

impl Unreachable {
    pub(super) fn hint(&self) -> &'static str {
        "is it running? `--state FOLDER` or `--config FILE` says which host is meant"
    }
}

impl Client {
    pub(super) fn of(state: PathBuf) -> Self {
        Self { state, if_current: None, token: ("SWITCHBACK_TOKEN", TOKEN_FILE) }
    }

    /// Has changes refused unless this release is current.
    pub(super) fn if_current(self, if_current: Option<String>) -> Self {
        Self { if_current, ..self }
    }

    /// With the stronger token.
    pub(super) fn with_admin_token(self) -> Self {
        Self { token: ("SWITCHBACK_ADMIN_TOKEN", ADMIN_TOKEN_FILE), ..self }
    }

    /// Asks for something that is only read.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Bytes> {
        self.call(&Method::GET, path, &Bytes::new(), false)
    }

    /// Asks for something that is not for everybody to read.
    pub(super) fn get_secret(&self, path: &str) -> anyhow::Result<Bytes> {
        self.signed(&Method::GET, path, &Bytes::new())
    }

    /// Asks for a change.
    pub(super) fn post(&self, path: &str, body: &impl serde::Serialize) -> anyhow::Result<Bytes> {
        self.signed(&Method::POST, path, &serde_json::to_vec(body)?.into())
    }

    pub(super) fn put(&self, path: &str, body: impl Into<Bytes>) -> anyhow::Result<Bytes> {
        self.signed(&Method::PUT, path, &body.into())
    }

    pub(super) fn delete(&self, path: &str, body: impl Into<Bytes>) -> anyhow::Result<Bytes> {
        self.signed(&Method::DELETE, path, &body.into())
    }

    /// With the token.
    fn signed(&self, method: &Method, path: &str, body: &Bytes) -> anyhow::Result<Bytes> {
        self.call(method, path, body, true)
    }

    fn call(&self, method: &Method, path: &str, body: &Bytes, signs: bool) -> anyhow::Result<Bytes> {
        // One call and out: the smallest runtime, as `back` is measured from the key press.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let patience = Instant::now() + NOT_NOW_PATIENCE;
            loop {
                match self.exchange(method, path, body.clone(), signs).await {
                    Err(error) if error.is::<NotNow>() && Instant::now() < patience => sleep(ASK_AGAIN).await,
                    answered => return answered,
                }
            }
        })
    }

    async fn exchange(&self, method: &Method, path: &str, body: Bytes, signs: bool) -> anyhow::Result<Bytes> {
        let socket = self.state.join(SOCKET_FILE);
        let stream = match UnixStream::connect(&socket).await {
            Ok(stream) => stream,
            Err(error) => without_disk(&socket).ok_or(Unreachable(socket, error))?,
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder().method(method.clone()).uri(path).header(HOST, SOCKET_HOST);
        if signs {
            request = request.header(X_WHO, who()).header(AUTHORIZATION, format!("Bearer {}", self.token()?));
            if let Some(release) = &self.if_current {
                request = request.header(IF_MATCH, format!("\"{release}\""));
            }
        }
        let answer = sender.send_request(request.body(Full::new(body))?).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        connection.abort();
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(error) if error.error == NOT_NOW => bail!(NotNow(error.message)),
            Ok(ErrorBody { message, entry: Some(entry), .. }) => bail!("{message} (entry {entry})"),
            Ok(error) => bail!("{}", error.message),
            Err(_) => bail!("{status}: {}", String::from_utf8_lossy(&body)),
        }
    }

    fn token(&self) -> anyhow::Result<String> {
        let (variable, file) = self.token;
        if let Ok(token) = std::env::var(variable) {
            return Ok(token);
        }
        let path = self.state.join(file);
        let token = std::fs::read_to_string(&path);
        Ok(token
            .with_context(|| format!("cannot read the token in {}; {variable} can hold it instead", path.display()))?
            .trim()
            .to_owned())
    }
}

/// A host that could not make its socket: its disk takes nothing. Nobody else's, as it is told the token.
fn without_disk(socket: &Path) -> Option<UnixStream> {
    let stream = std::os::unix::net::UnixStream::connect_addr(&abstract_address(socket).ok()?).ok()?;
    stream.set_nonblocking(true).ok()?;
    let stream = UnixStream::from_std(stream).ok()?;
    let host = stream.peer_cred().ok()?.uid();
    (host == 0 || host == rustix::process::geteuid().as_raw()).then_some(stream)
}

/// The state folder of the host that was started with this file.
///
/// Reads nothing but that key, and does without when the file is broken: at that moment somebody may need `back`.
pub(super) fn state_folder(config: &Path) -> PathBuf {
    let text = std::fs::read_to_string(config).unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    let state = table.get("state").and_then(toml::Value::as_str).unwrap_or("state");
    config.parent().unwrap_or(Path::new("")).join(state)
}

/// An answer as what it is.
pub(super) fn read<T: DeserializeOwned>(body: &Bytes) -> anyhow::Result<T> {
    serde_json::from_slice(body).context("the host's answer is not understood; is it of the same version?")
}

/// Encodes a piece of a path or query (RFC 3986, 2.3).
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Who is at the keyboard, for the history.
fn who() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "unknown".into());
    user.chars().filter(|c| !c.is_control()).collect()
}
