//! TLS to members: whom the host believes, what it asks for, and what it shows of itself.

use std::path::Path;
use std::sync::Arc;

use hyper::Response;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::certificates::Authority;
use crate::peers::{Speaks, serve_http2};
use crate::support::{Host, Member, PATIENCE, serve, whole};
use crate::tls_traffic::{chain, private_key};

/// A member with the certificate `member.pem` as it is at each handshake; it takes clients that `authority` knows, and
/// answers with the name it was asked for, what was agreed on, and whether it was shown a certificate.
pub(crate) async fn member(folder: &Path, authority: &Authority) -> Member {
    let mut roots = RootCertStore::empty();
    roots.add(chain(&authority.ca_path(folder))[0].clone()).unwrap();
    let (folder, roots) = (folder.to_owned(), Arc::new(roots));
    Member::accepting(move |stream| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_client_cert_verifier(clients.allow_unauthenticated().build().unwrap());
        let (chain, key) = (chain(&folder.join("member.pem")), private_key(&folder.join("member.key")));
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        async move {
            let Ok(stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else { return };
            let session = stream.get_ref().1;
            let alpn = String::from_utf8_lossy(session.alpn_protocol().unwrap_or_default()).into_owned();
            let shown = session.peer_certificates().is_some();
            let text = format!("{} {alpn} {shown}", session.server_name().unwrap_or("none"));
            let answer = Arc::new(move |request: hyper::Request<hyper::body::Incoming>| {
                let scheme = request.uri().scheme_str().map(|scheme| format!(" {scheme}")).unwrap_or_default();
                std::future::ready(Response::new(whole(format!("{text}{scheme}"))))
            });
            if alpn == "h2" { serve_http2(stream, answer).await } else { serve(stream, answer).await }
        }
    })
    .await
}

async fn host(member: &Member, speaks: Speaks, ca: &Path, rest: &str) -> Host {
    let keys = format!("{}\n[pools.blue.tls]\nca = \"{}\"\n{rest}", speaks.keys(), ca.display());
    Host::with().pool_at("blue", &[member.address], &keys).vip("web", "pool = \"blue\"").start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_asked_by_name_and_shown_a_certificate() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let ca = authority.ca_path(folder.path());
    authority.issue(folder.path(), "member", &["member.example"]);
    let (cert, key) = authority.issue(folder.path(), "host", &[]);
    let member = member(folder.path(), &authority).await;
    let named = "server_name = \"member.example\"";
    let showing = format!("{named}\ncert = \"{}\"\nkey = \"{}\"", cert.display(), key.display());
    for (speaks, rest, expected) in [
        (Speaks::Http1, named, "member.example http/1.1 false"),
        (Speaks::Http2, named, "member.example h2 false https"),
        (Speaks::Http1, &*showing, "member.example http/1.1 true"),
        (Speaks::Http2, &*showing, "member.example h2 true https"),
    ] {
        let host = host(&member, speaks, &ca, rest).await;
        assert_eq!(host.get("/", &[]).await.body, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_a_name_is_known_by_its_address() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let ca = authority.ca_path(folder.path());
    authority.issue(folder.path(), "member", &["127.0.0.1"]);
    let member = member(folder.path(), &authority).await;
    let host = host(&member, Speaks::Http1, &ca, "").await;
    assert_eq!(host.get("/", &[]).await.body, "none http/1.1 false");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_not_who_it_should_be_is_a_502() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let ca = authority.ca_path(folder.path());
    authority.issue(folder.path(), "member", &["member.example"]);
    let member = member(folder.path(), &authority).await;
    let other = tempfile::tempdir().unwrap();
    let others_ca = Authority::new().ca_path(other.path());
    for speaks in [Speaks::Http1, Speaks::Http2] {
        for (ca, name) in [(&ca, "other.example"), (&others_ca, "member.example")] {
            let host = host(&member, speaks, ca, &format!("server_name = \"{name}\"")).await;
            assert_eq!(host.get("/", &[]).await.status, 502, "{name}");
        }
    }
    let plain = Member::named("plain").await;
    let host = host(&plain, Speaks::Http1, &ca, "server_name = \"member.example\"").await;
    assert_eq!(host.get("/", &[]).await.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_certificate_is_replaced_is_believed_as_soon_as_its_authority_is() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let ca = authority.ca_path(folder.path());
    authority.issue(folder.path(), "member", &["member.example"]);
    let member = member(folder.path(), &authority).await;
    let host = host(&member, Speaks::Http1, &ca, "server_name = \"member.example\"").await;
    assert_eq!(host.get("/", &[]).await.status, 200);
    // Signed by the same, it is believed at once; connections from before are as good as they were.
    authority.issue(folder.path(), "member", &["member.example"]);
    assert_eq!(host.get("/", &[]).await.status, 200);

    let theirs = Authority::new();
    theirs.issue(folder.path(), "member", &["member.example"]);
    theirs.ca_path(folder.path());
    let end = tokio::time::Instant::now() + PATIENCE;
    // Idle connections answer until they are closed; new ones are made by this many at once.
    loop {
        let answers = futures_util::future::join_all((0..8).map(|_| host.get("/", &[]))).await;
        if answers.iter().all(|answer| answer.status == 200) {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "the new authority is not believed");
    }
}
