//! Certificates, and the authorities we believe: one of each for all releases that name its files.
//!
//! Known for as long as some release uses them. They follow their files: a renewed certificate is in the next
//! handshake, and no connection ends for it. What is wrong with a file when a release is made refuses the release; what
//! becomes wrong later is logged, and the last that was good stays.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::time::MissedTickBehavior;

use super::from_files::{FromFiles, Known};
use super::server::Resolver;
use super::{TlsError, names, provider};
use crate::spec::listener::{CertificateSpec, ListenerTlsSpec};
use crate::spec::pool::Protocol;

/// How often to look whether files have changed.
const LOOK: Duration = Duration::from_secs(1);

/// Certificates and authorities that some release uses.
#[derive(Default)]
pub struct Certificates {
    certificates: Known<CertificateSpec, Certificate>,
    authorities: Known<PathBuf, Authorities>,
    /// A listener that stays as it is keeps its configuration over a switch, and with it the key of its tickets.
    pub(super) servers: Known<ListenerTlsSpec, ServerConfig>,
    /// By what they depend on: authorities, our certificate, protocol.
    pub(super) clients: Known<(PathBuf, Option<CertificateSpec>, Protocol), ClientConfig>,
    resolvers: Mutex<Vec<Weak<Resolver>>>,
}

impl Certificates {
    /// The certificate in these files: the one that is known, or read now.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub fn load(&self, spec: &CertificateSpec) -> Result<Arc<Certificate>, TlsError> {
        let read = || FromFiles::read([spec.cert.clone(), spec.key.clone()], certified).map(Certificate).map(Arc::new);
        self.certificates.get_or_make(spec.clone(), read)
    }

    /// The authorities in this file: those that are known, or read now.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn authorities(&self, file: &Path) -> Result<Arc<Authorities>, TlsError> {
        let read = || FromFiles::read([file.to_owned()], believed).map(Authorities).map(Arc::new);
        self.authorities.get_or_make(file.to_owned(), read)
    }

    /// Has the resolver arrange its certificates, now and whenever one of them is read anew.
    pub(super) fn keep_arranged(&self, resolver: &Arc<Resolver>) {
        // Arranged under the lock, so that of two that arrange the later one has the later certificates.
        let mut resolvers = self.resolvers.lock().unwrap_or_else(PoisonError::into_inner);
        resolvers.retain(|resolver| resolver.strong_count() > 0);
        resolvers.push(Arc::downgrade(resolver));
        resolver.arrange();
    }

    /// Takes in what has changed, where it is good. Reads files: call it where a disk that hangs is no harm.
    pub fn refresh(&self) {
        for authorities in self.authorities.all() {
            authorities.0.refresh();
        }
        let renewed = self.certificates.all().iter().filter(|certificate| certificate.0.refresh()).count();
        if renewed > 0 {
            let resolvers = self.resolvers.lock().unwrap_or_else(PoisonError::into_inner);
            resolvers.iter().filter_map(Weak::upgrade).for_each(|resolver| resolver.arrange());
        }
    }

    /// Refreshes every second, for ever.
    pub async fn keep_fresh(self: Arc<Self>) {
        let mut every = tokio::time::interval(LOOK);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let certificates = self.clone();
            let _ = tokio::task::spawn_blocking(move || certificates.refresh()).await;
        }
    }
}

/// A certificate chain and its key, as its files last were when they were good.
pub struct Certificate(FromFiles<Certified>);

impl Certificate {
    /// The chain and its key at this moment.
    pub fn key(&self) -> Arc<CertifiedKey> {
        self.0.get().key.clone()
    }

    /// The chain and its key, and the DNS names they are for.
    pub(super) fn certified(&self) -> Arc<Certified> {
        self.0.get().clone()
    }
}

/// A key and what it is certified for.
pub(super) struct Certified {
    pub(super) key: Arc<CertifiedKey>,
    /// DNS names, lower-case, some with a `*.` before.
    pub(super) names: Vec<String>,
}

fn certified(files: &[PathBuf], contents: &[Vec<u8>]) -> Result<Certified, TlsError> {
    let [cert, key] = files else { unreachable!("a certificate has two files") };
    let chain = chain(cert, &contents[0])?;
    let private = PrivateKeyDer::from_pem_slice(&contents[1]).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey(key.clone()),
        error => TlsError::Pem(key.clone(), error),
    })?;
    let private =
        provider().key_provider.load_private_key(private).map_err(|error| TlsError::Key(key.clone(), error))?;
    let names = names::of(&chain[0]).dns();
    let certified = CertifiedKey::new(chain, private);
    match certified.keys_match() {
        // A kind of key that does not tell is found out in the first handshake; ring has none.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(TlsError::Mismatch { cert: cert.clone(), key: key.clone() });
        }
        Err(error) => return Err(TlsError::Certificate(cert.clone(), error)),
    }
    Ok(Certified { key: Arc::new(certified), names })
}

/// The certificates in a file; never none.
fn chain(file: &Path, content: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    let chain = chain.map_err(|error| TlsError::Pem(file.to_owned(), error))?;
    if chain.is_empty() { Err(TlsError::NoCertificate(file.to_owned())) } else { Ok(chain) }
}

/// Certificate authorities, as their file last was when it was good.
pub struct Authorities(FromFiles<Believed>);

impl Authorities {
    pub(super) fn believed(&self) -> Arc<Believed> {
        self.0.get().clone()
    }
}

/// Who checks what the other side shows. Made when the file is read: a handshake only asks.
pub(super) struct Believed {
    pub(super) clients: Arc<dyn ClientCertVerifier>,
    pub(super) members: Arc<WebPkiServerVerifier>,
}

fn believed(files: &[PathBuf], contents: &[Vec<u8>]) -> Result<Believed, TlsError> {
    let file = &files[0];
    let mut roots = RootCertStore::empty();
    for certificate in chain(file, &contents[0])? {
        roots.add(certificate).map_err(|error| TlsError::Authority(file.clone(), error))?;
    }
    let roots = Arc::new(roots);
    let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider()).build();
    let members = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
    let (Ok(clients), Ok(members)) = (clients, members) else { unreachable!("there are roots, and no revocations") };
    Ok(Believed { clients, members })
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({:?})", self.0.files())
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({:?})", self.0.files())
    }
}
