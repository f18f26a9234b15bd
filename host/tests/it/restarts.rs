//! What survives a restart, and a `kill -9` at any moment.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use switchback_plugins as plugins;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::{BY_GROUP, Host, Member};

#[tokio::test(flavor = "multi_thread")]
async fn the_current_release_and_the_history_survive_a_restart() {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]).config(BY_GROUP);
    let mut host =
        setup.vip("web", "policy = \"web\"\nfallback = \"blue\"").policy("web", plugins::BY_HEADER).start().await;
    host.control("PUT", "/v1/vips/web", r#"{"pool":"green"}"#).await;
    host.control("PUT", "/v1/vips/web", r#"{"pool":"blue"}"#).await;
    host.control("POST", "/v1/back", "").await;
    let before = host.control("GET", "/v1/history", "").await;
    host.restart().await;
    assert_eq!(host.control("GET", "/v1/history", "").await, before);
    assert_eq!((host.current(), &*host.get("/", &[]).await.body), (2, "green"));
    host.control("POST", "/v1/back", "").await;
    assert_eq!(host.get("/", &[("x-group", "green")]).await.body, "green");
    assert_eq!(host.get("/", &[]).await.body, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn compiled_code_that_was_damaged_is_made_again() {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]).config(BY_GROUP);
    let mut host = setup.vip("web", "policy = \"web\"").policy("web", plugins::BY_HEADER).start().await;
    host.stop().await;
    for file in std::fs::read_dir(host.state_path().join("compiled")).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        std::fs::write(path, bytes).unwrap();
    }
    host.restart().await;
    assert_eq!(host.get("/", &[("x-group", "green")]).await.body, "green");
}

/// A host in a process of its own.
struct Process {
    child: Child,
}

impl Process {
    async fn start(host: &Host) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_switchback"))
            .arg("--config")
            .arg(host.config_path())
            .arg("run")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("control API") {
                    return;
                }
            }
            panic!("the host did not start");
        };
        tokio::time::timeout(Duration::from_secs(30), ready).await.expect("the host starts in time");
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child }
    }
}

async fn switchback(host: &Host, args: &[&str]) -> Option<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchback"));
    let output = command.arg("--config").arg(host.config_path()).arg("--json").args(args).output().await.unwrap();
    output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
}

/// Switches as fast as it can, and kills the host after `lifetime`. What was acknowledged last must be what is resumed,
/// or what was under way when the kill came.
async fn kill_after(host: &Host, lifetime: Duration) {
    let mut process = Process::start(host).await;
    let mut acknowledged =
        switchback(host, &["status"]).await.expect("a status")["current"]["number"].as_u64().unwrap();
    let switching = async {
        for turn in 0.. {
            let args: &[&str] = match turn % 4 {
                0 => &["switch", "web", "green"],
                1 => &["back"],
                2 => &["forward"],
                _ => &["switch", "web", "blue"],
            };
            match switchback(host, args).await {
                Some(receipt) if receipt["durable"] == true => acknowledged = receipt["to"]["number"].as_u64().unwrap(),
                _ => {}
            }
        }
    };
    let _ = tokio::time::timeout(lifetime, switching).await;
    process.child.kill().await.unwrap();

    let mut process = Process::start(host).await;
    let history = switchback(host, &["history", "--limit", "1000"]).await.expect("a history");
    let current = history["current"].as_u64().unwrap();
    let entries = history["entries"].as_array().unwrap();
    let last = entries.iter().find(|entry| !entry["to"].is_null()).expect("a switch");
    assert_eq!(last["to"].as_u64(), Some(current), "the journal's last switch is what is current");
    let under_way = last["from"].as_u64() == Some(acknowledged);
    assert!(current == acknowledged || under_way, "r{acknowledged} was acknowledged, r{current} is current: {last}");
    let ids: Vec<u64> = entries.iter().rev().map(|entry| entry["id"].as_u64().unwrap()).collect();
    assert!(ids.iter().zip(1..).all(|(id, expected)| *id == expected), "the history has a hole: {ids:?}");
    process.child.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_loses_no_acknowledged_switch() {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let mut host =
        Host::with().pool("blue", &[&blue]).pool("green", &[&green]).vip("web", "pool = \"blue\"").start().await;
    host.stop().await;
    // Primes, so that the kills fall on different moments of a switch.
    for lifetime in [7, 31, 53, 71, 97, 131, 173, 211] {
        kill_after(&host, Duration::from_millis(lifetime)).await;
    }
}
