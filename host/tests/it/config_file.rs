//! The configuration file as a door: an edit while running is a change like any other.

use serde_json::json;

use crate::support::{Host, Member, nobody, until};

async fn host() -> (Host, Member, Member) {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]);
    (setup.vip("web", "pool = \"blue\"").start().await, blue, green)
}

fn edit(host: &Host, from: &str, to: &str) {
    let text = std::fs::read_to_string(host.config_path()).unwrap();
    assert!(text.contains(from), "{text}");
    let beside = host.folder.path().join("switchback.toml.new");
    std::fs::write(&beside, text.replace(from, to)).unwrap();
    std::fs::rename(beside, host.config_path()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_becomes_a_release() {
    let (host, _blue, _green) = host().await;
    edit(&host, "pool = \"blue\"", "pool = \"green\"");
    until("a new release", || host.current() == 2).await;
    assert_eq!(host.get("/", &[]).await.body, "green");
    let entry = host.wait_for_entry("activate", "switchback.toml changed").await;
    assert_eq!(entry["door"], json!("file"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_edit_is_refused_with_its_place_and_nothing_changes() {
    let (host, _blue, _green) = host().await;
    edit(&host, "pool = \"blue\"", "pool = \"bleu\"");
    host.wait_for_entry("refuse", "vips.web.pool: pool `bleu` is not defined; there are: blue, green").await;
    assert_eq!((host.current(), &*host.get("/", &[]).await.body), (1, "blue"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_emptied_turns_nobody_away() {
    let (host, _blue, _green) = host().await;
    std::fs::write(host.config_path(), "").unwrap();
    host.wait_for_entry("refuse", "expected at least one vip, got a file that defines none").await;
    assert_eq!((host.current(), &*host.get("/", &[]).await.body), (1, "blue"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assignment_outlives_an_edit_of_something_else() {
    let (host, _blue, _green) = host().await;
    host.control("PUT", "/v1/vips/web", r#"{"pool":"green"}"#).await;
    edit(&host, "[vips.web]", "[pools.spare]\nmembers = []\n[vips.web]");
    until("a new release", || host.current() == 3).await;
    assert_eq!(host.get("/", &[]).await.body, "green");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_added_and_removed_with_its_vip() {
    let (host, _blue, _green) = host().await;
    let free = nobody();
    let vip = format!("[vips.more]\nlisten = \"{free}\"\npool = \"green\"\n[vips.web]");
    edit(&host, "[vips.web]", &vip);
    until("somebody listens", || std::net::TcpStream::connect(free).is_ok()).await;
    let answer = crate::support::send_raw(free, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.ends_with("green"), "{answer}");
    host.control("POST", "/v1/back", "").await;
    until("nobody listens", || std::net::TcpStream::connect(free).is_err()).await;
    host.control("POST", "/v1/forward", "").await;
    until("somebody listens again", || std::net::TcpStream::connect(free).is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_taken_refuses_the_release() {
    let (host, _blue, _green) = host().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let vip = format!("[vips.more]\nlisten = \"{}\"\npool = \"green\"\n[vips.web]", taken.local_addr().unwrap());
    edit(&host, "[vips.web]", &vip);
    host.wait_for_entry("refuse", "cannot listen on").await;
    assert_eq!(host.current(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_the_host_was_down_is_taken_in_at_start() {
    let (mut host, _blue, _green) = host().await;
    host.stop().await;
    edit(&host, "pool = \"blue\"", "pool = \"green\"");
    host.restart().await;
    until("a new release", || host.current() == 2).await;
    assert_eq!(host.get("/", &[]).await.body, "green");
}
