//! TLS at a listener: what is agreed on, which certificate is shown, what becomes of it when its file changes, and whom
//! clients have proven to be.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::Request;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use switchback_plugins as plugins;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificates::Authority;
use crate::peers::{Speaks, dial, http2};
use crate::support::{Answer, Host, Member, PATIENCE, until, whole};

/// A client of TLS, before it connects.
pub(crate) struct Secure {
    ca: PathBuf,
    own: Option<(PathBuf, PathBuf)>,
    alpn: Vec<Vec<u8>>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl Secure {
    /// One that believes `ca`.
    pub(crate) fn new(ca: &Path) -> Self {
        Self { ca: ca.to_owned(), own: None, alpn: Vec::new(), versions: rustls::ALL_VERSIONS.to_vec() }
    }

    fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        self
    }

    fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    fn showing(mut self, own: &(PathBuf, PathBuf)) -> Self {
        self.own = Some(own.clone());
        self
    }

    /// Connects, and asks for `name`.
    pub(crate) async fn dial(&self, address: SocketAddr, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        self.over(dial(address).await, name).await
    }

    async fn over(&self, stream: TcpStream, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ca).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_protocol_versions(&self.versions).unwrap().with_root_certificates(roots);
        let mut config = match &self.own {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => builder.with_client_auth_cert(chain(cert), private_key(key)).unwrap(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// Asks for `/` in HTTP/1.1; the answer's text, or why there is none.
    async fn ask(&self, host: &Host) -> Result<String, String> {
        let stream = self.dial(host.address(), "shop.example").await.map_err(|error| error.to_string())?;
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("/").header("host", "shop.example").header("client-cert", ":AAAA:");
        match sender.send_request(request.body(whole("")).unwrap()).await {
            Ok(answer) => Ok(Answer::of(answer).await.body),
            Err(error) => Err(format!("{error:?}")),
        }
    }
}

pub(crate) fn chain(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect()
}

pub(crate) fn private_key(path: &Path) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(path).unwrap()
}

/// The keys of a listener with certificates for `NAME.example` of these names.
pub(crate) fn secured(folder: &Path, authority: &Authority, names: &[&str]) -> String {
    let certificates = names.iter().map(|name| {
        let (cert, key) = authority.issue(folder, name, &[&format!("{name}.example")]);
        format!("{{ cert = \"{}\", key = \"{}\" }}", cert.display(), key.display())
    });
    format!("certificates = [{}]", certificates.collect::<Vec<_>>().join(", "))
}

/// A host whose listener has certificates for these names, and these keys.
async fn host(folder: &Path, authority: &Authority, names: &[&str], keys: &str) -> (Host, Member, Secure) {
    let member = Member::echoing().await;
    let keys = format!("{}\n{keys}", secured(folder, authority, names));
    let host = Host::with().pool("blue", &[&member]).front(&keys, "pool = \"blue\"").start().await;
    (host, member, Secure::new(&authority.ca_path(folder)))
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_spoken_is_agreed_on() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (host, _member, mut client) = host(folder.path(), &authority, &["shop"], "").await;
    let offers: [(&[&str], Option<&str>, Speaks); 4] = [
        (&["h2", "http/1.1"], Some("h2"), Speaks::Http2),
        (&["h2"], Some("h2"), Speaks::Http2),
        (&["http/1.1"], Some("http/1.1"), Speaks::Http1),
        (&[], None, Speaks::Http1),
    ];
    for (offered, agreed, speaks) in offers {
        client = client.alpn(offered);
        let stream = client.dial(host.address(), "shop.example").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed.map(str::as_bytes));
        let request = Request::get("https://shop.example/").body(whole("")).unwrap();
        let told = Answer::of(speaks.ask_on(stream, request).await).await.body;
        assert!(told.contains("\nx-forwarded-proto: https\n"), "{offered:?}: {told}");
    }
    assert!(client.alpn(&["ftp"]).dial(host.address(), "shop.example").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_is_that_of_the_name_asked_for() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (host, _member, client) = host(folder.path(), &authority, &["shop", "cart"], "").await;
    for name in ["shop", "cart"] {
        let stream = client.dial(host.address(), &format!("{name}.example")).await.unwrap();
        assert_eq!(shown(&stream), chain(&folder.path().join(format!("{name}.pem")))[0]);
    }
    // For any other name it is the first, which such a client refuses itself.
    let error = client.dial(host.address(), "other.example").await.unwrap_err();
    assert!(error.to_string().contains("shop.example"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_tls_are_spoken_unless_one_is_too_old() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (both, _member, mut client) = host(folder.path(), &authority, &["shop"], "").await;
    let (newer, _member, _) = host(folder.path(), &authority, &["shop"], "min_tls_version = \"1.3\"").await;
    client = client.version(&rustls::version::TLS12);
    assert!(client.ask(&both).await.is_ok());
    assert!(client.ask(&newer).await.is_err());
    client = client.version(&rustls::version::TLS13);
    assert!(client.ask(&both).await.is_ok());
    assert!(client.ask(&newer).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_replaced_costs_no_request() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (host, _member, client) = host(folder.path(), &authority, &["shop"], "").await;
    let before = client.dial(host.address(), "shop.example").await.unwrap();
    let first = shown(&before);
    let mut kept = http2(before_h2(&host, &client).await).await;
    let (asking, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let requests = tokio::spawn({
        let (asking, asked, address) = (asking.clone(), asked.clone(), host.address());
        let client = Secure::new(&client.ca);
        async move {
            while asking.load(Ordering::SeqCst) {
                let stream = client.dial(address, "shop.example").await.expect("a handshake");
                let request = Request::get("https://shop.example/").body(whole("")).unwrap();
                assert_eq!(Speaks::Http1.ask_on(stream, request).await.status(), 200);
                asked.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    authority.issue(folder.path(), "shop", &["shop.example"]);
    let end = tokio::time::Instant::now() + PATIENCE;
    while shown(&client.dial(host.address(), "shop.example").await.unwrap()) == first {
        assert!(tokio::time::Instant::now() < end, "the old certificate is still shown");
    }
    let so_far = asked.load(Ordering::SeqCst);
    until("more requests", || asked.load(Ordering::SeqCst) > so_far).await;
    asking.store(false, Ordering::SeqCst);
    requests.await.unwrap();
    // What was opened before goes on.
    let request = Request::get("https://shop.example/").body(whole("")).unwrap();
    assert_eq!(kept.send_request(request).await.unwrap().status(), 200);
}

async fn before_h2(host: &Host, client: &Secure) -> TlsStream<TcpStream> {
    Secure::new(&client.ca).alpn(&["h2"]).dial(host.address(), "shop.example").await.unwrap()
}

/// A host whose listener asks for certificates, with a policy that knows alice.
async fn knowing_alice(folder: &Path, authority: &Authority, keys: &str) -> (Host, Member, Member, Secure) {
    let (blue, green) = (Member::named("blue").await, Member::echoing().await);
    let ca = authority.ca_path(folder);
    let keys = format!("{}\nclient_ca = \"{}\"\n{keys}", secured(folder, authority, &["shop"]), ca.display());
    let host = Host::with()
        .pool("blue", &[&blue])
        .pool("green", &[&green])
        .policy("web", plugins::BY_CERTIFICATE)
        .front(&keys, "policy = \"web\"")
        .config("[policies.web.config]\notherwise = \"blue\"\nclients = { \"CN=alice\" = \"green\" }")
        .start()
        .await;
    (host, blue, green, Secure::new(&ca))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_must_show_a_certificate_is_known_by_it() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (host, _blue, _green, client) = knowing_alice(folder.path(), &authority, "").await;
    assert!(client.ask(&host).await.is_err());

    let alice = authority.issue(folder.path(), "alice", &[]);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = Secure::new(&client.ca).showing(&alice).version(version);
        let told = client.ask(&host).await.unwrap();
        // RFC 9440, 2.2, and not what the client itself said.
        let field = format!("\nclient-cert: :{}:\n", BASE64_STANDARD.encode(&chain(&alice.0)[0]));
        assert!(told.contains(&field) && told.matches("client-cert").count() == 1, "{told}");
    }
    let bob = authority.issue(folder.path(), "bob", &[]);
    assert_eq!(Secure::new(&client.ca).showing(&bob).ask(&host).await.unwrap(), "blue");

    let theirs = tempfile::tempdir().unwrap();
    let forged = Authority::new().issue(theirs.path(), "alice", &[]);
    assert!(Secure::new(&client.ca).showing(&forged).ask(&host).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_may_show_a_certificate_need_not_but_a_bad_one_is_refused() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let keys = "client_certificate = \"optional\"";
    let (host, _blue, _green, client) = knowing_alice(folder.path(), &authority, keys).await;
    assert_eq!(client.ask(&host).await.unwrap(), "blue");
    let alice = authority.issue(folder.path(), "alice", &[]);
    assert!(Secure::new(&client.ca).showing(&alice).ask(&host).await.unwrap().contains("client-cert: :"));
    let theirs = tempfile::tempdir().unwrap();
    let forged = Authority::new().issue(theirs.path(), "alice", &[]);
    assert!(Secure::new(&client.ca).showing(&forged).ask(&host).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_protocol_header_comes_before_the_handshake() {
    use tokio::io::AsyncWriteExt;
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (host, _member, client) = host(folder.path(), &authority, &["shop"], "proxy_protocol = true").await;
    let mut stream = dial(host.address()).await;
    stream.write_all(b"PROXY TCP4 198.51.100.7 203.0.113.1 1234 443\r\n").await.unwrap();
    let stream = client.over(stream, "shop.example").await.unwrap();
    let request = Request::get("https://shop.example/").body(whole("")).unwrap();
    let told = Answer::of(Speaks::Http1.ask_on(stream, request).await).await.body;
    assert!(told.contains("\nx-forwarded-for: 198.51.100.7\n"), "{told}");
}
