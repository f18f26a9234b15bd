//! Checks: who is probed and how, what comes of it, and what is told of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::{HeaderMap, Response};
use tokio::io::AsyncReadExt;

use crate::certificates::Authority;
use crate::command_line::switchback;
use crate::metrics::Page;
use crate::patients::{CHECK, Patient};
use crate::peers::Speaks;
use crate::support::{Answer, Body, Host, Member, fed, in_time, read_head, send, serve, until, whole};
use crate::tls_members;

async fn one_and_two(rest: &str) -> (Host, Patient, Patient) {
    let (one, two) = (Patient::well("one").await, Patient::well("two").await);
    let setup = Host::with().pool_at("blue", &[one.address(), two.address()], rest);
    let host = setup.vip("web", "pool = \"blue\"").start().await;
    (host, one, two)
}

/// A host with one member in the pool `blue`.
async fn in_front_of(member: &Member, rest: &str) -> Host {
    Host::with().pool_at("blue", &[member.address], rest).vip("web", "pool = \"blue\"").start().await
}

fn up(page: &Page, member: &Patient) -> f64 {
    page.value("switchback_member_up", &[("pool", "blue"), ("member", &member.address().to_string())])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sick_member_gets_no_requests_until_it_is_well() {
    let (host, one, two) = one_and_two(CHECK).await;
    host.wait_for_body("one").await;
    host.wait_for_body("two").await;

    one.falls_sick();
    let reason = host.wait_for_state("blue", one.address(), "sick").await;
    assert_eq!(reason, "3 probes in a row were bad, the last: expected status 200-299, got 503");
    let before = one.requests();
    assert_eq!(host.bodies(10).await, ["two"; 10]);
    assert_eq!(one.requests(), before);
    let page = Page::of(&host).await;
    assert_eq!((up(&page, &one), up(&page, &two)), (0.0, 1.0));
    let event = host.wait_for_event("sick", &reason).await;
    assert_eq!(event["member"], one.address().to_string());
    let told = switchback(&host, &["events"]).await;
    let line = format!(" sick member {}: {reason}", one.address());
    assert!(String::from_utf8_lossy(&told.stdout).contains(&line), "{told:?}");

    one.gets_well();
    host.wait_for_event("healthy", "2 probes in a row were answered as expected").await;
    host.wait_for_body("one").await;
    assert_eq!(up(&Page::of(&host).await, &one), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_well_that_says_so_in_the_body() {
    let (host, one, _two) = one_and_two(&CHECK.replace("path", "body = \"health: good\", path")).await;
    host.wait_for_state("blue", one.address(), "fit").await;
    let (host, one, _two) = one_and_two(&CHECK.replace("path", "body = \"health: best\", path")).await;
    let reason = host.wait_for_state("blue", one.address(), "sick").await;
    assert_eq!(reason, "body does not contain \"health: best\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_well_whose_status_is_expected() {
    let expecting = CHECK.replace("path", "statuses = \"503\", path");
    let (host, one, two) = one_and_two(&expecting).await;
    host.wait_for_state("blue", one.address(), "sick").await;
    two.falls_sick();
    host.wait_for_state("blue", two.address(), "fit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_takes_no_connection_is_sick() {
    let (one, two) = (Member::named("one").await, Member::named("two").await);
    let check = "check = { kind = \"tcp\", interval = \"50ms\", settle_interval = \"20ms\" }";
    let setup = Host::with().pool_at("blue", &[one.address, two.address], check);
    let host = setup.vip("web", "pool = \"blue\"").start().await;
    host.wait_for_state("blue", one.address, "fit").await;
    let address = one.address;
    drop(one);
    let reason = host.wait_for_state("blue", address, "sick").await;
    assert_eq!(reason, "3 probes in a row were bad, the last: refused");
    assert_eq!(host.bodies(6).await, ["two"; 6]);
}

/// The answer of `grpc.health.v1`: one message, with the status that `is_serving` says.
fn health(is_serving: bool) -> Response<Body> {
    let message = Bytes::from(vec![0, 0, 0, 0, 2, 8, if is_serving { 1 } else { 2 }]);
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    let frames = [Ok(Frame::data(message)), Ok(Frame::trailers(trailers))];
    let body = StreamBody::new(futures_util::stream::iter(frames));
    Response::builder().header("content-type", "application/grpc").body(BodyExt::boxed(body)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_service_says_itself_whether_it_serves() {
    let serves = Arc::new(AtomicBool::new(true));
    let said = serves.clone();
    let member = Member::speaking(Speaks::Http2, move |request| {
        let is_probe = request.uri().path() == "/grpc.health.v1.Health/Check";
        let answer = if is_probe { health(said.load(Ordering::SeqCst)) } else { Response::new(whole("served")) };
        async move { answer }
    })
    .await;
    let check = "protocol = \"http2\"\ncheck = { kind = \"grpc\", service = \"shop\", interval = \"50ms\", settle_interval = \"20ms\", timeout = \"5s\" }";
    let host = in_front_of(&member, check).await;
    host.wait_for_state("blue", member.address, "fit").await;
    assert_eq!(host.bodies(1).await, ["served"]);
    serves.store(false, Ordering::SeqCst);
    let reason = host.wait_for_state("blue", member.address, "sick").await;
    assert_eq!(reason, "3 probes in a row were bad, the last: expected grpc status SERVING, got NOT_SERVING");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_probed_as_securely_as_it_is_asked() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let ca = authority.ca_path(folder.path());
    authority.issue(folder.path(), "member", &["member.example"]);
    let member = tls_members::member(folder.path(), &authority).await;
    for protocol in ["http1", "http2"] {
        let keys = format!(
            "protocol = \"{protocol}\"\n{CHECK}\ntls = {{ ca = \"{}\", server_name = \"member.example\" }}",
            ca.display()
        );
        let host = in_front_of(&member, &keys).await;
        host.wait_for_state("blue", member.address, "fit").await;
    }
    let keys = format!("{CHECK}\ntls = {{ ca = \"{}\", server_name = \"other.example\" }}", ca.display());
    let host = in_front_of(&member, &keys).await;
    let reason = host.wait_for_state("blue", member.address, "sick").await;
    assert!(reason.contains("certificate"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_may_be_asked_at_another_port() {
    let (member, beside) = (Member::named("one").await, Patient::well("beside").await);
    let check = CHECK.replace("path", &format!("port = {}, path", beside.address().port()));
    let host = in_front_of(&member, &check).await;
    host.wait_for_state("blue", member.address, "fit").await;
    assert_eq!((host.bodies(2).await, beside.requests()), (vec!["one".into(); 2], 0));
    beside.falls_sick();
    host.wait_for_state("blue", member.address, "sick").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_begins_like_other_connections_of_its_pool() {
    let headers = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = headers.clone();
    let member = Member::accepting(move |mut stream| {
        let seen = seen.clone();
        async move {
            let mut header = Vec::new();
            while !header.ends_with(b"\r\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                header.push(byte);
            }
            seen.lock().unwrap().push(String::from_utf8(header).unwrap());
            serve(stream, Arc::new(|_| async { Response::new(whole("one")) })).await;
        }
    })
    .await;
    let host = in_front_of(&member, &format!("{CHECK}\nproxy_protocol = \"v1\"")).await;
    host.wait_for_state("blue", member.address, "fit").await;
    assert_eq!(host.bodies(1).await, ["one"]);
    let headers = headers.lock().unwrap();
    // A probe speaks for nobody.
    assert_eq!(headers[0], "PROXY UNKNOWN\r\n");
    assert!(headers.iter().any(|header| header.starts_with("PROXY TCP4 127.0.0.1")), "{headers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_as_many_results_as_the_check_says() {
    let (host, one, two) = one_and_two(&CHECK.replace("path", "rise = 5, fall = 7, path")).await;
    host.wait_for_state("blue", one.address(), "fit").await;
    one.falls_sick();
    host.wait_for_event("sick", "7 probes in a row were bad").await;
    one.gets_well();
    host.wait_for_event("healthy", "5 probes in a row were answered as expected").await;
    drop((host, two));

    let (host, one, _two) = one_and_two(&CHECK.replace("path", "fall = 100, path")).await;
    host.wait_for_state("blue", one.address(), "fit").await;
    one.falls_sick();
    let before = one.probes();
    until("ten bad probes", || one.probes() > before + 10).await;
    assert_eq!(host.standing("blue", one.address()).await.0, "fit");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_member_has_begun_it_ends_when_checks_find_it_sick() {
    let (feed, body) = fed();
    let (body, is_sick) = (std::sync::Mutex::new(Some(body)), Arc::new(AtomicBool::new(false)));
    let sick = is_sick.clone();
    let member = Member::answering(move |request| {
        let mut answer = Response::new(whole(""));
        if request.uri().path() == "/healthz" {
            *answer.status_mut() = if sick.load(Ordering::SeqCst) { 500 } else { 200 }.try_into().unwrap();
        } else {
            *answer.body_mut() = body.lock().unwrap().take().expect("it is asked once");
        }
        async move { answer }
    })
    .await;
    let host = in_front_of(&member, CHECK).await;
    host.wait_for_state("blue", member.address, "fit").await;
    feed.send("begun, ").await.unwrap();
    let answer = send(host.address(), hyper::Request::get("/").header("host", "a").body(whole("")).unwrap()).await;
    is_sick.store(true, Ordering::SeqCst);
    host.wait_for_state("blue", member.address, "sick").await;
    feed.send("ended").await.unwrap();
    drop(feed);
    assert_eq!(in_time("the rest", Answer::of(answer)).await.body, "begun, ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_leaves_while_probes_are_under_way() {
    let probed = Arc::new(AtomicUsize::new(0));
    let seen = probed.clone();
    let silent = Member::accepting(move |mut stream| {
        let seen = seen.clone();
        async move {
            read_head(&mut stream).await;
            seen.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
    })
    .await;
    let mut host = in_front_of(&silent, &CHECK.replace("5s", "1h")).await;
    until("a probe is under way", || probed.load(Ordering::SeqCst) > 0).await;
    in_time("it leaves", host.stop()).await;
    in_time("it starts again", host.restart()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_too_few_are_fit_all_are_used_and_an_event_says_so() {
    let (host, one, two) = one_and_two(CHECK).await;
    host.wait_for_state("blue", one.address(), "fit").await;
    one.falls_sick();
    two.falls_sick();
    let event = host.wait_for_event("panic", "0 of 2 members are fit").await;
    assert_eq!(event["pool"], "blue");
    host.wait_for_body("one").await;
    host.wait_for_body("two").await;
    one.gets_well();
    host.wait_for_event("calm", "1 of 2 members are fit").await;
    host.wait_for_state("blue", one.address(), "fit").await;
    assert_eq!(host.bodies(4).await, ["one"; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_were_replaced_raise_no_alarm() {
    let (old, new) = (Patient::well("old").await, Patient::well("new").await);
    let setup = Host::with().pool_at("blue", &[old.address()], CHECK).vip("web", "pool = \"blue\"");
    let host = setup.start().await;
    host.wait_for_state("blue", old.address(), "fit").await;
    host.edit(&old.address().to_string(), &new.address().to_string());
    host.wait_for_members("blue", &[&new.address().to_string()]).await;
    // As deployments go: the old ones are stopped, and `back` would know of it.
    old.falls_sick();
    host.wait_for_event("sick", "3 probes in a row were bad").await;
    let (old_probes, new_probes) = (old.probes(), new.probes());
    until("it was looked at since", || old.probes() > old_probes + 5 && new.probes() > new_probes + 5).await;
    let events = host.events().await;
    assert!(events.iter().all(|event| event["kind"] != "panic"), "{events:#?}");
    // And the pool that serves has an alarm of its own.
    new.falls_sick();
    host.wait_for_event("panic", "0 of 1 members are fit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_check_leaves_members_as_they_were_until_it_knows_better() {
    let (host, one, two) = one_and_two(CHECK).await;
    host.wait_for_state("blue", two.address(), "fit").await;
    one.falls_sick();
    let reason = host.wait_for_state("blue", one.address(), "sick").await;
    let healthy = |events: &[serde_json::Value]| events.iter().filter(|event| event["kind"] == "healthy").count();
    let before = healthy(&host.events().await);
    // Probed once in an hour: what is known is from before.
    host.edit("interval = \"50ms\"", "interval = \"1h\"");
    until("the edit serves", || host.current() == 2).await;
    let standing = host.standing("blue", one.address()).await;
    assert_eq!(standing.0, "sick");
    assert!(!standing.1.is_empty() && reason.ends_with("expected status 200-299, got 503"), "{standing:?}");
    assert_eq!(host.standing("blue", two.address()).await.0, "fit");
    assert_eq!(host.bodies(4).await, ["two"; 4]);
    // Who was healthy did not become so.
    assert_eq!(healthy(&host.events().await), before);
}
