//! Vips that send clients from http to https.

use hyper::{Method, Request};

use crate::certificates::Authority;
use crate::peers::Speaks;
use crate::support::{Answer, Host, Member, whole};
use crate::tls_traffic::{Secure, secured};

async fn host(member: &Member, port: &str, listener: &str) -> Host {
    let vip = format!("pool = \"blue\"\nredirect_to_https = {port}");
    Host::with().pool("blue", &[member]).front(listener, &vip).start().await
}

async fn ask(client: Speaks, host: &Host, method: Method, authority: &str, fields: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(format!("http://{authority}/a/b?c=d&e"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    Answer::of(client.ask(host.address(), request.body(whole("")).unwrap()).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_sent_to_the_same_place_over_https() {
    let member = Member::named("blue").await;
    for (port, location) in
        [("true", "https://shop.example/a/b?c=d&e"), ("8443", "https://shop.example:8443/a/b?c=d&e")]
    {
        let host = host(&member, port, "").await;
        for client in [Speaks::Http1, Speaks::Http2] {
            for (method, authority) in [(Method::GET, "shop.example"), (Method::POST, "Shop.example:8080")] {
                let answer = ask(client, &host, method, authority, &[]).await;
                // RFC 9110, 15.4.9: 308 keeps the method.
                assert_eq!((answer.status.as_u16(), answer.header("location")), (308, location));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_came_over_https_is_served() {
    let member = Member::named("blue").await;
    let trusting = host(&member, "true", "trusted = [\"127.0.0.1\"]").await;
    let said = [("x-forwarded-proto", "https")];
    assert_eq!(ask(Speaks::Http1, &trusting, Method::GET, "a", &said).await.body, "blue");
    assert_eq!(ask(Speaks::Http1, &trusting, Method::GET, "a", &[]).await.status, 308);
    let other = host(&member, "true", "").await;
    assert_eq!(ask(Speaks::Http1, &other, Method::GET, "a", &said).await.status, 308);

    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let keys = secured(folder.path(), &authority, &["shop"]);
    let over_tls = host(&member, "true", &keys).await;
    let stream = Secure::new(&authority.ca_path(folder.path())).dial(over_tls.address(), "shop.example").await.unwrap();
    let request = Request::get("http://shop.example/").body(whole("")).unwrap();
    assert_eq!(Answer::of(Speaks::Http1.ask_on(stream, request).await).await.body, "blue");
}
