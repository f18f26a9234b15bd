//! The access log: a line for each exchange, whatever ended it, and nobody who waits for it.

mod ends;
mod sinks;

use http_body_util::BodyExt;
use serde_json::Value;
use switchback_plugins as plugins;
use tokio::time::Instant;

use crate::peers::Speaks;
use crate::support::{BY_GROUP, Host, Member, PATIENCE, whole};

/// Lines of JSON in the host's folder.
pub(crate) const LOG: &str = "[access_log]\nfile = \"access.log\"\n";

/// What the log says so far.
fn text(host: &Host) -> String {
    std::fs::read_to_string(host.folder.path().join("access.log")).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    // The last one may not be whole yet.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Waits for so many lines.
pub(crate) async fn wait_for(host: &Host, number: usize) -> Vec<Value> {
    let end = Instant::now() + PATIENCE;
    loop {
        let lines = lines(&text(host));
        if lines.len() >= number {
            return lines;
        }
        assert!(Instant::now() < end, "{number} lines expected, there are {lines:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_says_what_became_of_a_request() {
    for (client, version) in [(Speaks::Http1, "HTTP/1.1"), (Speaks::Http2, "HTTP/2.0")] {
        let blue = Member::named("blue").await;
        // It reads to the end: an answer before that would leave open what was received.
        let green = Member::answering(|request| async move {
            let _ = request.into_body().collect().await;
            hyper::Response::new(whole("green"))
        })
        .await;
        let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]).config(BY_GROUP).config(LOG);
        let host = setup.vip("web", "policy = \"web\"").policy("web", plugins::BY_HEADER).start().await;
        let request = hyper::Request::post("http://shop.example/a?b=c").header("x-group", "green");
        let request = request.header("user-agent", "test/1").header("referer", "https://a.example/");
        let answer = client.ask(host.address(), request.body(whole("content")).unwrap()).await;
        assert_eq!(crate::support::Answer::of(answer).await.body, "green");

        let line = &wait_for(&host, 1).await[0];
        for (name, expected) in [
            ("method", "POST"),
            ("target", "/a?b=c"),
            ("host", "shop.example"),
            ("version", version),
            ("scheme", "http"),
            ("user_agent", "test/1"),
            ("referer", "https://a.example/"),
            ("client", "127.0.0.1"),
            ("vip", "web"),
            ("policy", "web"),
            ("pool", "green"),
            ("member", &green.address.to_string()),
            ("ended", "whole"),
            ("fault", "nobody"),
        ] {
            assert_eq!(line[name], expected, "{line:#}");
        }
        let numbers = ["release", "status", "received_bytes", "sent_bytes"].map(|name| line[name].as_u64().unwrap());
        assert_eq!(numbers, [1, 200, 7, 5], "{line:#}");
        let id = line["request_id"].as_str().unwrap();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        let seconds = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name} in {line:#}"));
        let parts = seconds("decision_time") + seconds("connect_time") + seconds("first_byte_time");
        assert!(parts > 0.0 && parts < seconds("duration") && seconds("duration") < PATIENCE.as_secs_f64(), "{line:#}");
        assert!(line["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        assert_eq!((line["tries"].as_array().unwrap().len(), &line["tries"][0]["came"]), (1, &"answered".into()));
        assert!(line["error"].is_null() && line["trace_id"].is_null(), "{line:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_is_that_of_the_request() {
    let member = Member::echoing().await;
    let host = Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"").config(LOG).start().await;
    let body = host.get("/", &[]).await.body;
    let id = body.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
    assert_eq!(wait_for(&host, 1).await[0]["request_id"], id);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_is_whom_a_trusted_proxy_names() {
    let member = Member::named("blue").await;
    for (listener, expected) in [("trusted = [\"127.0.0.1\"]", "203.0.113.9"), ("", "127.0.0.1")] {
        let host = Host::with().pool("blue", &[&member]).front(listener, "pool = \"blue\"").config(LOG).start().await;
        host.get("/", &[("x-forwarded-for", "203.0.113.9"), ("x-request-id", "given")]).await;
        let line = &wait_for(&host, 1).await[0];
        assert_eq!((&line["client"], line["request_id"] == "given"), (&expected.into(), !listener.is_empty()));
        assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line:#}");
        assert_eq!(line["listener"], "front");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_look_as_the_configuration_says() {
    let member = Member::named("blue").await;
    let check = async |format: &str, expected: &str| {
        let log = format!("{LOG}format = '{format}'\n");
        let host = Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"").config(&log).start().await;
        host.get("/a?b", &[("user-agent", "\"curl\\"), ("referer", "x\" 1 1\t\"y")]).await;
        let end = Instant::now() + PATIENCE;
        while !text(&host).ends_with('\n') {
            assert!(Instant::now() < end, "there is no line");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let text = text(&host);
        // Of what cannot be known, there is a star.
        let mut rest = text.strip_suffix('\n').unwrap();
        for piece in expected.split('*') {
            rest = &rest[rest.find(piece).unwrap_or_else(|| panic!("no `{piece}` in {text}")) + piece.len()..];
        }
        assert_eq!((rest, text.lines().count()), ("", 1), "{text}");
    };
    let common = r#"127.0.0.1 - - [* +0000] "GET /a?b HTTP/1.1" 200 4"#;
    check("common", common).await;
    check("combined", &format!(r#"{common} "x\x22 1 1\x09\x22y" "\x22curl\x5C""#)).await;
    let own = "{client} {method} {path} {status} {duration} {fault}";
    check(own, "127.0.0.1 GET /a 200 0.* nobody").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_sends_cannot_make_a_line() {
    let member = Member::named("blue").await;
    let host = Host::with().pool("blue", &[&member]).vip("web", "pool = \"blue\"").config(LOG).start().await;
    let evil: &[u8] =
        b"GET /\"},{\"a\":\"%0a HTTP/1.1\r\nhost: a\r\nuser-agent: \\\"\x80\xff\xc2\x9b31m{}\xe2\x80\xa8\r\n\
        referer: a\tb\r\nconnection: close\r\n\r\n";
    let answer = crate::support::send_raw(host.address(), evil).await;
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    crate::support::send_raw(host.address(), b"\x1b[2J\x00{\"evil\":1}\r\n\r\n").await;
    let lines = wait_for(&host, 2).await;
    let text = text(&host);
    assert!(!text.chars().any(|c| c != '\n' && c.is_control() || c == '\u{2028}'), "{text:?}");
    assert_eq!((lines.len(), text.lines().count()), (2, 2));
    assert_eq!((&lines[1]["ended"], &lines[1]["status"]), (&"malformed".into(), &400.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_tried_again_has_each_try_on_its_line_and_a_copy_has_none() {
    let failing = Member::answering(|_| async {
        hyper::Response::builder().status(503).header("x-from", "failing").body(whole("not now")).unwrap()
    })
    .await;
    let (good, copied) = (Member::named("blue").await, Member::named("copied").await);
    let retries = "[pools.blue.retries]\nstatuses = [503]";
    let setup = Host::with().workers(1).pool_at("blue", &[failing.address, good.address], retries);
    let setup = setup.pool("copies", &[&copied]).config(LOG);
    let host = setup.vip("web", "pool = \"blue\"\nmirror = { pool = \"copies\", percent = 100 }").start().await;
    for _ in 0..4 {
        assert_eq!(host.get("/", &[]).await.body, "blue");
    }
    let copies = host.app().switch.ground.counts.pool("copies");
    crate::support::until("copies were answered", || copies.tries().came[0] == 4).await;
    let lines = wait_for(&host, 4).await;
    assert_eq!(lines.len(), 4);
    let came = |line: &Value| -> Vec<u64> {
        line["tries"].as_array().unwrap().iter().map(|tried| tried["status"].as_u64().unwrap()).collect()
    };
    let twice = lines.iter().find(|line| came(line).len() > 1).expect("one met the failing member first");
    assert_eq!((came(twice), &twice["status"], &twice["ended"]), (vec![503, 200], &200.into(), &"whole".into()));
    assert_eq!((&twice["member"], &twice["pool"]), (&good.address.to_string().into(), &"blue".into()));
}
