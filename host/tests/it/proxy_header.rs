//! The PROXY protocol: connections that say whom they speak for, to the host and from it to members.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::{Request, Response};
use switchback_plugins as plugins;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::peers::{Speaks, dial};
use crate::support::{Answer, Host, Member, in_time, send_raw, serve, whole};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 1, for a client at this address.
fn v1(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 203.0.113.1 1234 80\r\n").into_bytes()
}

/// Version 2 with this command, for a client at 198.51.100.7.
fn v2(command: u8) -> Vec<u8> {
    let addresses = [198, 51, 100, 7, 203, 0, 113, 1, 4, 210, 0, 80];
    [SIGNATURE.as_slice(), &[0x20 | command, 0x11, 0, 12], &addresses].concat()
}

async fn host(member: &Member, keys: &str) -> Host {
    let keys = format!("proxy_protocol = true\n{keys}");
    Host::with().pool("blue", &[member]).front(&keys, "pool = \"blue\"").start().await
}

/// Asks on a connection that begins with `header`.
async fn ask(client: Speaks, address: SocketAddr, header: &[u8]) -> Answer {
    let mut stream = dial(address).await;
    stream.write_all(header).await.unwrap();
    let request = Request::get("http://web.example/").body(whole("")).unwrap();
    Answer::of(client.ask_on(stream, request).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_speaks_for_the_client_that_its_header_names() {
    let member = Member::echoing().await;
    let host = host(&member, "").await;
    for client in [Speaks::Http1, Speaks::Http2] {
        for header in [v1("198.51.100.7"), v2(1)] {
            let body = ask(client, host.address(), &header).await.body;
            assert!(body.contains("\nx-forwarded-for: 198.51.100.7\n"), "{client:?}: {body}");
        }
        // LOCAL and UNKNOWN: the sender speaks for itself.
        for header in [v2(0), b"PROXY UNKNOWN\r\n".to_vec()] {
            let body = ask(client, host.address(), &header).await.body;
            assert!(body.contains("\nx-forwarded-for: 127.0.0.1\n"), "{client:?}: {body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_may_come_in_pieces_and_with_the_request() {
    let member = Member::echoing().await;
    let host = host(&member, "").await;
    let all = [v1("198.51.100.7"), b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".to_vec()].concat();
    assert!(send_raw(host.address(), &all).await.contains("\nx-forwarded-for: 198.51.100.7\n"));
    let mut stream = dial(host.address()).await;
    for byte in &all {
        stream.write_all(std::slice::from_ref(byte)).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = String::new();
    in_time("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.contains("\nx-forwarded-for: 198.51.100.7\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_sees_the_client_that_the_header_names() {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let host = Host::with()
        .pool("blue", &[&blue])
        .pool("green", &[&green])
        .policy("web", plugins::CANARY)
        .front("proxy_protocol = true", "policy = \"web\"")
        .config(
            "[policies.web.config]\nstable = \"blue\"\ncanary = \"green\"\npercent = 50\nsticky = \"client-address\"",
        )
        .start()
        .await;
    let mut pools = std::collections::BTreeSet::new();
    for number in 1..=20 {
        let header = v1(&format!("198.51.100.{number}"));
        let pool = ask(Speaks::Http1, host.address(), &header).await.body;
        assert_eq!(ask(Speaks::Http1, host.address(), &header).await.body, pool);
        pools.insert(pool);
    }
    assert_eq!(pools.len(), 2, "all clients look alike: {pools:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_good_header_is_closed() {
    let member = Member::echoing().await;
    let host = host(&member, "").await;
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let bad: [&[u8]; 4] = [b"", b"PROXY TCP4 198.51.100.7 203.0.113.1 1234\r\n", b"PROXY TCP4 a b 1 2\r\n", SIGNATURE];
    for header in bad {
        assert_eq!(send_raw(host.address(), &[header, request].concat()).await, "", "{header:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_trusted_networks_may_say_whom_they_speak_for() {
    let member = Member::echoing().await;
    let trusting = host(&member, "trusted = [\"127.0.0.0/8\"]").await;
    let body = ask(Speaks::Http1, trusting.address(), &v1("198.51.100.7")).await.body;
    assert!(body.contains("\nx-forwarded-for: 198.51.100.7\n"), "{body}");
    let other = host(&member, "trusted = [\"10.0.0.0/8\"]").await;
    let request = [v1("198.51.100.7"), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()].concat();
    assert_eq!(send_raw(other.address(), &request).await, "");
}

/// Reads a header of either version; answers what it says.
async fn read_header(stream: &mut TcpStream) -> String {
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await.unwrap();
    if begin == *SIGNATURE {
        let mut rest = [0; 16];
        stream.read_exact(&mut rest).await.unwrap();
        let port = |at| u16::from_be_bytes([rest[at], rest[at + 1]]);
        let (from, to) = (&rest[4..8], &rest[8..12]);
        return format!("{:?} {from:?}:{} {to:?}:{}", &rest[..4], port(12), port(14));
    }
    let mut line = begin.to_vec();
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_told_who_asks_on_a_connection_of_its_own() {
    let member = Member::accepting(|mut stream| async move {
        let header = read_header(&mut stream).await;
        serve(stream, Arc::new(move |_| std::future::ready(Response::new(whole(header.clone()))))).await;
    })
    .await;
    for version in ["v1", "v2"] {
        let keys = format!("proxy_protocol = \"{version}\"");
        let host = Host::with().pool_at("blue", &[member.address], &keys).vip("web", "pool = \"blue\"").start().await;
        let mut ports = std::collections::BTreeSet::new();
        for client in [Speaks::Http1, Speaks::Http2, Speaks::Http1] {
            let stream = dial(host.address()).await;
            let (from, to) = (stream.local_addr().unwrap().port(), host.address().port());
            let request = Request::get("http://web.example/").body(whole("")).unwrap();
            let told = Answer::of(client.ask_on(stream, request).await).await.body;
            let expected = match version {
                "v1" => format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}"),
                _ => format!("[33, 17, 0, 12] [127, 0, 0, 1]:{from} [127, 0, 0, 1]:{to}"),
            };
            assert_eq!(told, expected);
            ports.insert(from);
        }
        assert_eq!(ports.len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_in_by_one_version_goes_out_by_the_other() {
    let member = Member::accepting(|mut stream| async move {
        let header = read_header(&mut stream).await;
        serve(stream, Arc::new(move |_| std::future::ready(Response::new(whole(header.clone()))))).await;
    })
    .await;
    let host = Host::with().pool_at("blue", &[member.address], "proxy_protocol = \"v2\"");
    let host = host.front("proxy_protocol = true", "pool = \"blue\"").start().await;
    let told = ask(Speaks::Http1, host.address(), &v1("198.51.100.7")).await.body;
    assert_eq!(told, "[33, 17, 0, 12] [198, 51, 100, 7]:1234 [203, 0, 113, 1]:80");
}
