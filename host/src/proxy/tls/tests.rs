//! Handshakes in memory, with certificates in real files.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection};
use tempfile::TempDir;

use super::authority::Authority;
use super::certificates::Certificates;
use super::client::{PoolTls, client_config};
use super::identity::Identity;
use super::server::server_config;
use super::{TlsError, provider};
use crate::causes::with_causes;
use crate::digest::Digest;
use crate::spec::listener::{CertificateSpec, ClientCertificate, ListenerTlsSpec, TlsVersion};
use crate::spec::pool::{MemberTlsSpec, Protocol};

/// A folder with `ca.pem`, and a registry.
struct Scene {
    folder: TempDir,
    authority: Authority,
    certificates: Certificates,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            folder: tempfile::tempdir().unwrap(),
            authority: Authority::new(),
            certificates: Certificates::default(),
        };
        scene.authority.ca_path(scene.folder.path());
        scene
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn issue(&self, name: &str, names: &[&str]) -> CertificateSpec {
        let (cert, key) = self.authority.issue(self.folder.path(), name, names);
        CertificateSpec { cert, key }
    }

    /// A listener with the certificate `shop`, for `shop.example`.
    fn listener(&self) -> ListenerTlsSpec {
        ListenerTlsSpec {
            certificates: vec![self.issue("shop", &["shop.example"])],
            client_ca: None,
            client_certificate: ClientCertificate::Required,
            min_version: TlsVersion::Tls12,
        }
    }

    fn server(&self, spec: &ListenerTlsSpec) -> Arc<ServerConfig> {
        server_config(spec, &self.certificates).unwrap()
    }

    fn client(&self, certificate: Option<CertificateSpec>) -> Arc<ClientConfig> {
        let spec = MemberTlsSpec { ca: self.path("ca.pem"), server_name: None, certificate };
        client_config(&spec, Protocol::Http2, &self.certificates).unwrap()
    }
}

/// Shakes hands, as far as both sides go.
fn shake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Result<Session, rustls::Error> {
    shake_with(client, server, "shop.example")
}

fn shake_with(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &str) -> Result<Session, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut session = Session {
        client: ClientConnection::new(client.clone(), name)?,
        server: ServerConnection::new(server.clone())?,
    };
    session.pass()?;
    Ok(session)
}

struct Session {
    client: ClientConnection,
    server: ServerConnection,
}

impl Session {
    /// Passes on what each side has to say, until neither has.
    fn pass(&mut self) -> Result<(), rustls::Error> {
        while self.client.wants_write() || self.server.wants_write() {
            let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
            while self.client.wants_write() {
                self.client.write_tls(&mut to_server).unwrap();
            }
            let mut bytes = &to_server[..];
            while !bytes.is_empty() {
                self.server.read_tls(&mut bytes).unwrap();
                self.server.process_new_packets()?;
            }
            while self.server.wants_write() {
                self.server.write_tls(&mut to_client).unwrap();
            }
            let mut bytes = &to_client[..];
            while !bytes.is_empty() {
                self.client.read_tls(&mut bytes).unwrap();
                self.client.process_new_packets()?;
            }
        }
        Ok(())
    }

    /// Whether bytes still go through.
    fn is_open(&mut self) -> bool {
        self.client.writer().write_all(b"hello").unwrap();
        self.pass().unwrap();
        let mut heard = [0; 5];
        self.server.reader().read_exact(&mut heard).is_ok() && heard == *b"hello"
    }

    /// The server's certificate, as the client saw it.
    fn shown(&self) -> Digest {
        Identity::of_peer(self.client.peer_certificates()).unwrap().fingerprint
    }
}

