//! The control API: who may change what, and what it says when it does not.

use std::os::unix::fs::PermissionsExt;

use hyper::Request;
use serde_json::json;

use crate::support::{Answer, Host, Member, send, whole};

async fn host() -> (Host, Member) {
    let blue = Member::named("blue").await;
    (Host::with().pool("blue", &[&blue]).vip("web", "pool = \"blue\"").start().await, blue)
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_is_free_and_changing_needs_the_token() {
    let (host, _blue) = host().await;
    let ask = async |method: &str, path: &str, token: Option<&str>| {
        let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:9876");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        Answer::of(send(host.app().control, request.body(whole("")).unwrap()).await).await.status.as_u16()
    };
    for path in ["/v1/status", "/v1/history", "/v1/vips", "/v1/pools", "/v1/releases/1", "/v1/releases/current"] {
        assert_eq!(ask("GET", path, None).await, 200, "{path}");
    }
    for (method, path) in [
        ("POST", "/v1/back"),
        ("POST", "/v1/forward"),
        ("POST", "/v1/releases/1/activate"),
        ("PUT", "/v1/vips/web"),
        ("PUT", "/v1/policies/web"),
    ] {
        assert_eq!(ask(method, path, None).await, 401, "{path}");
        assert_eq!(ask(method, path, Some("guess")).await, 403, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_cannot_read() {
    let (host, _blue) = host().await;
    for (name, status) in
        [("localhost:1", 200), ("[::1]:1", 200), ("evil.example", 421), ("127.0.0.1.evil.example:1", 421)]
    {
        let request = Request::get("/v1/status").header("host", name).body(whole("")).unwrap();
        assert_eq!(Answer::of(send(host.app().control, request).await).await.status, status, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_and_the_socket_are_their_owners_alone() {
    let (host, _blue) = host().await;
    for file in ["control.token", "control.sock", "lock"] {
        let mode = std::fs::metadata(host.state_path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} has mode {mode:o}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_cannot_be_understood_say_what_was_expected() {
    let (host, _blue) = host().await;
    let check = async |method: &str, path: &str, body: &str, status: u16, message: &str| {
        let (got, answer) = host.control(method, path, body.to_owned()).await;
        assert_eq!(got.as_u16(), status, "{answer}");
        assert!(answer["message"].as_str().unwrap().contains(message), "{answer}");
    };
    check("PUT", "/v1/vips/web", "{}", 400, "expected either `pool` or `policy`").await;
    check("PUT", "/v1/vips/web", "{\"pol\":1}", 400, "unknown field `pol`").await;
    check("PUT", "/v1/vips/web", "{\"pool\":\"red\"}", 422, "pool `red` is not defined; there are: blue").await;
    check("PUT", "/v1/vips/blog", "{\"pool\":\"blue\"}", 422, "vip `blog` is not defined; there are: web").await;
    check("PUT", "/v1/policies/..%2Fx", "", 422, "policy name `../x`").await;
    check("GET", "/v1/releases/7", "", 404, "release r7 is not kept").await;
    check("GET", "/v1/releases/seven", "", 400, "expected a release's number").await;
    check("GET", "/v2", "", 404, "no such route").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_how_the_host_stands() {
    let (host, blue) = host().await;
    host.get("/", &[]).await;
    let (_, status) = host.control("GET", "/v1/status", "").await;
    assert_eq!(status["current"]["number"], 1);
    assert_eq!((&status["back"], &status["forward"]), (&json!(null), &json!(null)));
    let vip = &status["vips"][0];
    assert_eq!((&vip["name"], &vip["decider"], &vip["requests"]), (&json!("web"), &json!({"pool": "blue"}), &json!(1)));
    let pool = &status["pools"][0];
    assert_eq!((&pool["requests"], &pool["members"][0]["address"]), (&json!(1), &json!(blue.address.to_string())));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_reasons_are_made_safe_to_show() {
    let (host, _blue) = host().await;
    let (_, answer) = host.control("PUT", "/v1/policies/x", "\x1b[2J").await;
    assert!(answer["message"].as_str().unwrap().chars().all(|c| !c.is_control()));
    host.control("PUT", "/v1/vips/web", r#"{"pool":"none","why":"a\u001b[31m\nb"}"#).await;
    let history = host.history().await;
    assert!(history.iter().all(|entry| entry["why"].as_str().unwrap().chars().all(|c| !c.is_control())), "{history:?}");
}
