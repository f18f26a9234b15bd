//! HTTP/2 on either side, and on both: requests, answers, what comes before and after them, and what breaks them off.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::{join_all, poll_fn};
use h2::Reason;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::{HeaderMap, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};

use crate::peers::{PAIRS, Speaks, dial, http2, in_front, in_front_of, streams};
use crate::support::{Answer, Body, Host, Member, echo, fed, in_time, read_head, until, whole};

const TARGET: &str = "http://web.example/a?b=c";

fn get(path: &str) -> Request<Body> {
    Request::get(format!("http://web.example{path}")).body(whole("")).unwrap()
}

fn trailers(value: &str) -> HeaderMap {
    HeaderMap::from_iter([("x-sum".parse().unwrap(), value.parse().unwrap())])
}

fn with_trailers(text: &'static str, fields: HeaderMap) -> Body {
    let frames = [Ok(Frame::data(Bytes::from_static(text.as_bytes()))), Ok(Frame::trailers(fields))];
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_arrives_the_same_whatever_either_side_speaks() {
    for (client, member) in PAIRS {
        let (host, _member) = in_front_of(member, echo).await;
        let request = Request::post(TARGET).header("x-a", "1").body(whole("content")).unwrap();
        let answer = Answer::of(client.ask(host.address(), request).await).await;
        let (line, via) = match (client, member) {
            (Speaks::Http1, Speaks::Http1) => ("POST /a?b=c HTTP/1.1\n", "via: 1.1 switchback\n"),
            (Speaks::Http2, Speaks::Http1) => ("POST /a?b=c HTTP/1.1\n", "via: 2.0 switchback\n"),
            (Speaks::Http1, Speaks::Http2) => ("POST http://web.example/a?b=c HTTP/2.0\n", "via: 1.1 switchback\n"),
            (Speaks::Http2, Speaks::Http2) => ("POST http://web.example/a?b=c HTTP/2.0\n", "via: 2.0 switchback\n"),
        };
        let body = &answer.body;
        assert!(body.starts_with(line) && body.contains(via) && body.contains("\nx-a: 1\n"), "{client:?} {answer:?}");
        assert!(body.contains("content-length: 7\n") && body.ends_with("\n\ncontent"), "{client:?} {answer:?}");
        // RFC 9110, 7.6.3: the version in which the answer was received.
        let via = if member == Speaks::Http2 { "2.0 switchback" } else { "1.1 switchback" };
        assert_eq!(answer.header("via"), via);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_streams_both_ways_before_either_ends() {
    for (client, member) in PAIRS {
        let (host, _member) = in_front_of(member, |request: Request<Incoming>| async move {
            Response::new(request.into_body().map_err(std::io::Error::other).boxed())
        })
        .await;
        let (feed, body) = fed();
        feed.send("one").await.unwrap();
        let mut answer = client.ask(host.address(), Request::post(TARGET).body(body).unwrap()).await.into_body();
        for next in ["two", "three"] {
            assert!(in_time("a piece", answer.frame()).await.unwrap().unwrap().is_data());
            feed.send(next).await.unwrap();
        }
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "three");
        drop(feed);
        assert!(in_time("the end", answer.collect()).await.unwrap().to_bytes().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn much_content_arrives_whole_in_both_directions() {
    let content: Bytes = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    for (client, member) in PAIRS {
        let (host, _member) = in_front_of(member, |request: Request<Incoming>| async move {
            Response::new(request.into_body().map_err(std::io::Error::other).boxed())
        })
        .await;
        let answer = client.ask(host.address(), Request::post(TARGET).body(whole(content.clone())).unwrap()).await;
        let got = in_time("the content", answer.collect()).await.unwrap().to_bytes();
        assert!(got == content, "{client:?} to {member:?}: {} bytes", got.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_in_both_directions() {
    for (client, member) in PAIRS {
        let (host, _member) = in_front_of(member, |request: Request<Incoming>| async move {
            let got = request.into_body().collect().await.unwrap().trailers().cloned().unwrap_or_default();
            let fields = trailers(&format!("{} back", got.get("x-sum").map_or("none", |sum| sum.to_str().unwrap())));
            Response::builder().header("trailer", "x-sum").body(with_trailers("answer", fields)).unwrap()
        })
        .await;
        let request = Request::post(TARGET).header("te", "trailers").header("trailer", "x-sum");
        let request = request.body(with_trailers("request", trailers("there"))).unwrap();
        let answer = client.ask(host.address(), request).await.into_body().collect().await.unwrap();
        assert_eq!(answer.trailers(), Some(&trailers("there back")), "{client:?} to {member:?}");
        assert_eq!(answer.to_bytes(), "answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn early_hints_pass_whatever_either_side_speaks() {
    let raw = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let members = [
        (Speaks::Http1, Member::raw(raw).await),
        (
            Speaks::Http2,
            Member::streaming(|_, mut respond| async move {
                let hints = Response::builder().status(103).header("link", "</a.css>").body(()).unwrap();
                respond.send_informational(hints).unwrap();
                respond.send_response(Response::new(()), false).unwrap().send_data("ok".into(), true).unwrap();
            })
            .await,
        ),
    ];
    for (speaks, member) in &members {
        let host = in_front(member, *speaks).await;
        let (hints, mut hinted) = mpsc::unbounded_channel();
        let mut request = get("/");
        hyper::ext::on_informational(&mut request, move |hint| {
            hints.send((hint.status(), hint.headers()["link"].clone())).unwrap();
        });
        assert_eq!(Speaks::Http1.ask(host.address(), request).await.status(), 200);
        let (status, link) = hinted.recv().await.unwrap();
        assert_eq!((status.as_u16(), link.to_str().unwrap()), (103, "</a.css>"), "{speaks:?}");

        let mut client = streams(dial(host.address()).await).await;
        let (mut answer, _) = client.send_request(Request::get(TARGET).body(()).unwrap(), true).unwrap();
        let hint = in_time("hints", poll_fn(|cx| answer.poll_informational(cx))).await.unwrap().unwrap();
        assert_eq!((hint.status().as_u16(), hint.headers()["link"].to_str().unwrap()), (103, "</a.css>"));
        assert_eq!(in_time("an answer", answer).await.unwrap().status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_streams_at_once_get_their_own_answers() {
    for member in [Speaks::Http1, Speaks::Http2] {
        let waiting = Arc::new(tokio::sync::Barrier::new(100));
        let (host, _member) = in_front_of(member, move |request: Request<Incoming>| {
            let waiting = waiting.clone();
            async move {
                waiting.wait().await;
                Response::new(whole(request.uri().path().to_owned()))
            }
        })
        .await;
        let client = http2(dial(host.address()).await).await;
        let asked = (0..100).map(|number| {
            let mut client = client.clone();
            async move {
                let answer = client.send_request(get(&format!("/{number}"))).await.unwrap();
                assert_eq!(Answer::of(answer).await.body, format!("/{number}"));
            }
        });
        in_time("all answers", join_all(asked)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_its_client_gives_up_is_given_up_at_the_member() {
    let (told, mut seen) = mpsc::unbounded_channel();
    let closes = told.clone();
    let of_http1 = Member::accepting(move |mut stream| {
        let told = closes.clone();
        async move {
            read_head(&mut stream).await.unwrap();
            told.send("asked".to_owned()).unwrap();
            assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
            told.send("closed".to_owned()).unwrap();
        }
    })
    .await;
    let of_http2 = Member::streaming(move |_, mut respond| {
        let told = told.clone();
        async move {
            told.send("asked".to_owned()).unwrap();
            let reason = poll_fn(|cx| respond.poll_reset(cx)).await.unwrap();
            told.send(format!("{reason:?}")).unwrap();
        }
    })
    .await;
    for (member, speaks, end) in [(of_http1, Speaks::Http1, "closed"), (of_http2, Speaks::Http2, "CANCEL")] {
        let host = in_front(&member, speaks).await;
        let mut client = streams(dial(host.address()).await).await;
        let (answer, mut stream) = client.send_request(Request::get(TARGET).body(()).unwrap(), true).unwrap();
        assert_eq!(in_time("a request", seen.recv()).await.unwrap(), "asked");
        stream.send_reset(Reason::CANCEL);
        drop(answer);
        assert_eq!(in_time("the end at the member", seen.recv()).await.unwrap(), end);
    }
}

/// A member of HTTP/2 that resets its first streams, and answers the others with how many came.
async fn resetting(first: usize, reason: Reason) -> Member {
    let asked = Arc::new(AtomicUsize::new(0));
    Member::streaming(move |_, mut respond| {
        let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            if number <= first {
                return respond.send_reset(reason);
            }
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(number.to_string().into(), true).unwrap();
        }
    })
    .await
}

/// A host of one worker, so that requests meet the connections of those before.
async fn alone(members: &[&Member]) -> Host {
    let members: Vec<_> = members.iter().map(|member| member.address).collect();
    let host = Host::with().workers(1).pool_at("blue", &members, Speaks::Http2.keys());
    host.vip("web", "pool = \"blue\"").start().await
}

async fn post(host: &Host) -> Answer {
    let request = Request::post(TARGET).body(whole("")).unwrap();
    Answer::of(Speaks::Http2.ask(host.address(), request).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_a_member_refuses_is_sent_to_another() {
    // RFC 9113, 8.7: nothing was done with it, whatever the method.
    let (refusing, taking) =
        (resetting(usize::MAX, Reason::REFUSED_STREAM).await, resetting(0, Reason::NO_ERROR).await);
    let host = alone(&[&refusing, &taking]).await;
    for number in 1..=10 {
        assert_eq!(post(&host).await.body, number.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_refuses_everything_is_a_502() {
    let member = resetting(usize::MAX, Reason::REFUSED_STREAM).await;
    let host = alone(&[&member]).await;
    for _ in 0..3 {
        assert_eq!(post(&host).await.status, 502);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_a_member_resets_otherwise_is_not_sent_again() {
    let member = resetting(1, Reason::INTERNAL_ERROR).await;
    let host = alone(&[&member]).await;
    assert_eq!(post(&host).await.status, 502);
    assert_eq!(post(&host).await.body, "2");
}

/// A member that, asked on stream 1, says GOAWAY with this last stream and reason, and closes; it counts requests.
async fn going_away(last: u8, reason: Reason) -> (Member, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let member = Member::accepting(move |mut stream| {
        let asked = counted.clone();
        async move {
            stream.read_exact(&mut [0; 24]).await.unwrap();
            stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            let mut head = [0; 9];
            while stream.read_exact(&mut head).await.is_ok() {
                let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
                stream.read_exact(&mut payload).await.unwrap();
                let [.., kind, flags, _, _, _, _] = head;
                if kind == 6 && flags == 0 {
                    let pong = [&[0, 0, 8, 6, 1, 0, 0, 0, 0], &payload[..]].concat();
                    stream.write_all(&pong).await.unwrap();
                } else if kind == 1 {
                    asked.fetch_add(1, Ordering::SeqCst);
                    let reason = u32::from(reason).to_be_bytes();
                    let away = [&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last], &reason[..]].concat();
                    return stream.write_all(&away).await.unwrap();
                }
            }
        }
    })
    .await;
    (member, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_sent_again_only_if_the_member_that_went_away_says_it_did_nothing() {
    // RFC 9113, 6.8: streams above the last one were not and will not be looked at; of the others nobody knows.
    for reason in [Reason::NO_ERROR, Reason::INTERNAL_ERROR] {
        for (last, status) in [(0, 200), (1, 502)] {
            let ((going, asked), other) = (going_away(last, reason).await, resetting(0, Reason::NO_ERROR).await);
            let host = alone(&[&going, &other]).await;
            assert_eq!(post(&host).await.status, status, "{reason:?} after stream {last}");
            assert_eq!(asked.load(Ordering::SeqCst), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_a_member_resets_is_broken_off_at_the_client() {
    let breaks = Arc::new(Notify::new());
    let told = breaks.clone();
    let member = Member::streaming(move |_, mut respond| {
        let told = told.clone();
        async move {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data("half".into(), false).unwrap();
            told.notified().await;
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
    })
    .await;
    let host = in_front(&member, Speaks::Http2).await;
    for client in [Speaks::Http1, Speaks::Http2] {
        let mut answer = client.ask(host.address(), get("/")).await.into_body();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
        breaks.notify_one();
        assert!(in_time("an end", answer.frame()).await.unwrap().is_err(), "{client:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_goes_away_finishes_what_it_has_and_gets_no_more() {
    let (told, mut begun) = mpsc::unbounded_channel();
    let (finish, finished) = tokio::sync::watch::channel(false);
    let connections = Arc::new(AtomicUsize::new(0));
    let member = Member::accepting(move |stream| {
        let (told, finished) = (told.clone(), finished.clone());
        let number = connections.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                told.send(number).unwrap();
                if number == 1 {
                    connection.graceful_shutdown();
                }
                let mut finished = finished.clone();
                tokio::spawn(async move {
                    finished.wait_for(|finished| *finished).await.unwrap();
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    stream.send_data(number.to_string().into(), true).unwrap();
                });
            }
        }
    })
    .await;
    let host = alone(&[&member]).await;
    let client = http2(dial(host.address()).await).await;
    let ask = || {
        tokio::spawn({
            let mut client = client.clone();
            async move { Answer::of(client.send_request(get("/")).await.unwrap()).await.body }
        })
    };
    let first = ask();
    assert_eq!(in_time("the first request", begun.recv()).await, Some(1));
    let mut second = ask();
    // Whatever of GOAWAY and request comes first, both are answered.
    in_time("the second request", begun.recv()).await.unwrap();
    finish.send(true).unwrap();
    assert_eq!(in_time("the first answer", first).await.unwrap(), "1");
    in_time("the second answer", &mut second).await.unwrap();
    assert_eq!(in_time("a third answer", ask()).await.unwrap(), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_leaves_says_so_and_finishes_the_streams_it_has() {
    for member in [Speaks::Http1, Speaks::Http2] {
        let (feed, body) = fed();
        let body = Arc::new(Mutex::new(Some(body)));
        let (mut host, _member) = in_front_of(member, move |_| {
            let body = body.lock().unwrap().take().expect("one request");
            async move { Response::new(body) }
        })
        .await;
        feed.send("first ").await.unwrap();
        let address = host.address();
        let mut client = http2(dial(address).await).await;
        let mut answer = client.send_request(get("/")).await.unwrap().into_body();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "first ");
        let stopped = tokio::spawn(async move { host.stop().await });
        until("nobody listens", || std::net::TcpStream::connect(address).is_err()).await;
        feed.send("last").await.unwrap();
        drop(feed);
        assert_eq!(in_time("the rest", answer.collect()).await.unwrap().to_bytes(), "last");
        in_time("the host has left", stopped).await.unwrap();
        assert!(client.send_request(get("/")).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cookie_crumbs_are_joined() {
    for member in [Speaks::Http1, Speaks::Http2] {
        let (host, _member) = in_front_of(member, echo).await;
        let request = Request::get(TARGET).header("cookie", "a=1").header("cookie", "b=2").header("cookie", "c=3");
        let answer = Speaks::Http2.ask(host.address(), request.body(whole("")).unwrap()).await;
        let body = Answer::of(answer).await.body;
        assert!(body.contains("\ncookie: a=1; b=2; c=3\n"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn te_says_trailers_and_nothing_else() {
    for (client, member) in PAIRS {
        let (host, _member) = in_front_of(member, echo).await;
        let said = if client == Speaks::Http1 { "gzip, trailers" } else { "trailers" };
        let request = Request::get(TARGET).header("te", said).header("connection", "te").body(whole("")).unwrap();
        let body = Answer::of(client.ask(host.address(), request).await).await.body;
        assert!(body.contains("\nte: trailers\n"), "{client:?} to {member:?}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_does_not_wait_for_the_upload() {
    for (client, member) in PAIRS {
        let (host, _member) = in_front_of(member, |request: Request<Incoming>| async move {
            let mut content = request.into_body();
            let _ = content.frame().await;
            Response::builder().status(403).body(whole("enough")).unwrap()
        })
        .await;
        let (feed, body) = fed();
        feed.send("some").await.unwrap();
        let answer = client.ask(host.address(), Request::post(TARGET).body(body).unwrap()).await;
        let answer = in_time("the answer", Answer::of(answer)).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (403, "enough"), "{client:?} to {member:?}");
    }
}
