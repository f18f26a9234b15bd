//! What survives a restart.

use std::process::Stdio;
use std::time::Duration;

use switchback_plugins as plugins;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::{BY_GROUP, Host, Member, nobody};

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

#[tokio::test(flavor = "multi_thread")]
async fn the_ladder_is_whole_after_a_restart() {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]).vip("web", "policy = \"web\"");
    let mut host = setup.policy("web", plugins::CANARY).start().await;
    host.activate_from_folder("web", plugins::faulty::TRAP).await;
    host.restart().await;
    for _ in 0..100 {
        assert_eq!(host.get("/", &[]).await.status, 200);
    }
    let (_, status) = host.control("GET", "/v1/status", "").await;
    assert!(status["vips"][0]["by_previous"].as_u64().unwrap() > 0, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ladder_is_whole_two_steps_back_after_a_restart() {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]).vip("web", "policy = \"web\"");
    let mut host = setup.policy("web", plugins::CANARY).start().await;
    host.activate_from_folder("web", plugins::faulty::TRAP).await;
    host.control("PUT", "/v1/policies/one", plugins::CANARY.to_vec()).await;
    host.control("PUT", "/v1/policies/two", plugins::CANARY.to_vec()).await;
    host.restart().await;
    host.control("POST", "/v1/back", "").await;
    host.control("POST", "/v1/back", "").await;
    assert_eq!(host.current(), 2);
    for _ in 0..60 {
        assert_eq!(host.get("/", &[]).await.status, 200);
    }
    let (_, status) = host.control("GET", "/v1/status", "").await;
    assert!(status["vips"][0]["by_previous"].as_u64().unwrap() > 0, "{status}");
}

/// Damages what the state folder holds of policies.
fn lose_builds(host: &Host) {
    for folder in ["blobs", "compiled"] {
        for file in std::fs::read_dir(host.state_path().join(folder)).unwrap() {
            std::fs::write(file.unwrap().path(), "lost").unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_policy_that_nobody_asks_does_not_stop_a_resume() {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let mut host =
        Host::with().pool("blue", &[&blue]).pool("green", &[&green]).vip("web", "pool = \"blue\"").start().await;
    host.control("PUT", "/v1/policies/unused", plugins::CANARY.to_vec()).await;
    host.stop().await;
    lose_builds(&host);
    host.restart().await;
    assert_eq!((host.current(), &*host.get("/", &[]).await.body), (2, "blue"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_cannot_be_made_again_is_passed_over_for_the_one_before() {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]);
    let mut host = setup.vip("web", "policy = \"web\"\nfallback = \"blue\"").start().await;
    host.activate_from_folder("web", plugins::CANARY).await;
    host.stop().await;
    lose_builds(&host);
    host.restart().await;
    assert_eq!((host.current(), host.get("/", &[]).await.status.as_u16()), (1, 200));
    host.wait_for_entry("refuse", "r2 cannot be resumed").await;
    let back = host.wait_for_entry("back", "r2 cannot be resumed").await;
    assert_eq!((&back["from"], &back["to"]), (&2.into(), &1.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_folder_that_others_can_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let blue = Member::named("blue").await;
    let mut host = Host::with().pool("blue", &[&blue]).vip("web", "pool = \"blue\"").start().await;
    host.stop().await;
    std::fs::set_permissions(host.state_path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let process =
        Command::new(env!("CARGO_BIN_EXE_switchback")).arg("--config").arg(host.config_path()).arg("run").output();
    let output = process.await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && error.contains("is not ours alone to write"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_ends_does_not_outlast_the_drain_limit() {
    let stalled = Member::answering(|_| std::future::pending::<hyper::Response<crate::support::Body>>()).await;
    let port = nobody();
    let mut host = Host::with().pool("blue", &[&stalled]).vip("web", "pool = \"blue\"").start().await;
    host.stop().await;
    let text = std::fs::read_to_string(host.config_path()).unwrap();
    let text = text
        .replace("drain = \"10s\"", "drain = \"300ms\"")
        .replace("[vips.web]\nlisten = \"127.0.0.1:0\"", &format!("[vips.web]\nlisten = \"{port}\""));
    std::fs::write(host.config_path(), text).unwrap();
    let mut process = Process::start(&host).await;
    crate::support::until("the vip listens", || std::net::TcpStream::connect(port).is_ok()).await;
    let mut client = tokio::net::TcpStream::connect(port).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut client, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let pid = rustix::process::Pid::from_raw(process.child.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = tokio::time::timeout(Duration::from_secs(10), process.child.wait()).await.expect("it ends");
    assert_eq!(status.unwrap().code(), Some(0));
}
