//! How a vip's clients come from one release to the next: sessions that end where they began, requests that wait, tunnels
//! that have a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::peers::Speaks;
use crate::support::{Answer, Host, Member, PATIENCE, fed, in_time, send, until, whole};
use crate::upgrades::{switching, tunnel};

/// Blue serves `web` and `docs`, green is there; `web` is left as `session` says.
async fn with_session(session: &str) -> (Host, [Member; 2]) {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]);
    let setup = setup.front("", &format!("pool = \"blue\"\nsession = {{ {session} }}\n"));
    let docs = "[vips.docs]\nlisten = \"front\"\nhosts = [\"docs.example\"]\npool = \"blue\"\n";
    (setup.config(docs).start().await, [blue, green])
}

async fn assign(host: &Host, vip: &str, pool: &str) {
    let (status, receipt) = host.control("PUT", &format!("/v1/vips/{vip}"), format!(r#"{{"pool":"{pool}"}}"#)).await;
    assert_eq!(status, 200, "{receipt}");
}

/// The pool that answers a client with this cookie, and the cookie that it has afterwards.
async fn visit(host: &Host, cookie: &str) -> (String, String) {
    let answer = host.get("/", &[("cookie", cookie)]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let set = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    (answer.body, if set.is_empty() { cookie.to_owned() } else { set })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_the_release_that_it_began_with() {
    let (mut host, _members) = with_session("mode = \"drain-sticky\"").await;
    let (pool, old) = visit(&host, "a=b").await;
    assert!(pool == "blue" && old.starts_with("release-"), "{old}");
    assert_eq!(visit(&host, &old).await.1, old);
    assign(&host, "web", "green").await;
    assert_eq!(visit(&host, &old).await, ("blue".into(), old.clone()));
    let (pool, new) = visit(&host, "a=b").await;
    assert_eq!((&*pool, &*visit(&host, &new).await.0), ("green", "green"));
    // Not what somebody else wrote, and not what was written for something else.
    let forged = format!("{}{}", &old[..old.len() - 1], if old.ends_with('A') { 'B' } else { 'A' });
    assert_eq!(visit(&host, &forged).await.0, "green");
    // Where it stands is journalled, and made ready again soon after a start.
    host.restart().await;
    let end = Instant::now() + PATIENCE;
    while visit(&host, &old).await.0 != "blue" {
        assert!(Instant::now() < end, "the session is not taken up");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(visit(&host, &new).await.0, "green");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_the_new_releases_when_its_time_is_over() {
    let (host, _members) = with_session("mode = \"drain-sticky\", limit = \"1s\"").await;
    let (_, old) = visit(&host, "").await;
    let switched = Instant::now();
    assign(&host, "web", "green").await;
    let new = loop {
        let (pool, cookie) = visit(&host, &old).await;
        if pool == "green" {
            break cookie;
        }
        assert!(switched.elapsed() < PATIENCE, "it goes on for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(switched.elapsed() >= Duration::from_secs(1), "{:?}", switched.elapsed());
    assert!(new != old && visit(&host, &new).await == ("green".into(), new));
    until("nothing is kept", || host.app().switch.current.serving().beside.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_back_keeps_no_session_with_what_was_gone_back_from() {
    let (host, _members) = with_session("mode = \"drain-sticky\"").await;
    let (_, old) = visit(&host, "").await;
    assign(&host, "web", "green").await;
    let (_, new) = visit(&host, "").await;
    host.control("POST", "/v1/back", "").await;
    let (pool, again) = visit(&host, &new).await;
    assert_eq!((&*pool, &*visit(&host, &again).await.0, &*visit(&host, &old).await.0), ("blue", "blue", "blue"));
    // And forward is a switch as any other: who began before it stays.
    host.control("POST", "/v1/forward", "").await;
    assert_eq!([visit(&host, &old).await.0, visit(&host, &new).await.0], ["blue", "green"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_vip_that_goes_back_keeps_no_session_with_what_it_goes_back_from() {
    let (host, _members) = with_session("mode = \"drain-sticky\"").await;
    assign(&host, "web", "green").await;
    let (_, second) = visit(&host, "").await;
    assign(&host, "docs", "green").await;
    assert_eq!(host.control("POST", "/v1/back", r#"{"vip": "web"}"#).await.0, 200);
    let (pool, cookie) = visit(&host, &second).await;
    assert!(pool == "blue" && cookie != second, "{pool}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_does_not_touch_a_vip_moves_its_sessions_along() {
    let (host, _members) = with_session("mode = \"drain-sticky\", limit = \"2s\"").await;
    let (_, first) = visit(&host, "").await;
    assign(&host, "docs", "green").await;
    let (pool, second) = visit(&host, &first).await;
    // The time of the second begins when that is left.
    assert!(pool == "blue" && second != first, "{second}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assign(&host, "web", "green").await;
    assert_eq!([visit(&host, &first).await.0, visit(&host, &second).await.0], ["green", "blue"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_with_what_is_no_longer_ready_is_the_new_releases() {
    let (host, _members) = with_session("mode = \"drain-sticky\"").await;
    let (_, old) = visit(&host, "").await;
    for turn in 0..9 {
        assign(&host, "docs", if turn % 2 == 0 { "green" } else { "blue" }).await;
    }
    assign(&host, "web", "green").await;
    until("the first release is let go", || !host.app().switch.ready().contains(&1)).await;
    let end = Instant::now() + PATIENCE;
    while visit(&host, &old).await.0 != "green" {
        assert!(Instant::now() < end, "it goes on for ever");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_takes_new_sessions_only() {
    let (host, _members) = with_session("mode = \"drain-sticky\"").await;
    let (_, old) = visit(&host, "").await;
    let body = r#"{"pool": "green", "share": "99.9999%", "key": "cookie:uid"}"#;
    host.control("PUT", "/v1/vips/web", body).await;
    let (pool, new) = visit(&host, "uid=ann").await;
    assert_eq!((&*pool, &*visit(&host, &format!("uid=ann; {new}")).await.0), ("green", "green"));
    assert_eq!(visit(&host, &format!("uid=ann; {old}")).await.0, "blue");
    host.control("POST", "/v1/releases/2/activate", "").await;
    assert_eq!([visit(&host, &old).await.0, visit(&host, &new).await.0], ["blue", "green"]);
}

/// A member whose first answer is fed piece by piece; then it answers with its name.
async fn slow(name: &'static str) -> (tokio::sync::mpsc::Sender<&'static str>, Member) {
    let (feed, body) = fed();
    let body = std::sync::Mutex::new(Some(body));
    let member = Member::answering(move |_| {
        let body = body.lock().unwrap().take().unwrap_or_else(|| whole(name));
        async move { Response::new(body) }
    });
    (feed, member.await)
}

/// Blue is in the middle of an answer when `web` is given to green, which counts what it gets.
struct Midway {
    host: Host,
    feed: tokio::sync::mpsc::Sender<&'static str>,
    begun: tokio::task::JoinHandle<Answer>,
    asked: Arc<AtomicUsize>,
    /// Just before.
    switched: Instant,
    members: [Member; 2],
}

async fn midway(session: &str, vip: &str) -> Midway {
    let (feed, blue) = slow("blue").await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counts = asked.clone();
    let green = Member::answering(move |_| {
        counts.fetch_add(1, Ordering::Relaxed);
        async { Response::new(whole("green")) }
    })
    .await;
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]);
    let setup = setup.front("", &format!("pool = \"blue\"\nsession = {{ {session} }}\n"));
    let docs = "[vips.docs]\nlisten = \"front\"\nhosts = [\"docs.example\"]\npool = \"blue\"\n";
    let host = setup.config(docs).start().await;
    feed.send("begun").await.unwrap();
    let answer = send(host.address(), get()).await;
    let begun = tokio::spawn(Answer::of(answer));
    let switched = Instant::now();
    assign(&host, vip, "green").await;
    Midway { host, feed, begun, asked, switched, members: [blue, green] }
}

fn get() -> Request<crate::support::Body> {
    Request::get("/").header("host", "web.example").body(whole("")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn new_requests_are_held_until_the_old_ones_have_ended() {
    let Midway { host, feed, begun, asked, members: _members, .. } =
        midway("mode = \"hold\", hold_max = \"20s\"", "web").await;
    let (address, switched) = (host.address(), Instant::now());
    let held: Vec<_> =
        (0..8).map(|_| tokio::spawn(async move { Answer::of(send(address, get()).await).await })).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(asked.load(Ordering::Relaxed) == 0 && held.iter().all(|held| !held.is_finished()));
    feed.send(", ended").await.unwrap();
    drop(feed);
    assert_eq!(begun.await.unwrap().body, "begun, ended");
    for held in held {
        assert_eq!(in_time("what was held", held).await.unwrap().body, "green");
    }
    assert!(switched.elapsed() < Duration::from_secs(15));
    assert_eq!(host.get("/", &[]).await.body, "green");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_held_goes_on_when_the_switch_is_taken_back() {
    let Midway { host, feed, begun, members: _members, .. } =
        midway("mode = \"hold\", hold_max = \"20s\"", "web").await;
    let (address, switched) = (host.address(), Instant::now());
    let held: Vec<_> =
        (0..4).map(|_| tokio::spawn(async move { Answer::of(send(address, get()).await).await })).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(held.iter().all(|held| !held.is_finished()));
    assert_eq!(host.control("POST", "/v1/back", "").await.0, 200);
    for held in held {
        assert_eq!(in_time("what was held", held).await.unwrap().body, "blue");
    }
    assert!(switched.elapsed() < Duration::from_secs(15) && !begun.is_finished());
    drop(feed);
    assert_eq!(begun.await.unwrap().body, "begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_held_for_longer_than_was_said() {
    let Midway { host, feed, begun, switched, members: _members, .. } =
        midway("mode = \"hold\", hold_max = \"500ms\"", "web").await;
    assert_eq!(host.get("/", &[]).await.body, "green");
    assert!((500..10_000).contains(&switched.elapsed().as_millis()), "{:?}", switched.elapsed());
    drop(feed);
    assert_eq!(begun.await.unwrap().body, "begun");
    until("nothing is kept", || host.app().switch.current.serving().beside.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_while_it_is_held_leaves_nothing() {
    let Midway { host, feed, begun, asked, members: _members, .. } =
        midway("mode = \"hold\", hold_max = \"20s\"", "web").await;
    let mut gone = tokio::net::TcpStream::connect(host.address()).await.unwrap();
    gone.write_all(b"GET / HTTP/1.1\r\nhost: web.example\r\n\r\n").await.unwrap();
    let connections = || host.app().switch.ground.counts.connections();
    until("it is there", || connections() == 2).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(gone);
    until("it has gone", || connections() == 1).await;
    drop(feed);
    begun.await.unwrap();
    assert_eq!(host.get("/", &[]).await.body, "green");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    until("nothing is in flight", || host.app().switch.ground.counts.requests_in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_or_is_forgotten_while_a_vip_that_holds_is_switched() {
    let (host, _members) = with_session("mode = \"hold\", hold_max = \"20s\"").await;
    let (address, stop) = (host.address(), Arc::new(AtomicBool::default()));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let stop = stop.clone();
            tokio::spawn(async move {
                let io = hyper_util::rt::TokioIo::new(tokio::net::TcpStream::connect(address).await.unwrap());
                let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
                tokio::spawn(connection);
                let mut longest = Duration::ZERO;
                while !stop.load(Ordering::Relaxed) {
                    sender.ready().await.expect("the connection is kept through every switch");
                    let asked = Instant::now();
                    let answer = Answer::of(sender.send_request(get()).await.expect("an answer")).await;
                    assert!(answer.status == 200 && ["blue", "green"].contains(&&*answer.body), "{answer:?}");
                    longest = longest.max(asked.elapsed());
                }
                longest
            })
        })
        .collect();
    for turn in 0..60 {
        match turn % 4 {
            0 => assign(&host, "web", "green").await,
            2 => assert_eq!(host.control("POST", "/v1/forward", "").await.0, 200),
            _ => assert_eq!(host.control("POST", "/v1/back", "").await.0, 200),
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        // Who is forgotten waits until the bound.
        let longest = client.await.expect("no request failed");
        assert!(longest < Duration::from_secs(10), "{longest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_vip_that_is_changed_is_held() {
    let Midway { host, begun, feed: _feed, members: _members, .. } =
        midway("mode = \"hold\", hold_max = \"20s\"", "docs").await;
    let asked = Instant::now();
    assert_eq!(host.get("/", &[]).await.body, "blue");
    assert!(asked.elapsed() < Duration::from_secs(10) && !begun.is_finished());
}

/// A member of tunnels that say back what they hear.
async fn tunnels() -> Member {
    switching(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn tunnels_of_a_release_that_was_left_have_a_while() {
    for client in [Speaks::Http1, Speaks::Http2] {
        let (blue, green) = (tunnels().await, Member::named("green").await);
        let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]);
        let vip = "pool = \"blue\"\nsession = { upgraded_limit = \"1500ms\" }\n";
        let docs = "[vips.docs]\nlisten = \"front\"\nhosts = [\"docs.example\"]\npool = \"blue\"\n";
        let host = setup.front("", vip).config(docs).start().await;
        let mut stream = tunnel(client, &host, b"").await;
        let mut speaks = async || {
            stream.write_all(b"x").await.is_ok() && matches!(in_time("an echo", stream.read_u8()).await, Ok(b'x'))
        };
        assert!(speaks().await, "{client:?}");
        // What is not changed, and what is taken back in time, goes on.
        assign(&host, "docs", "green").await;
        assign(&host, "web", "green").await;
        host.control("POST", "/v1/back", "").await;
        tokio::time::sleep(Duration::from_millis(1800)).await;
        assert!(speaks().await, "{client:?}");
        let switched = Instant::now();
        host.control("POST", "/v1/forward", "").await;
        while speaks().await {
            assert!(switched.elapsed() < PATIENCE, "{client:?}: it goes on for ever");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(switched.elapsed() >= Duration::from_millis(1500), "{client:?}: {:?}", switched.elapsed());
        let (_, page) = host.control("GET", "/metrics", "").await;
        let counted = "switchback_limit_exceeded_total{limit=\"upgraded_limit\"} 1";
        assert!(page.as_str().unwrap().contains(counted), "{client:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_holds_nobody() {
    let (blue, green) = (tunnels().await, Member::named("green").await);
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]);
    let host = setup.vip("web", "pool = \"blue\"\nsession = { mode = \"hold\", hold_max = \"20s\" }").start().await;
    let mut stream = tunnel(Speaks::Http1, &host, b"").await;
    assign(&host, "web", "green").await;
    let asked = Instant::now();
    assert_eq!(host.get("/", &[]).await.body, "green");
    assert!(asked.elapsed() < Duration::from_secs(10));
    stream.write_all(b"x").await.unwrap();
    assert_eq!(in_time("an echo", stream.read_u8()).await.unwrap(), b'x');
}
