//! HTTP/1.1 where order and timing matter: pipelines, expectations, ends of one side, answers ahead of their requests.

use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::peers::{Speaks, dial, in_front, in_front_of};
use crate::support::{Member, in_time, read_head, whole};

async fn path(request: Request<Incoming>) -> Response<crate::support::Body> {
    Response::new(whole(request.uri().path().to_owned()))
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    in_time("the end", stream.read_to_end(&mut rest)).await.unwrap();
    String::from_utf8(rest).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_requests_at_once_are_answered_in_order() {
    for member in [Speaks::Http1, Speaks::Http2] {
        let (host, _member) = in_front_of(member, path).await;
        let mut all: String = (0..20).map(|number| format!("GET /{number}. HTTP/1.1\r\nhost: a\r\n\r\n")).collect();
        all += "GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let mut stream = dial(host.address()).await;
        stream.write_all(all.as_bytes()).await.unwrap();
        let answers = rest(&mut stream).await;
        let places: Vec<_> = (0..20).map(|number| answers.find(&format!("\r\n\r\n/{number}.")).unwrap()).collect();
        assert!(places.is_sorted() && answers.ends_with("\r\n\r\n/last"), "{answers}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_of_requests_with_content_keeps_each_to_its_own() {
    let (host, _member) = in_front_of(Speaks::Http1, crate::support::echo).await;
    let mut all = String::new();
    for number in 0..10 {
        all += &format!("POST /{number} HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nfirst{number}");
        all += &format!(
            "POST /{number} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n7\r\nsecond{number}\r\n0\r\n\r\n"
        );
    }
    all += "GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let mut stream = dial(host.address()).await;
    stream.write_all(all.as_bytes()).await.unwrap();
    let answers = rest(&mut stream).await;
    let content = (0..10).flat_map(|number| [format!("\n\nfirst{number}HTTP"), format!("\n\nsecond{number}HTTP")]);
    let places: Vec<_> = content.map(|content| answers.find(&content).unwrap()).collect();
    assert!(places.is_sorted(), "{answers}");
}

const EXPECTING: &[u8] =
    b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 7\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_expects_it_is_told_by_the_member_to_continue() {
    let of_http1 = Member::accepting(|mut stream| async move {
        let head = read_head(&mut stream).await.unwrap();
        assert!(head.contains("\r\nexpect: 100-continue\r\n"), "{head}");
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        let mut content = [0; 7];
        stream.read_exact(&mut content).await.unwrap();
        let answer = [b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n".as_slice(), &content].concat();
        stream.write_all(&answer).await.unwrap();
    })
    .await;
    let of_http2 = Member::streaming(|mut request, mut respond| async move {
        assert_eq!(request.headers()["expect"], "100-continue");
        respond.send_informational(Response::builder().status(100).body(()).unwrap()).unwrap();
        let content = request.body_mut().data().await.unwrap().unwrap();
        respond.send_response(Response::new(()), false).unwrap().send_data(content, true).unwrap();
    })
    .await;
    for (member, speaks) in [(of_http1, Speaks::Http1), (of_http2, Speaks::Http2)] {
        let host = in_front(&member, speaks).await;
        let mut stream = dial(host.address()).await;
        stream.write_all(EXPECTING).await.unwrap();
        assert_eq!(in_time("leave", read_head(&mut stream)).await.unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"content").await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("content"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_expects_leave_may_be_refused_instead() {
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let (host, _member) = in_front_of(speaks, |_: Request<Incoming>| async {
            Response::builder().status(403).body(whole("no")).unwrap()
        })
        .await;
        let mut stream = dial(host.address()).await;
        stream.write_all(EXPECTING).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("\r\n\r\nno"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_ended_its_side_gets_all_of_its_answers() {
    let (host, _member) = in_front_of(Speaks::Http2, path).await;
    let mut stream = dial(host.address()).await;
    stream.write_all(b"GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let answers = rest(&mut stream).await;
    assert!(answers.matches("HTTP/1.1 200 ").count() == 2 && answers.ends_with("/2"), "{answers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_on_after_an_early_answer_still_gets_it() {
    let (host, _member) = in_front_of(Speaks::Http1, |_: Request<Incoming>| async {
        Response::builder().status(403).header("connection", "close").body(whole("enough")).unwrap()
    })
    .await;
    let mut stream = dial(host.address()).await;
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    let head = in_time("an answer", read_head(&mut stream)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    let mut content = [0; 6];
    stream.read_exact(&mut content).await.unwrap();
    assert_eq!(&content, b"enough");
    // It may well not have looked yet: what it sends is taken, and the connection goes on if it ends.
    for _ in 0..8 {
        stream.write_all(b"400\r\n").await.unwrap();
        stream.write_all(&[b'x'; 1024]).await.unwrap();
        stream.write_all(b"\r\n").await.unwrap();
    }
    stream.write_all(b"0\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 403 "));
}
