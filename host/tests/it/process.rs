//! Hosts in processes of their own, on one folder, and clients that count what goes wrong.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::support::{PATIENCE, Wire, in_time, read_head, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_switchback");

/// A folder with a configuration, on which hosts are started.
pub(crate) struct Site {
    folder: TempDir,
}

impl Site {
    /// Everything at `listen` is served by the pool `blue`, of this member; `green` has it, too.
    pub(crate) fn new(listen: &str, member: SocketAddr, keys: &str) -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(site.path("policies")).unwrap();
        let listen = listen.replace("unix:", &format!("unix:{}/", site.folder.path().display()));
        site.write(&format!(
            "{keys}\n[control]\nlisten = \"127.0.0.1:0\"\n[vips.web]\nlisten = [{listen}]\npool = \"blue\"\n\
             [pools.blue]\nmembers = [\"{member}\"]\n[pools.green]\nmembers = [\"{member}\"]\n"
        ));
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn config(&self) -> String {
        std::fs::read_to_string(self.path("switchback.toml")).unwrap()
    }

    pub(crate) fn write(&self, config: &str) {
        std::fs::write(self.path("switchback.toml"), config).unwrap();
    }

    /// `switchback run`, to be started.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(self.path("switchback.toml")).arg("run");
        command
    }

    /// A host that serves.
    pub(crate) async fn start(&self, args: &[&str]) -> Process {
        let mut command = self.command();
        command.args(args);
        Process::serving(command).await
    }

    /// A command for the host that runs; its answer, or what it said.
    pub(crate) async fn ask(&self, args: &[&str]) -> Result<Value, String> {
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(self.path("switchback.toml")).arg("--json").args(args);
        let output = in_time("an answer", command.output()).await.unwrap();
        if output.status.success() {
            Ok(serde_json::from_slice(&output.stdout).unwrap())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// What the history says, newest first.
    pub(crate) async fn whys(&self) -> Vec<String> {
        let history = self.ask(&["history"]).await.unwrap();
        history["entries"].as_array().unwrap().iter().map(|entry| entry["why"].as_str().unwrap().to_owned()).collect()
    }

    /// The status and text of `/ready`; `None` where nobody answers.
    pub(crate) async fn ready(&self) -> Option<String> {
        let mut stream = UnixStream::connect(self.path("state/control.sock")).await.ok()?;
        let request = "GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(format!("{} {}", answer.get(9..12)?, answer.lines().last()?))
    }
}

/// A host in a process of its own.
pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Process {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let written = log.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                *written.lock().unwrap() += &(line + "\n");
            }
        });
        Self { child, log }
    }

    pub(crate) async fn serving(command: Command) -> Self {
        let process = Self::spawn(command);
        process.logged("control API").await;
        process
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) async fn logged(&self, text: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < end, "gave up waiting: `{text}` in the log:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The port it listens at.
    pub(crate) fn address(&self) -> SocketAddr {
        let log = self.log();
        let address = log.split("listening address=").skip(1).find_map(|rest| rest.split('\n').next()?.parse().ok());
        address.expect("it listens at a port")
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().expect("it runs").cast_signed()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Its exit code, once it has ended.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        in_time("its end", self.child.wait()).await.unwrap().code()
    }
}

/// Clients that ask all the time: each on one connection as long as it lasts, or on a new one each time.
pub(crate) struct Load {
    running: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    clients: Vec<JoinHandle<()>>,
}

/// How long a client thinks: the machine is to have time for restarts.
const THINKS: Duration = Duration::from_millis(2);

impl Load {
    pub(crate) fn start(address: SocketAddr, unix: Option<PathBuf>) -> Self {
        let mut load = Self {
            running: Arc::new(true.into()),
            answered: Arc::default(),
            failures: Arc::default(),
            clients: Vec::new(),
        };
        for keeps in [true, true, true, true, false, false, false, false] {
            load.client(keeps, move || TcpStream::connect(address));
        }
        if let Some(path) = unix {
            load.client(true, {
                let path = path.clone();
                move || UnixStream::connect(path.clone())
            });
            load.client(false, move || UnixStream::connect(path.clone()));
        }
        load
    }

    fn client<S: Wire, C: Future<Output = std::io::Result<S>> + Send>(
        &mut self,
        keeps: bool,
        connect: impl Fn() -> C + Send + Sync + 'static,
    ) {
        let (running, answered, failures) = (self.running.clone(), self.answered.clone(), self.failures.clone());
        self.clients.push(tokio::spawn(async move {
            let mut kept = None;
            while running.load(Ordering::Relaxed) {
                let asked = async {
                    let stream = match kept.take() {
                        Some(stream) => stream,
                        None => connect().await?,
                    };
                    ask(stream, keeps).await
                };
                match asked.await {
                    Ok(stream) => {
                        kept = stream;
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => failures.lock().unwrap().push(format!("keeps: {keeps}, {error}")),
                }
                tokio::time::sleep(THINKS).await;
            }
        }));
    }

    /// Waits until so many more were answered.
    pub(crate) async fn goes_on(&self, more: usize) {
        let end = self.answered.load(Ordering::Relaxed) + more;
        until("answers", || self.answered.load(Ordering::Relaxed) >= end).await;
    }

    /// Stops; none must have failed.
    pub(crate) async fn stop(self) {
        self.running.store(false, Ordering::Relaxed);
        for client in self.clients {
            in_time("the client's end", client).await.unwrap();
        }
        let failures = self.failures.lock().unwrap();
        assert!(
            failures.is_empty(),
            "{} of {} failed: {failures:#?}",
            failures.len(),
            self.answered.load(Ordering::Relaxed)
        );
    }
}

/// Asks once; answers the connection if another request may follow.
pub(crate) async fn ask<S: Wire>(mut stream: S, keeps: bool) -> std::io::Result<Option<S>> {
    let field = if keeps { "" } else { "connection: close\r\n" };
    stream.write_all(format!("GET / HTTP/1.1\r\nhost: web.example\r\n{field}\r\n").as_bytes()).await?;
    let head = read_head(&mut stream).await.ok_or_else(|| std::io::Error::other("no answer"))?;
    let mut content = [0; 4];
    stream.read_exact(&mut content).await?;
    if !head.starts_with("HTTP/1.1 200") || content != *b"blue" {
        return Err(std::io::Error::other(head));
    }
    Ok((!head.contains("connection: close")).then_some(stream))
}
