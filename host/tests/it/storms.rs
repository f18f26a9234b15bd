//! Many switches in a row under load, refused installs among them: every request is served, and decided by a release that
//! was current at some moment between its start and its end.
//!
//! A hundred switches in each run; `SWITCHBACK_STORM_SWITCHES=1000 cargo test --test it storms::` for more, which also looks
//! at what they cost in memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::{Request, StatusCode};
use serde_json::{Value, json};
use switchback_plugins::faulty;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::Command;
use tokio::time::Instant;

use crate::process::Process;
use crate::support::{Answer, Member, in_time, read_head, send_on, whole};

/// What a switch may cost in memory, once everything that is kept of earlier ones is full.
const BYTES_A_SWITCH: u64 = 16 * 1024;

/// Switches after which releases, entries and receipts that are kept in memory are as many as they get.
const FULL_AFTER: usize = 300;

/// One request as its client saw it.
struct Asked {
    start: Instant,
    end: Instant,
    by: char,
}

/// From when to when a pool was, or may have been, current.
struct Reign {
    from: Instant,
    until: Option<Instant>,
    pool: char,
}

struct Host {
    folder: tempfile::TempDir,
    process: Process,
}

impl Host {
    async fn start(members: &[(char, &Member)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("policies")).unwrap();
        let mut config = String::from(
            "[control]\nlisten = \"127.0.0.1:0\"\n[auto_back]\nmode = \"off\"\n\
             [vips.web]\nlisten = \"127.0.0.1:0\"\npool = \"a\"\n",
        );
        for (name, member) in members {
            config += &format!("[pools.{name}]\nmembers = [\"{}\"]\n", member.address);
        }
        std::fs::write(folder.path().join("switchback.toml"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchback"));
        command.arg("--config").arg(folder.path().join("switchback.toml")).arg("run");
        Self { process: Process::serving(command).await, folder }
    }

    async fn ask(&self, method: &str, path: &str, body: impl Into<hyper::body::Bytes>) -> (StatusCode, Value) {
        let state = self.folder.path().join("state");
        let token = std::fs::read_to_string(state.join("control.token")).unwrap();
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let request = request.header("authorization", format!("Bearer {token}")).body(whole(body)).unwrap();
        let stream = UnixStream::connect(state.join("control.sock")).await.unwrap();
        let answer = Answer::of(send_on(stream, request).await).await;
        (answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::String(answer.body)))
    }

    /// Bytes that are resident.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid().as_raw_nonzero())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
    }
}

/// Asks on one connection that must last, until told to stop.
async fn client(address: std::net::SocketAddr, stop: Arc<AtomicBool>, asked: Arc<Mutex<Vec<Asked>>>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: web.example\r\n\r\n").await.unwrap();
        let head = in_time("an answer", read_head(&mut stream)).await.expect("the connection lasts");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let mut by = [0];
        stream.read_exact(&mut by).await.unwrap();
        asked.lock().unwrap().push(Asked { start, end: Instant::now(), by: char::from(by[0]) });
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn switches_in_a_row_lose_nothing_and_serve_nothing_old() {
    let switches = std::env::var("SWITCHBACK_STORM_SWITCHES").map_or(100, |text| text.parse().unwrap());
    let (a, b, c) = (Member::named("a").await, Member::named("b").await, Member::named("c").await);
    let host = Host::start(&[('a', &a), ('b', &b), ('c', &c)]).await;
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let address = host.process.address();
    let clients: Vec<_> = (0..8).map(|_| tokio::spawn(client(address, stop.clone(), Arc::clone(&asked)))).collect();

    let refused: [&[u8]; 6] = [
        faulty::GARBAGE,
        faulty::WRONG_WORLD,
        faulty::CONFIGURE_LOOPS,
        faulty::TRUNCATED,
        faulty::FORBIDDEN_IMPORT,
        faulty::CONFIGURE_FAILS,
    ];
    let mut reigns = vec![Reign { from: Instant::now(), until: None, pool: 'a' }];
    // What the trail is to lead to: pools of the releases behind, the current one, and those ahead.
    let (mut behind, mut ahead) = (Vec::new(), Vec::new());
    let mut full = None;
    for number in 0..switches {
        let now = reigns.last().unwrap().pool;
        let called = Instant::now();
        let (status, answer, pool) = match number % 5 {
            1 | 3 if !behind.is_empty() => {
                let (status, answer) = host.ask("POST", "/v1/back", "").await;
                ahead.push(now);
                (status, answer, behind.pop().unwrap())
            }
            2 if !ahead.is_empty() => {
                let (status, answer) = host.ask("POST", "/v1/forward", "").await;
                behind.push(now);
                (status, answer, ahead.pop().unwrap())
            }
            _ => {
                let pool = if now == 'b' { 'c' } else { 'b' };
                let body = json!({ "pool": pool.to_string() }).to_string();
                let (status, answer) = host.ask("PUT", "/v1/vips/web", body).await;
                behind.push(now);
                ahead.clear();
                (status, answer, pool)
            }
        };
        assert_eq!(status, 200, "switch {number}: {answer}");
        reigns.last_mut().unwrap().until = Some(Instant::now());
        reigns.push(Reign { from: called, until: None, pool });
        if number % 10 == 0 {
            let (status, answer) = host.ask("PUT", "/v1/policies/web", refused[number / 10 % refused.len()]).await;
            assert_eq!(status, 422, "it was not refused: {answer}");
        }
        if number + 1 == FULL_AFTER {
            full = Some(host.memory());
        }
    }
    let memory = host.memory();
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        in_time("the client's end", client).await.expect("no request failed");
    }
    let asked = asked.lock().unwrap();
    assert!(asked.len() > switches, "{} requests", asked.len());
    for Asked { start, end, by } in asked.iter() {
        let was_current =
            |reign: &Reign| reign.pool == *by && reign.from <= *end && reign.until.is_none_or(|until| *start <= until);
        assert!(reigns.iter().any(was_current), "a request was decided by `{by}`, which was not current");
    }
    if let Some(full) = full.filter(|_| switches > 2 * FULL_AFTER) {
        let each = memory.saturating_sub(full) / (switches - FULL_AFTER) as u64;
        assert!(each <= BYTES_A_SWITCH, "{each} bytes a switch: from {full} to {memory}");
    }
}