#[test]
fn a_listener_and_a_pool_agree_on_a_protocol() {
    let scene = Scene::new();
    let server = scene.server(&scene.listener());
    let session = shake(&scene.client(None), &server).unwrap();
    assert_eq!(session.server.alpn_protocol(), Some(&b"h2"[..]));

    let spec = MemberTlsSpec { ca: scene.path("ca.pem"), server_name: None, certificate: None };
    let http1 = client_config(&spec, Protocol::Http1, &scene.certificates).unwrap();
    let session = shake(&http1, &server).unwrap();
    assert_eq!(session.client.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[test]
fn a_renewed_certificate_is_in_the_next_handshake_and_ends_no_connection() {
    let scene = Scene::new();
    let (spec, client) = (scene.listener(), scene.client(None));
    let server = scene.server(&spec);
    let mut before = shake(&client, &server).unwrap();

    scene.certificates.refresh();
    assert_eq!(shake(&client, &server).unwrap().shown(), before.shown());

    scene.issue("shop", &["shop.example", "www.shop.example"]);
    scene.certificates.refresh();
    let after = shake_with(&client, &server, "www.shop.example").unwrap();
    assert_ne!(after.shown(), before.shown());
    assert!(before.is_open());
}

#[tokio::test]
async fn files_are_looked_at_without_being_asked_for() {
    let scene = Scene::new();
    let certificates = Arc::new(Certificates::default());
    let spec = scene.listener();
    let certificate = certificates.load(&spec.certificates[0]).unwrap();
    let (before, mut waited) = (certificate.key(), 0);
    scene.issue("shop", &["shop.example"]);
    let task = tokio::spawn(certificates.keep_fresh());
    while Arc::ptr_eq(&certificate.key(), &before) {
        waited += 1;
        assert!(waited < 1000, "gave up waiting for the certificate");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    task.abort();
}

#[test]
fn a_half_written_pair_is_not_taken_in_before_the_other_half_is_there() {
    let scene = Scene::new();
    let (spec, client) = (scene.listener(), scene.client(None));
    let server = scene.server(&spec);
    let before = shake(&client, &server).unwrap().shown();

    let new = scene.issue("new", &["shop.example"]);
    for (from, to) in [(&new.cert, "shop.pem"), (&new.key, "shop.key")] {
        assert_eq!(shake(&client, &server).unwrap().shown(), before);
        std::fs::copy(from, scene.path(to)).unwrap();
        scene.certificates.refresh();
    }
    assert_ne!(shake(&client, &server).unwrap().shown(), before);
}

#[test]
fn a_certificate_whose_file_is_lost_or_damaged_goes_on_serving() {
    let scene = Scene::new();
    let (spec, client) = (scene.listener(), scene.client(None));
    let server = scene.server(&spec);
    let good = std::fs::read(scene.path("shop.pem")).unwrap();
    let before = shake(&client, &server).unwrap().shown();

    std::fs::remove_file(scene.path("shop.pem")).unwrap();
    scene.certificates.refresh();
    for content in [&b""[..], b"garbage", &good[..good.len() / 2], &good] {
        std::fs::write(scene.path("shop.pem"), content).unwrap();
        scene.certificates.refresh();
        assert_eq!(shake(&client, &server).unwrap().shown(), before);
    }
}

#[test]
fn what_cannot_be_used_is_refused_by_the_name_of_its_file() {
    let scene = Scene::new();
    let (shop, other) = (scene.issue("shop", &["shop.example"]), scene.issue("other", &["other.example"]));
    let check = |cert: &PathBuf, key: &PathBuf, expect: &str| {
        let wrong = scene.certificates.load(&CertificateSpec { cert: cert.clone(), key: key.clone() }).unwrap_err();
        let expect = expect.replace('@', &format!("{}/", scene.folder.path().display()));
        assert_eq!(with_causes(&wrong), expect);
    };
    let write = |file: &str, content: &str| {
        std::fs::write(scene.path(file), content).unwrap();
        scene.path(file)
    };
    let absent = "cannot read @absent.pem: No such file or directory (os error 2)";
    let not_a_certificate = write("odd.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let not_a_key = write("odd.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    check(&scene.path("absent.pem"), &shop.key, absent);
    check(&scene.path(""), &shop.key, "cannot read @: expected a file");
    check(
        &shop.cert,
        &other.key,
        "the private key in @other.key does not belong to the first certificate in @shop.pem",
    );
    check(&shop.key, &shop.key, "@shop.key holds no certificate; expected PEM with `BEGIN CERTIFICATE`");
    check(
        &shop.cert,
        &shop.cert,
        "@shop.pem holds no private key; expected PEM with `BEGIN PRIVATE KEY`, not encrypted",
    );
    let wrong = scene.certificates.load(&CertificateSpec { cert: not_a_certificate, key: shop.key.clone() });
    assert!(matches!(wrong, Err(TlsError::Certificate(file, _)) if file == scene.path("odd.pem")));
    let wrong = scene.certificates.load(&CertificateSpec { cert: shop.cert.clone(), key: not_a_key });
    assert!(matches!(wrong, Err(TlsError::Key(file, _)) if file == scene.path("odd.key")));
    let wrong = scene
        .certificates
        .load(&CertificateSpec { cert: write("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n"), key: shop.key });
    assert!(matches!(wrong, Err(TlsError::Pem(file, _)) if file == scene.path("cut.pem")));
    let wrong = scene.certificates.authorities(&scene.path("odd.pem"));
    assert!(matches!(wrong, Err(TlsError::Authority(file, _)) if file == scene.path("odd.pem")));
}

#[test]
fn a_client_must_show_a_good_certificate_where_it_is_required() {
    let scene = Scene::new();
    let spec = ListenerTlsSpec { client_ca: Some(scene.path("ca.pem")), ..scene.listener() };
    let server = scene.server(&spec);
    assert!(shake(&scene.client(None), &server).is_err());
    assert!(shake(&scene.client(Some(stranger(&scene))), &server).is_err());

    let session = shake(&scene.client(Some(scene.issue("alice", &["alice@shop.example"]))), &server).unwrap();
    let identity = Identity::of_peer(session.server.peer_certificates()).unwrap();
    assert_eq!(identity.subject, "CN=alice");
}

#[test]
fn a_client_may_come_without_a_certificate_where_it_is_optional() {
    let scene = Scene::new();
    let spec = ListenerTlsSpec {
        client_ca: Some(scene.path("ca.pem")),
        client_certificate: ClientCertificate::Optional,
        ..scene.listener()
    };
    let server = scene.server(&spec);
    let session = shake(&scene.client(None), &server).unwrap();
    assert_eq!(Identity::of_peer(session.server.peer_certificates()), None);
    assert!(shake(&scene.client(Some(stranger(&scene))), &server).is_err());
}

/// A certificate by an authority that nobody knows.
fn stranger(scene: &Scene) -> CertificateSpec {
    let (cert, key) = Authority::new().issue(scene.folder.path(), "stranger", &["alice@shop.example"]);
    CertificateSpec { cert, key }
}

#[test]
fn authorities_that_change_are_those_of_the_next_handshake() {
    let scene = Scene::new();
    let spec = ListenerTlsSpec { client_ca: Some(scene.path("clients.pem")), ..scene.listener() };
    std::fs::copy(scene.path("ca.pem"), scene.path("clients.pem")).unwrap();
    let server = scene.server(&spec);
    let client = scene.client(Some(scene.issue("alice", &[])));
    let mut before = shake(&client, &server).unwrap();

    let others = tempfile::tempdir().unwrap();
    std::fs::copy(Authority::new().ca_path(others.path()), scene.path("clients.pem")).unwrap();
    scene.certificates.refresh();
    assert!(shake(&client, &server).is_err());
    assert!(before.is_open());
}

#[test]
fn sessions_are_resumed_only_where_no_client_is_to_be_checked() {
    let scene = Scene::new();
    let mut client = (*scene.client(Some(scene.issue("alice", &[])))).clone();
    client.resumption = Resumption::default();
    let client = Arc::new(client);
    let plain = scene.listener();
    let checked = ListenerTlsSpec { client_ca: Some(scene.path("ca.pem")), ..plain.clone() };
    for (spec, expect) in [(plain, HandshakeKind::Resumed), (checked, HandshakeKind::Full)] {
        let server = scene.server(&spec);
        shake(&client, &server).unwrap();
        assert_eq!(shake(&client, &server).unwrap().server.handshake_kind(), Some(expect));
    }
}

#[test]
fn an_old_version_is_refused_where_the_listener_says_so() {
    let scene = Scene::new();
    let mut roots = rustls::RootCertStore::empty();
    let authority = std::fs::read(scene.path("ca.pem")).unwrap();
    roots.add(rustls::pki_types::pem::PemObject::from_pem_slice(&authority).unwrap()).unwrap();
    let old = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS12]);
    let old = Arc::new(old.unwrap().with_root_certificates(roots).with_no_client_auth());
    let any = scene.listener();
    let new = ListenerTlsSpec { min_version: TlsVersion::Tls13, ..any.clone() };
    assert!(shake(&old, &scene.server(&any)).is_ok());
    assert!(shake(&old, &scene.server(&new)).is_err());
}

#[test]
fn a_member_must_have_the_name_that_it_is_asked_for() {
    let scene = Scene::new();
    let listener = ListenerTlsSpec {
        certificates: vec![scene.issue("member", &["member.example", "127.0.0.1"])],
        ..scene.listener()
    };
    let (server, client) = (scene.server(&listener), scene.client(None));
    for (name, expect) in [("member.example", true), ("127.0.0.1", true), ("other.example", false), ("::1", false)] {
        assert_eq!(shake_with(&client, &server, name).is_ok(), expect, "{name}");
    }
}

#[test]
fn a_member_s_name_is_the_configured_one_or_its_address() {
    let scene = Scene::new();
    let check = |name: Option<&str>, address: &str, expect: Option<&str>| {
        let server_name = name.map(str::to_owned);
        let spec = MemberTlsSpec { ca: scene.path("ca.pem"), server_name, certificate: None };
        let address: crate::address::Address = address.parse().unwrap();
        let tls = PoolTls::new(&spec, Protocol::Http1, &[address.clone().into()], &scene.certificates);
        let found = tls.ok().and_then(|tls| Some(tls.server_name(&address)?.to_str().into_owned()));
        assert_eq!(found.as_deref(), expect, "{name:?} {address}");
    };
    check(Some("member.example"), "192.0.2.7:443", Some("member.example"));
    check(Some("192.0.2.9"), "192.0.2.7:443", Some("192.0.2.9"));
    check(None, "192.0.2.7:443", Some("192.0.2.7"));
    check(None, "[2001:db8::1]:443", Some("2001:db8::1"));
    check(Some("member.example"), "unix:/run/app.sock", Some("member.example"));
    check(None, "unix:/run/app.sock", None);
    check(Some("not a name"), "192.0.2.7:443", None);
}

#[test]
fn what_is_used_is_known_once_and_forgotten_after() {
    let scene = Scene::new();
    let spec = scene.listener();
    let server = scene.server(&spec);
    assert!(Arc::ptr_eq(&server, &scene.server(&spec)));
    let client = scene.client(None);
    assert!(Arc::ptr_eq(&client, &scene.client(None)));
    let certificate = Arc::downgrade(&scene.certificates.load(&spec.certificates[0]).unwrap());
    assert!(certificate.upgrade().is_some());
    drop(server);
    assert!(certificate.upgrade().is_none());
}
