//! Where lines go: nobody waits for a sink that takes none, and none is lost when a file is renamed.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Signal, getpid, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::unix::pipe;
use tokio::process::Command;

use super::{LOG, lines, text, wait_for};
use crate::metrics::Page;
use crate::peers::dial;
use crate::support::{Host, Member, in_time, until};

/// Asked and answered by the host itself, and so fast.
const QUICK: &[u8] = b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n";

/// Sends so many requests on one connection, and reads all answers.
async fn ask(stream: &mut TcpStream, number: usize) {
    let (mut read, mut write) = stream.split();
    let sending = async {
        for _ in 0..number {
            write.write_all(QUICK).await.unwrap();
        }
    };
    let reading = async {
        let (mut seen, mut ends, mut bytes) = (0, 0, vec![0; 64 * 1024]);
        while seen < number {
            let more = read.read(&mut bytes).await.unwrap();
            assert!(more > 0, "{seen} of {number} answers");
            for byte in &bytes[..more] {
                ends = if b"\r\n\r\n"[ends] == *byte { ends + 1 } else { usize::from(*byte == b'\r') };
                (seen, ends) = if ends == 4 { (seen + 1, 0) } else { (seen, ends) };
            }
        }
    };
    in_time("all answers", async { tokio::join!(sending, reading) }).await;
}

async fn lines_that(host: &Host, became: &str) -> u64 {
    let page = Page::of(host).await;
    page.value("switchback_access_log_lines_total", &[("became", became)]) as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_nobody_reads_delays_nobody_and_what_is_dropped_is_counted() {
    /// What the queue holds.
    const WAITING: usize = 8192;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().await.unwrap().success());
    let member = Member::named("blue").await;
    let log = format!("[access_log]\nfile = \"{}\"\nformat = \"{{method}} {{ended}}\"\n", path.display());
    let host = Host::with().workers(1).pool("blue", &[&member]).vip("web", "pool = \"blue\"").config(&log);
    let host = host.start().await;

    ask(&mut dial(host.address()).await, WAITING + 300).await;
    until_async("drops are counted", async || lines_that(&host, "dropped").await >= 300).await;
    assert_eq!(host.get("/", &[]).await.body, "blue");
    until_async("one more is", async || lines_that(&host, "dropped").await >= 301).await;
    // Other tests' signals have a place in the queue as well.
    let dropped = lines_that(&host, "dropped").await;
    let kept = WAITING as u64 + 301 - dropped;
    assert!((301..=310).contains(&dropped), "{dropped}");

    // Whoever reads late gets what was kept, and what comes then.
    let mut pipe = BufReader::new(pipe::OpenOptions::new().open_receiver(&path).unwrap()).lines();
    for _ in 0..kept {
        assert_eq!(in_time("a line", pipe.next_line()).await.unwrap().unwrap(), "OPTIONS answered_here");
    }
    host.get("/", &[]).await;
    assert_eq!(in_time("a line", pipe.next_line()).await.unwrap().unwrap(), "GET whole");
    assert_eq!(lines_that(&host, "dropped").await, dropped);
}

/// Waits until something that is asked for holds.
async fn until_async(what: &str, holds: impl AsyncFn() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    in_time(what, waiting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_output_that_is_full_delays_nobody() {
    const REQUESTS: usize = 2000;
    let member = Member::named("blue").await;
    let setup = Host::with().workers(1).pool("blue", &[&member]).vip("web", "pool = \"blue\"");
    let mut host = setup.config("[access_log]\nstdout = true\n").start().await;
    host.stop().await;
    let mut child = Command::new(env!("CARGO_BIN_EXE_switchback"))
        .arg("--config")
        .arg(host.config_path())
        .arg("run")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    let listening = async {
        loop {
            let line = errors.next_line().await.unwrap().expect("the host starts");
            if let Some((_, address)) = line.split_once("listening address=") {
                return address.parse::<std::net::SocketAddr>().unwrap();
            }
        }
    };
    let address = in_time("an address", listening).await;
    tokio::spawn(async move { while let Ok(Some(_)) = errors.next_line().await {} });

    // Several times what a pipe holds.
    ask(&mut dial(address).await, REQUESTS).await;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..REQUESTS {
        let line = in_time("a line", lines.next_line()).await.unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["method"], "OPTIONS");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_lines_and_no_answers() {
    let member = Member::named("blue").await;
    let setup = Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"");
    let host = setup.config("[access_log]\nfile = \"/dev/full\"\n").start().await;
    for number in 1..=3 {
        assert_eq!(host.get("/", &[]).await.body, "blue");
        until_async("it is counted", async || lines_that(&host, "failed").await == number).await;
    }
    assert_eq!((lines_that(&host, "written").await, lines_that(&host, "dropped").await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_is_lost_when_the_file_is_renamed_and_opened_anew() {
    let member = Member::named("blue").await;
    let host = Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"").config(LOG).start().await;
    let (address, ends) = (host.address(), Arc::new(AtomicBool::new(false)));
    let traffic = tokio::spawn({
        let ends = ends.clone();
        async move {
            let mut asked = 0;
            while !ends.load(Ordering::Relaxed) {
                let request = format!("GET /{asked} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
                crate::support::send_raw(address, request.as_bytes()).await;
                asked += 1;
            }
            asked
        }
    });
    let (file, mut rotated) = (host.folder.path().join("access.log"), Vec::new());
    for turn in 0..5 {
        until("there are lines", || lines(&text(&host)).len() > 20).await;
        let old = host.folder.path().join(format!("access.log.{turn}"));
        std::fs::rename(&file, &old).unwrap();
        kill_process(getpid(), Signal::USR1).unwrap();
        until("the file is there again", || file.exists()).await;
        rotated.push(old);
    }
    ends.store(true, Ordering::Relaxed);
    let asked = in_time("the traffic", traffic).await.unwrap();
    let mut seen = BTreeSet::new();
    let read = || {
        let texts = rotated.iter().chain([&file]).map(|path| std::fs::read_to_string(path).unwrap());
        texts.flat_map(|text| lines(&text)).collect::<Vec<_>>()
    };
    until("all lines are written", || read().len() >= asked).await;
    for line in read() {
        assert!(seen.insert(line["target"].as_str().unwrap()[1..].parse::<usize>().unwrap()), "twice: {line}");
    }
    assert!(seen.into_iter().eq(0..asked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_opened_anew_is_written_on() {
    let member = Member::named("blue").await;
    let log = LOG.replace("access.log", "logs/access.log");
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    let log = log.replace("logs/", &format!("{}/", logs.display()));
    let host = Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"").config(&log).start().await;
    let moved = folder.path().join("moved");
    std::fs::rename(&logs, &moved).unwrap();
    kill_process(getpid(), Signal::USR1).unwrap();
    host.get("/", &[]).await;
    until("it is written", || std::fs::read_to_string(moved.join("access.log")).unwrap().ends_with('\n')).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_written_before_the_host_has_left() {
    let member = Member::named("blue").await;
    let mut host = Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"").config(LOG).start().await;
    ask(&mut dial(host.address()).await, 500).await;
    host.stop().await;
    assert_eq!(lines(&text(&host)).len(), 500);
    host.restart().await;
    host.get("/", &[]).await;
    assert_eq!(wait_for(&host, 501).await[500]["method"], "GET");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_kept_is_said_at_the_start() {
    let started = Host::with().config("[access_log]\nfile = \"no/such/folder\"\n").try_start().await;
    let Err(error) = started else { panic!("it started") };
    assert_eq!(format!("{error:#}"), "cannot open the access log: No such file or directory (os error 2)");
}
