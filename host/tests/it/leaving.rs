//! Leaving well: what is in flight ends, what is idle is told, and who asks is told in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{join_all, poll_fn};
use hyper::Request;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::peers::{dial, streams};
use crate::process::{Process, Site, ask};
use crate::support::{Member, in_time, read_head, until};

/// A member that answers once it may: with what was uploaded. It passes bytes back to those who upgrade.
pub(crate) async fn patient(may: &watch::Receiver<bool>) -> Member {
    let may = may.clone();
    Member::accepting(move |mut stream| {
        let mut may = may.clone();
        async move {
            let Some(head) = read_head(&mut stream).await else { return };
            if head.contains("upgrade: echo") {
                let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
                stream.write_all(switch.as_bytes()).await.unwrap();
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                return;
            }
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
            let mut content = vec![0; length.unwrap_or(0)];
            stream.read_exact(&mut content).await.unwrap();
            may.wait_for(|may| *may).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", content.len());
            let _ = stream.write_all(&[head.as_bytes(), &content].concat()).await;
        }
    })
    .await
}

pub(crate) async fn begin(host: &Process, head: &str, content: &str) -> TcpStream {
    let mut stream = dial(host.address()).await;
    let request = format!("{head}\r\nhost: web.example\r\n\r\n{content}");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// The rest of an answer, to the end of the connection.
pub(crate) async fn last_answer(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    in_time("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

async fn in_flight(site: &Site, number: u64) {
    loop {
        let status = site.ask(&["status"]).await.unwrap();
        if status["in_flight"] == number {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_when_the_signal_comes_ends_as_it_would_have() {
    let (allow, may) = watch::channel(false);
    let member = patient(&may).await;
    let site = Site::new("\"127.0.0.1:0\"", member.address, "drain = \"20s\"");
    let mut host = site.start(&[]).await;

    let mut slow = join_all((0..14).map(|_| begin(&host, "GET /slow HTTP/1.1", ""))).await;
    let upload = "POST /upload HTTP/1.1\r\ncontent-length: 10";
    let mut uploads = join_all((0..12).map(|_| begin(&host, upload, "begun"))).await;
    let upgrade = "GET /chat HTTP/1.1\r\nconnection: upgrade\r\nupgrade: echo";
    let mut tunnels = join_all((0..12).map(|_| begin(&host, upgrade, ""))).await;
    for tunnel in &mut tunnels {
        assert!(in_time("the switch", read_head(tunnel)).await.unwrap().starts_with("HTTP/1.1 101"));
    }
    let mut clients = Vec::new();
    let mut answers = Vec::new();
    for _ in 0..3 {
        let mut client = in_time("readiness", streams(dial(host.address()).await).await.ready()).await.unwrap();
        for _ in 0..4 {
            let request = Request::get("http://web.example/slow").body(()).unwrap();
            answers.push(client.send_request(request, true).unwrap().0);
        }
        clients.push(client);
    }
    in_time("all to be in flight", in_flight(&site, 50)).await;

    host.signal(Signal::TERM);
    host.logged("leaving: no new connections").await;
    // Told to go elsewhere: nothing new on these connections.
    for client in &mut clients {
        let told = async {
            while poll_fn(|cx| client.poll_ready(cx)).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        in_time("GOAWAY", told).await;
    }
    until("newcomers are refused", || {
        let refused = std::net::TcpStream::connect_timeout(&host.address(), Duration::from_secs(2));
        refused.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    })
    .await;
    for stream in &mut uploads {
        stream.write_all(b"ended").await.unwrap();
    }
    for tunnel in &mut tunnels {
        tunnel.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        in_time("an echo", tunnel.read_exact(&mut heard)).await.unwrap();
        assert_eq!(&heard, b"hello");
        tunnel.shutdown().await.unwrap();
    }
    allow.send(true).unwrap();
    for stream in &mut slow {
        assert_eq!(last_answer(stream).await, "");
    }
    for stream in &mut uploads {
        assert_eq!(last_answer(stream).await, "begunended");
    }
    for answer in answers {
        assert_eq!(in_time("an answer", answer).await.unwrap().status(), 200);
    }
    assert_eq!(host.ended().await, Some(0));
    assert!(!host.log().contains("did not end"), "{}", host.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_let_in_while_the_listener_closes_is_answered() {
    let member = Member::named("blue").await;
    let site = Site::new("\"127.0.0.1:0\"", member.address, "drain = \"10s\"");
    let mut host = site.start(&[]).await;
    let address = host.address();
    let answered = Arc::new(AtomicUsize::new(0));
    let comes_until_refused = |answered: Arc<AtomicUsize>| async move {
        while let Ok(stream) = TcpStream::connect(address).await {
            ask(stream, true).await.unwrap_or_else(|error| panic!("let in, and then: {error}"));
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    let clients: Vec<_> = (0..8).map(|_| tokio::spawn(comes_until_refused(answered.clone()))).collect();
    until("answers", || answered.load(Ordering::Relaxed) > 100).await;
    host.signal(Signal::TERM);
    for client in clients {
        in_time("a refusal", client).await.unwrap();
    }
    assert_eq!(host.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_has_one_more_request() {
    let member = Member::named("blue").await;
    let site = Site::new("\"127.0.0.1:0\"", member.address, "drain = \"10s\"");
    let mut host = site.start(&[]).await;
    let asked = ask(dial(host.address()).await, true).await.unwrap().expect("it is kept");
    let mut silent = ask(dial(host.address()).await, true).await.unwrap().expect("it is kept");
    host.signal(Signal::TERM);
    host.logged("leaving: no new connections").await;
    // The log says so before the workers are told: until then, an answer is not the last.
    let mut kept = Some(asked);
    while let Some(asked) = kept {
        kept = in_time("an answer", ask(asked, true)).await.unwrap();
    }
    // Whoever asks nothing is not waited for.
    assert_eq!(in_time("the end", silent.read(&mut [0])).await.unwrap(), 0);
    assert_eq!(host.ended().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_goes_on_until_the_drain_limit() {
    let member = patient(&watch::channel(true).1).await;
    let site = Site::new("\"127.0.0.1:0\"", member.address, "drain = \"1500ms\"");
    let mut host = site.start(&[]).await;
    let mut tunnel = begin(&host, "GET /chat HTTP/1.1\r\nconnection: upgrade\r\nupgrade: echo", "").await;
    in_time("the switch", read_head(&mut tunnel)).await.unwrap();
    let begun = tokio::time::Instant::now();
    host.signal(Signal::TERM);
    host.logged("leaving: no new connections").await;
    tunnel.write_all(b"hello").await.unwrap();
    in_time("an echo", tunnel.read_exact(&mut [0; 5])).await.unwrap();
    assert_eq!(in_time("the end", tunnel.read(&mut [0])).await.unwrap(), 0);
    assert!(begun.elapsed() >= Duration::from_millis(1500));
    assert_eq!(host.ended().await, Some(0));
    host.logged("some requests did not end within the drain limit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_fails_first_and_everything_is_served_during_the_grace() {
    let member = Member::named("blue").await;
    let site = Site::new("\"127.0.0.1:0\"", member.address, "grace = \"1s\"\ndrain = \"2s\"");
    let mut host = site.start(&[]).await;
    assert_eq!(site.ready().await.as_deref(), Some("200 ready"));
    let begun = tokio::time::Instant::now();
    host.signal(Signal::TERM);
    host.logged("leaving: no new connections").await;
    let mut kept = dial(host.address()).await;
    while begun.elapsed() < Duration::from_millis(700) {
        assert_eq!(site.ready().await.as_deref(), Some("503 leaving"));
        kept = ask(kept, true).await.unwrap().expect("it is kept");
        ask(dial(host.address()).await, false).await.unwrap();
    }
    assert_eq!(host.ended().await, Some(0));
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(site.ready().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() {
    let (_allow, may) = watch::channel(false);
    let member = patient(&may).await;
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::TERM), (Signal::TERM, Signal::INT)] {
        let site = Site::new("\"127.0.0.1:0\"", member.address, "drain = \"1h\"");
        let mut host = site.start(&[]).await;
        let _stream = begin(&host, "GET /slow HTTP/1.1", "").await;
        in_time("a request in flight", in_flight(&site, 1)).await;
        host.signal(first);
        host.logged("leaving: no new connections").await;
        host.signal(second);
        assert_eq!(host.ended().await, Some(1));
        host.logged("error: ended at once by a second signal").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_reads_the_configuration_again_and_a_refused_one_changes_nothing() {
    let member = Member::named("blue").await;
    let site = Site::new("\"127.0.0.1:0\"", member.address, "");
    let mut host = site.start(&[]).await;
    let config = site.config();
    site.write("this is [ no TOML");
    let refusals = async |number: usize| loop {
        let whys = site.whys().await;
        if whys.iter().filter(|why| why.contains("switchback.toml:1: ")).count() == number {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    in_time("a refusal", refusals(1)).await;
    // The same text is refused again, as somebody asks.
    host.signal(Signal::HUP);
    in_time("another refusal", refusals(2)).await;
    std::fs::remove_file(site.path("switchback.toml")).unwrap();
    host.signal(Signal::HUP);
    host.logged("refused: cannot read").await;
    site.write(&config.replace("pool = \"blue\"", "pool = \"green\""));
    host.signal(Signal::HUP);
    until("it serves", || host.log().contains("release activated release=2")).await;
    ask(dial(host.address()).await, false).await.unwrap();
    host.signal(Signal::TERM);
    assert_eq!(host.ended().await, Some(0));
}
