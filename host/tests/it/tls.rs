//! Certificates of listeners and pools: what a release needs of them, and what a policy sees of a client's.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use switchback::digest::Digest;
use switchback::policy::compile::Compiled;
use switchback::policy::stage::stage;
use switchback::policy::wasm::{Artifact, Engine, Inputs, compiler};
use switchback::policy::{Limits, Policy};
use switchback::proxy::head::Head;
use switchback::proxy::tls::identity::Identity;
use switchback::spec::listener::{CertificateSpec, ListenerTlsSpec};
use switchback::spec::pool::MemberTlsSpec;
use switchback::spec::{ListenerSpec, Spec};
use switchback::switch::Refusal;
use switchback::switch::change::Change;
use switchback::switch::receipt::Origin;
use switchback_plugins as plugins;

use crate::certificates::Authority;
use crate::support::{Host, Member};

/// The vip `web` at a listener `secure` with the certificate in `folder`.
fn secured(mut spec: Spec, folder: &Path) -> Change {
    let certificate = CertificateSpec { cert: folder.join("shop.pem"), key: folder.join("shop.key") };
    let mut listener = ListenerSpec::plain("127.0.0.1:0".parse().unwrap());
    listener.tls = Some(ListenerTlsSpec {
        certificates: vec![certificate],
        client_ca: Some(folder.join("ca.pem")),
        client_certificate: Default::default(),
        min_version: Default::default(),
    });
    spec.listeners.insert("secure".into(), listener);
    spec.vips.get_mut("web").unwrap().listen = vec!["secure".into()];
    Change::Kept(1, spec.into())
}

async fn activate(host: &Host, change: Change) -> Result<u64, Refusal> {
    host.app().switch.activate(change, &Origin::host("test"), Vec::new()).await.map(|_| host.current())
}

#[tokio::test]
async fn a_release_whose_certificate_cannot_be_read_is_refused_and_what_serves_goes_on() {
    let blue = Member::named("blue").await;
    let host = Host::with().pool("blue", &[&blue]).vip("web", "pool = \"blue\"").start().await;
    let folder = host.folder.path();
    let spec = (*host.app().switch.current.get().spec).clone();

    assert!(activate(&host, secured(spec.clone(), folder)).await.is_err());
    let missing = folder.join("shop.pem");
    host.wait_for_entry("refuse", &format!("listener `secure`: cannot read {}: No such file", missing.display())).await;
    assert_eq!(host.get("/", &[]).await.body, "blue");

    let authority = Authority::new();
    authority.ca_path(folder);
    authority.issue(folder, "shop", &["shop.example"]);
    activate(&host, secured(spec, folder)).await.unwrap();
}

#[tokio::test]
async fn a_release_whose_pool_trusts_a_file_that_is_not_there_is_refused() {
    let blue = Member::named("blue").await;
    let host = Host::with().pool("blue", &[&blue]).vip("web", "pool = \"blue\"").start().await;
    let mut spec = (*host.app().switch.current.get().spec).clone();
    let tls = MemberTlsSpec { ca: host.folder.path().join("ca.pem"), server_name: None, certificate: None };
    spec.pools.get_mut("blue").unwrap().tls = Some(tls);
    let refusal = activate(&host, Change::Kept(1, spec.into())).await.unwrap_err();
    assert_eq!(refusal.to_string(), "pool `blue`");
    host.wait_for_entry("refuse", "ca.pem: No such file").await;
}

#[tokio::test]
async fn a_release_whose_certificate_is_lost_is_not_resumed_but_the_one_before() {
    let blue = Member::named("blue").await;
    let mut host = Host::with().pool("blue", &[&blue]).vip("web", "pool = \"blue\"").start().await;
    let folder = host.folder.path().to_owned();
    let authority = Authority::new();
    authority.ca_path(&folder);
    let (_, key) = authority.issue(&folder, "shop", &["shop.example"]);
    let spec = (*host.app().switch.current.get().spec).clone();
    let before = host.current();
    activate(&host, secured(spec, &folder)).await.unwrap();

    host.stop().await;
    std::fs::remove_file(key).unwrap();
    host.restart().await;
    assert_eq!(host.current(), before);
    host.wait_for_entry("refuse", "shop.key: No such file").await;
}

#[test]
fn a_policy_sees_who_the_client_has_proven_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, _) = Authority::new().issue(folder.path(), "alice", &["spiffe://shop/alice"]);
    let identity = Arc::new(Identity::of(&CertificateDer::from_pem_file(cert).unwrap()));
    let asked = |clients: &str, identity: Option<&Arc<Identity>>| {
        let policy = staged(
            plugins::BY_CERTIFICATE,
            &format!(r#"{{ "clients": {{ "{clients}": "green" }}, "otherwise": "blue" }}"#),
        );
        let head = Head::probe("GET", "/", &[]).with_identity(identity.cloned());
        let (_, answer) = policy.instance().unwrap().decide(Box::new(head), Inputs::default());
        format!("{:?}", answer.unwrap())
    };
    for known_as in ["spiffe://shop/alice", "CN=alice", &identity.fingerprint.to_string()] {
        assert!(asked(known_as, Some(&identity)).contains(known_as));
        assert!(!asked(known_as, None).contains(known_as));
    }
    assert!(!asked("CN=bob", Some(&identity)).contains("bob"));
}

fn staged(bytes: &[u8], config: &str) -> Policy {
    let engine = Engine::new(1).unwrap();
    let artifact = Artifact::load(&engine, &compiler::compile(bytes).unwrap()).unwrap();
    let compiled = Compiled { name: "web".into(), digest: Digest::of(bytes), artifact: artifact.into() };
    stage(&compiled, config, &["blue".to_owned(), "green".to_owned()], &Limits::default()).unwrap()
}
