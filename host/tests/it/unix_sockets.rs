//! Unix sockets as listeners and as members.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::Request;
use tempfile::TempDir;
use tokio::net::UnixStream;

use crate::peers::{Speaks, serve_http2};
use crate::support::{Answer, Host, Member, echo, serve, until, whole};

fn socket() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    (folder, path)
}

async fn host(member: &Member, path: &Path) -> anyhow::Result<Host> {
    let keys = format!("address = \"unix:{}\"", path.display());
    Host::with().pool("blue", &[member]).front(&keys, "pool = \"blue\"").try_start().await
}

async fn ask(client: Speaks, path: &Path) -> Answer {
    let request = Request::get("http://web.example/a").header("x-forwarded-for", "198.51.100.7");
    let stream = UnixStream::connect(path).await.expect("somebody listens");
    Answer::of(client.ask_on(stream, request.body(whole("")).unwrap()).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_serves_whoever_may_open_it_and_goes_with_the_host() {
    let ((_folder, path), member) = (socket(), Member::echoing().await);
    let mut host = host(&member, &path).await.unwrap();
    for client in [Speaks::Http1, Speaks::Http2] {
        let answer = ask(client, &path).await;
        // Its file let the client in: so it is one whose word is good.
        assert!(answer.status == 200 && answer.body.contains("\nx-forwarded-for: 198.51.100.7\n"), "{answer:?}");
    }
    host.stop().await;
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_was_left_behind_is_taken_over() {
    let ((_folder, path), member) = (socket(), Member::named("blue").await);
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let mut host = host(&member, &path).await.unwrap();
    assert_eq!(ask(Speaks::Http1, &path).await.body, "blue");
    host.restart().await;
    assert_eq!(ask(Speaks::Http1, &path).await.body, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_answers_at_is_left_to_them() {
    let ((_folder, path), member) = (socket(), Member::named("blue").await);
    let _theirs = UnixListener::bind(&path).unwrap();
    assert!(host(&member, &path).await.is_err());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "a file").unwrap();
    assert!(host(&member, &path).await.is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_without_the_socket_removes_it_and_back_brings_it_again() {
    let ((_folder, path), member) = (socket(), Member::named("blue").await);
    let keys = format!("listen = [\"127.0.0.1:0\", \"unix:{}\"]\npool = \"blue\"", path.display());
    let host = Host::with().pool("blue", &[&member]).config(&format!("[vips.web]\n{keys}")).start().await;
    assert_eq!(ask(Speaks::Http1, &path).await.body, "blue");
    let text = std::fs::read_to_string(host.config_path()).unwrap();
    std::fs::write(host.config_path(), text.replace(&format!(", \"unix:{}\"", path.display()), "")).unwrap();
    until("the socket is gone", || !path.exists()).await;
    host.control("POST", "/v1/back", "").await;
    assert_eq!(ask(Speaks::Http1, &path).await.body, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_may_be_a_socket() {
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let (_folder, path) = socket();
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                match speaks {
                    Speaks::Http1 => tokio::spawn(serve(stream, Arc::new(echo))),
                    Speaks::Http2 => tokio::spawn(serve_http2(stream, Arc::new(echo))),
                };
            }
        });
        let pool = format!("[pools.blue]\nmembers = [\"unix:{}\"]\n{}", path.display(), speaks.keys());
        let host = Host::with().vip("web", "pool = \"blue\"").config(&pool).start().await;
        for _ in 0..3 {
            let answer = host.get("/a", &[]).await;
            assert!(answer.status == 200 && answer.body.contains("\nx-forwarded-host: web.example\n"), "{answer:?}");
        }
        serving.abort();
        let _ = serving.await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_nobody_answers_at_is_a_502() {
    let (_folder, path) = socket();
    let pool = format!("[pools.blue]\nmembers = [\"unix:{}\"]", path.display());
    let host = Host::with().vip("web", "pool = \"blue\"").config(&pool).start().await;
    assert_eq!(host.get("/", &[]).await.status, 502);
}
