//! Members that are added, weighed, drained and taken out by the API and the command line: changes like any other.

use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::Response;
use serde_json::{Value, json};
use tokio::net::UnixListener;

use crate::command_line::switchback;
use crate::patients::{CHECK, Patient};
use crate::support::{Host, Member, serve, until, whole};

async fn one_and_two(rest: &str) -> (Host, Member, Member) {
    let (one, two) = (Member::named("one").await, Member::named("two").await);
    let host = Host::with().pool_at("blue", &[one.address], rest).vip("web", "pool = \"blue\"").start().await;
    (host, one, two)
}

fn path(member: &Member) -> String {
    format!("/v1/pools/blue/members/{}", member.address)
}

/// The members of `blue` as the current release writes them.
async fn written(host: &Host) -> Value {
    let (_, release) = host.control("GET", "/v1/releases/current", "").await;
    release["content"]["pools"]["blue"]["members"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_added_weighed_and_taken_out_and_back_undoes_each() {
    let (host, one, two) = one_and_two("").await;
    let (first, second) = (one.address.to_string(), two.address.to_string());
    let (status, receipt) = host.control("PUT", &path(&two), r#"{"weight":3,"zone":"a","why":"more"}"#).await;
    assert_eq!((status.as_u16(), &receipt["to"]["number"]), (200, &json!(2)), "{receipt}");
    host.wait_for_entry("activate", "more").await;
    assert_eq!(written(&host).await, json!([first, { "at": second, "weight": 3, "zone": "a" }]));
    let twos = host.bodies(80).await.iter().filter(|body| *body == "two").count();
    assert!((58..=62).contains(&twos), "{twos} of 80");
    // What is left out stays as it is.
    assert_eq!(host.control("PUT", &path(&two), r#"{"weight":2}"#).await.0, 200);
    assert_eq!(written(&host).await, json!([first, { "at": second, "weight": 2, "zone": "a" }]));
    let (status, receipt) = host.control("DELETE", &path(&one), r#"{"why":"fewer"}"#).await;
    assert_eq!(status, 200, "{receipt}");
    host.wait_for_entry("activate", "fewer").await;
    assert_eq!(host.bodies(4).await, ["two"; 4]);
    for expected in [
        json!([first, { "at": second, "weight": 2, "zone": "a" }]),
        json!([first, { "at": second, "weight": 3, "zone": "a" }]),
        json!([first]),
    ] {
        assert_eq!(host.control("POST", "/v1/back", "").await.0, 200);
        assert_eq!(written(&host).await, expected);
    }
    assert_eq!(host.bodies(4).await, ["one"; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_says_nothing_about_why_says_what_it_does() {
    let (host, _one, two) = one_and_two("").await;
    assert_eq!(host.control("PUT", &path(&two), "").await.0, 200);
    host.wait_for_entry("activate", &format!("member {} of pool blue", two.address)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_does_the_same() {
    let (host, one, two) = one_and_two("").await;
    let (first, second) = (one.address.to_string(), two.address.to_string());
    let steps: [(&[&str], Value); 5] = [
        (
            &["add", "blue", &second, "--weight", "3", "--zone", "a"],
            json!([first, { "at": second, "weight": 3, "zone": "a" }]),
        ),
        (&["weight", "blue", &second, "1"], json!([first, { "at": second, "weight": 1, "zone": "a" }])),
        (
            &["drain", "blue", &first],
            json!([{ "at": first, "weight": 1, "drain": true }, { "at": second, "weight": 1, "zone": "a" }]),
        ),
        (&["undrain", "blue", &first], json!([first, { "at": second, "weight": 1, "zone": "a" }])),
        (&["remove", "blue", &second, "--why", "enough"], json!([first])),
    ];
    for (args, expected) in steps {
        let told = switchback(&host, &[&["member"], args].concat()).await;
        assert!(told.status.success() && told.stdout.starts_with(b"activated: r"), "{args:?}: {told:?}");
        assert_eq!(written(&host).await, expected, "{args:?}");
    }
    host.wait_for_entry("activate", "enough").await;
    let told = switchback(&host, &["member", "remove", "blue", &second]).await;
    let error = format!("error: pool `blue` does not name a member `{second}`");
    assert!(told.status.code() == Some(1) && String::from_utf8_lossy(&told.stderr).contains(&error), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let (host, _one, two) = one_and_two("").await;
    let of = |pool: &str, member: &str| format!("/v1/pools/{pool}/members/{member}");
    let second = two.address.to_string();
    for (method, path, body, status, expected) in [
        ("PUT", of("red", &second), "", 422, "pool `red` is not defined; there are: blue".to_owned()),
        ("DELETE", of("red", &second), "", 422, "pool `red` is not defined; there are: blue".into()),
        ("DELETE", of("blue", &second), "", 422, format!("pool `blue` does not name a member `{second}`")),
        ("PUT", of("blue", "two"), "", 400, "expected an IP address and port such as".into()),
        ("PUT", of("blue", "127.0.0.1:0"), "", 422, "expected a member with a port, got `127.0.0.1:0`".into()),
        ("PUT", of("blue", &second), r#"{"weight":0}"#, 422, "expected a weight of 1 to 1000, got `0`".into()),
        ("PUT", of("blue", &second), r#"{"weight":1001}"#, 422, "expected a weight of 1 to 1000, got `1001`".into()),
        ("PUT", of("blue", &second), r#"{"weight":-1}"#, 400, "the body is not what was expected".into()),
        ("PUT", of("blue", &second), r#"{"zone":"a b"}"#, 422, "expected the name of a zone, got `a b`".into()),
        ("PUT", of("blue", &second), r#"{"wieght":1}"#, 400, "unknown field `wieght`".into()),
        ("PUT", of("blue", &second), "nonsense", 400, "the body is not what was expected".into()),
        ("PUT", format!("/v1/pools/blue/member/{second}"), "", 404, "there is no such route".into()),
    ] {
        let (got, answer) = host.control(method, &path, body).await;
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(got == status && message.contains(&expected), "{method} {path} {body}: {got} {answer}");
    }
    assert_eq!((host.current(), host.bodies(2).await), (1, vec!["one".to_owned(); 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_needs_the_token() {
    let (host, _one, two) = one_and_two("").await;
    for method in ["PUT", "DELETE"] {
        let request = hyper::Request::builder().method(method).uri(path(&two)).header("host", "localhost");
        let answer = crate::support::send(host.app().control, request.body(whole("")).unwrap()).await;
        assert_eq!(answer.status(), 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_are_no_addresses_are_named_too() {
    let (host, _one, _two) = one_and_two("").await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("app.sock");
    let listener = StdListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = UnixListener::from_std(listener).unwrap();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::new(|_| async { Response::new(whole("socket")) })));
        }
    });
    let at = format!("unix:{}", socket.display());
    let encoded = at.replace('/', "%2F").replace(':', "%3A");
    let (status, answer) = host.control("PUT", &format!("/v1/pools/blue/members/{encoded}"), "").await;
    assert_eq!(status, 200, "{answer}");
    host.wait_for_body("socket").await;
    let told = switchback(&host, &["member", "remove", "blue", &at]).await;
    assert!(told.status.success(), "{told:?}");
    for name in ["srv:_http._tcp.app.invalid", "app.invalid:80"] {
        let told = switchback(&host, &["member", "add", "blue", name]).await;
        assert!(told.status.success(), "{told:?}");
        assert_eq!(written(&host).await[1], name);
        let told = switchback(&host, &["member", "remove", "blue", name]).await;
        assert!(told.status.success(), "{told:?}");
    }
    assert_eq!(host.bodies(2).await, ["one"; 2]);
    task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_the_file_leaves_a_change_alone_until_it_says_anew_about_the_pool() {
    let (host, one, two) = one_and_two("").await;
    let second = two.address.to_string();
    assert_eq!(host.control("PUT", &path(&two), "").await.0, 200);
    host.edit("[vips.web]", "[pools.spare]\nmembers = []\n[vips.web]");
    until("the edit serves", || host.current() == 3).await;
    host.wait_for_members("blue", &[&one.address.to_string(), &second]).await;
    host.edit("[pools.blue]", "[pools.blue]\nconnect_timeout = \"1s\"");
    until("the edit serves", || host.current() == 4).await;
    host.wait_for_members("blue", &[&one.address.to_string()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_member_is_probed_first_and_a_sick_one_alone_is_refused() {
    let (one, two) = (Patient::well("one").await, Patient::well("two").await);
    let host = Host::with().pool_at("blue", &[one.address()], CHECK).vip("web", "pool = \"blue\"").start().await;
    let path = |member: &Patient| format!("/v1/pools/blue/members/{}", member.address());
    assert_eq!(host.control("PUT", &path(&two), "").await.0, 200);
    // It was probed before it came into use, so that it takes its turn from the first request on.
    assert_eq!((host.standing("blue", two.address()).await.0.as_str(), two.untimely()), ("fit", 0));
    host.wait_for_body("two").await;
    two.falls_sick();
    host.wait_for_state("blue", two.address(), "sick").await;
    for (method, body) in [("DELETE", ""), ("PUT", r#"{"drain":true}"#)] {
        let (status, answer) = host.control(method, &path(&one), body).await;
        assert_eq!((status.as_u16(), &answer["error"]), (409, &json!("sick")), "{method}: {answer}");
    }
    assert_eq!(host.bodies(4).await, ["one"; 4]);
    assert_eq!(host.control("DELETE", &path(&one), r#"{"force":true}"#).await.0, 200);
    assert_eq!(host.bodies(1).await, ["two"]);
}

/// The cookie that an answer sets.
async fn bound_to(host: &Host, body: &str) -> String {
    let mut asked = 0;
    loop {
        let answer = host.get("/", &[]).await;
        if answer.body == body {
            return answer.header("set-cookie").split(';').next().unwrap().to_owned();
        }
        asked += 1;
        assert!(asked < 1000, "{body} is not asked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_member_keeps_its_clients_for_a_while_and_gets_no_others() {
    let sticky = "sticky = { cookie = \"to\" }\ndrain_limit = \"1h\"";
    let (host, one, two) = one_and_two(sticky).await;
    assert_eq!(host.control("PUT", &path(&two), "").await.0, 200);
    let cookie = bound_to(&host, "one").await;
    assert_eq!(host.control("PUT", &path(&one), r#"{"drain":true}"#).await.0, 200);
    assert_eq!(host.standing("blue", one.address).await.0, "drained");
    assert_eq!(host.bodies(6).await, ["two"; 6]);
    assert_eq!(host.get("/", &[("cookie", &cookie)]).await.body, "one");
    assert_eq!(host.control("PUT", &path(&one), r#"{"drain":false}"#).await.0, 200);
    host.wait_for_body("one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_draining_goes_on_over_other_changes_and_begins_anew_with_a_new_drain() {
    let sticky = "sticky = { cookie = \"to\" }\ndrain_limit = \"1500ms\"";
    let (host, one, two) = one_and_two(sticky).await;
    assert_eq!(host.control("PUT", &path(&two), "").await.0, 200);
    let cookie = bound_to(&host, "one").await;
    let bound = async || host.get("/", &[("cookie", &cookie)]).await.body;
    assert_eq!(host.control("PUT", &path(&one), r#"{"drain":true}"#).await.0, 200);
    assert_eq!(bound().await, "one");
    // Changes of the pool, steps back and forward: the client is let go all the same.
    let mut changes = 0;
    while bound().await == "one" {
        changes += 1;
        assert!(changes < 1000, "draining does not end");
        let body = format!(r#"{{"weight":{}}}"#, changes % 1000 + 1);
        assert_eq!(host.control("PUT", &path(&two), body).await.0, 200);
        assert_eq!(host.control("POST", "/v1/back", "").await.0, 200);
        assert_eq!(host.control("POST", "/v1/forward", "").await.0, 200);
    }
    assert!(changes > 1);
    assert_eq!(host.control("PUT", &path(&one), r#"{"drain":false}"#).await.0, 200);
    let cookie = bound_to(&host, "one").await;
    // The same release content as once before, and a drain of its own.
    assert_eq!(host.control("PUT", &path(&one), r#"{"drain":true}"#).await.0, 200);
    assert_eq!(host.get("/", &[("cookie", &cookie)]).await.body, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_where_back_would_go_are_there_before_it() {
    let (asked, accepted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (seen, counted) = (asked.clone(), accepted.clone());
    let blue = Member::accepting(move |stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        let seen = seen.clone();
        async move {
            let answer = move |_| {
                seen.fetch_add(1, Ordering::SeqCst);
                async { Response::new(whole("blue")) }
            };
            serve(stream, Arc::new(answer)).await;
        }
    })
    .await;
    let green = Member::named("green").await;
    let setup = Host::with().pool_at("blue", &[blue.address], "keep_alive = { idle_timeout = \"1h\" }");
    let host = setup.pool("green", &[&green]).vip("web", "pool = \"blue\"").workers(1).start().await;
    assert_eq!(host.control("PUT", "/v1/vips/web", r#"{"pool":"green"}"#).await.0, 200);
    // Nobody has asked for anything yet.
    let connections = async || host.members("blue").await[0]["connections"].as_u64().unwrap();
    let end = tokio::time::Instant::now() + crate::support::PATIENCE;
    while connections().await == 0 {
        assert!(tokio::time::Instant::now() < end, "no connection is opened ahead");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    let before = accepted.load(Ordering::SeqCst);
    assert_eq!(host.control("POST", "/v1/back", "").await.0, 200);
    assert_eq!(host.bodies(3).await, ["blue"; 3]);
    assert_eq!((accepted.load(Ordering::SeqCst), asked.load(Ordering::SeqCst)), (before, 3));
}
