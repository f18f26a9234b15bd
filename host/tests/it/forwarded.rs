//! Whom a request speaks for: who is believed, and what members are told.

use crate::peers::Speaks;
use crate::support::{Answer, Host, Member, send_raw};
use hyper::Request;

use crate::support::whole;

const SAID: [(&str, &str); 5] = [
    ("x-forwarded-for", "198.51.100.7"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "shop.example"),
    ("forwarded", "for=198.51.100.8;proto=https;host=other.example"),
    ("x-request-id", "theirs"),
];

async fn told(keys: &str, client: Speaks) -> String {
    let member = Member::echoing().await;
    let host = Host::with().pool("blue", &[&member]).front(keys, "pool = \"blue\"").start().await;
    let mut request = Request::get("http://web.example/");
    for (name, value) in SAID {
        request = request.header(name, value);
    }
    let answer = client.ask(host.address(), request.body(whole("")).unwrap()).await;
    Answer::of(answer).await.body
}

fn check(told: &str, lines: &[&str]) {
    for line in lines {
        assert!(told.contains(&format!("\n{line}\n")), "no `{line}` in {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_say_of_themselves_is_not_passed_on() {
    for client in [Speaks::Http1, Speaks::Http2] {
        let told = told("", client).await;
        check(
            &told,
            &[
                "x-forwarded-for: 127.0.0.1",
                "x-forwarded-proto: http",
                "x-forwarded-host: web.example",
                "forwarded: for=127.0.0.1;host=web.example;proto=http",
            ],
        );
        assert!(!told.contains("theirs") && !told.contains("198.51.100"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_trusted_proxy_says_is_passed_on_with_the_proxy_itself() {
    for client in [Speaks::Http1, Speaks::Http2] {
        let told = told("trusted = [\"127.0.0.0/8\"]", client).await;
        check(
            &told,
            &[
                "x-forwarded-for: 198.51.100.7, 127.0.0.1",
                "x-forwarded-proto: https",
                "x-forwarded-host: shop.example",
                "x-request-id: theirs",
            ],
        );
        // The other kind of list is one that the proxy may not know: anybody could have written it.
        assert!(!told.contains("198.51.100.8") && !told.contains("other.example"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_kind_of_list_that_is_believed_is_read() {
    let told = told("trusted = [\"127.0.0.1\"]\nbelieve = \"forwarded\"", Speaks::Http1).await;
    check(&told, &["x-forwarded-for: 198.51.100.8, 127.0.0.1", "x-forwarded-proto: https", "x-request-id: theirs"]);
    assert!(!told.contains("198.51.100.7") && !told.contains("shop.example"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_not_ours_is_not_trusted() {
    let told = told("trusted = [\"10.0.0.0/8\", \"::1\"]", Speaks::Http1).await;
    check(&told, &["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http"]);
    assert!(!told.contains("theirs"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_somebody_untrusted_claims_is_not_passed_on() {
    let member = Member::echoing().await;
    for (keys, passes) in [("", false), ("trusted = [\"127.0.0.1\"]", true)] {
        let host = Host::with().pool("blue", &[&member]).front(keys, "pool = \"blue\"").start().await;
        let request = b"GET / HTTP/1.1\r\nhost: a\r\nclient-cert: :AAAA:\r\nclient-cert-chain: :AAAA:\r\nconnection: close\r\n\r\n";
        let told = send_raw(host.address(), request).await;
        assert_eq!((told.contains("client-cert: "), told.contains("client-cert-chain: ")), (passes, passes), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_has_a_good_id_keeps_it_in_our_own_answers() {
    let host = Host::with().config("[pools.blue]\nmembers = []").front("trusted = [\"127.0.0.1\"]", "pool = \"blue\"");
    let host = host.start().await;
    let answer = host.get("/", &[("x-request-id", "theirs")]).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-request-id")), (503, "theirs"));
    let answer = host.get("/", &[("x-request-id", "not one\u{e9}")]).await;
    assert_eq!(answer.header("x-request-id").len(), 32);
}
