//! TLS as a listener speaks it: which certificate it shows, and which of its clients' it takes.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};

use super::certificates::{Authorities, Certificate, Certificates};
use super::{TlsError, provider, versions};
use crate::spec::listener::{ClientCertificate, ListenerTlsSpec};

/// What a listener needs for its handshakes: the configuration that is known, where nothing about it has changed, or a
/// new one.
///
/// # Errors
/// What is wrong with the files it names.
pub fn server_config(spec: &ListenerTlsSpec, certificates: &Certificates) -> Result<Arc<ServerConfig>, TlsError> {
    certificates.servers.get_or_make(spec.clone(), || make(spec, certificates).map(Arc::new))
}

fn make(spec: &ListenerTlsSpec, certificates: &Certificates) -> Result<ServerConfig, TlsError> {
    let resolver = Resolver {
        certificates: spec.certificates.iter().map(|spec| certificates.load(spec)).collect::<Result<_, _>>()?,
        keys: ArcSwap::default(),
    };
    let resolver = Arc::new(resolver);
    certificates.keep_arranged(&resolver);

    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(versions(spec.min_version)).expect("ring speaks both versions");
    let clients = match &spec.client_ca {
        None => None,
        Some(file) => Some(Clients {
            authorities: certificates.authorities(file)?,
            must_show_one: spec.client_certificate == ClientCertificate::Required,
        }),
    };
    let knows_clients = clients.is_some();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(Arc::new(clients)),
    };
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // What a resumed session needs is in its ticket; a store would be shared between the workers, and grow.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if knows_clients {
        // A resumed session carries the certificate that was good when it began. Whoever is no longer believed, or
        // whose certificate has expired, would stay for as long as it keeps resuming: here every connection is checked.
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = rustls::crypto::ring::Ticketer::new().expect("the system has randomness");
    }
    Ok(config)
}

/// Chooses a certificate by the name that the client asks for.
#[derive(Debug)]
pub(super) struct Resolver {
    /// As the listener has them.
    certificates: Box<[Arc<Certificate>]>,
    keys: ArcSwap<Keys>,
}

/// Keys by the names they are certified for; of equal names in the order of the listener.
#[derive(Debug, Default)]
struct Keys {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what follows the `*.`.
    wildcards: HashMap<String, Vec<Arc<CertifiedKey>>>,
    all: Vec<Arc<CertifiedKey>>,
}

impl Resolver {
    /// Takes the certificates as they are now.
    pub(super) fn arrange(&self) {
        let mut keys = Keys::default();
        for certificate in &self.certificates {
            let certified = certificate.certified();
            for name in &certified.names {
                let (table, name) = match name.strip_prefix("*.") {
                    Some(name) => (&mut keys.wildcards, name),
                    None => (&mut keys.exact, name.as_str()),
                };
                table.entry(name.to_owned()).or_default().push(certified.key.clone());
            }
            keys.all.push(certified.key.clone());
        }
        self.keys.store(Arc::new(keys));
    }
}

impl Keys {
    /// The keys to choose from, best first. The first certificate serves those who ask for none that is known: a client
    /// that does not like it says so better than we could.
    fn of(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(name) = name else { return &self.all };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let exact = self.exact.get(&name);
        // RFC 9525, 6.3: a `*` stands for one label.
        let found = exact.or_else(|| self.wildcards.get(name.split_once('.')?.1));
        found.unwrap_or(&self.all)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = self.keys.load();
        let keys = keys.of(hello.server_name());
        // One name may have certificates of two kinds, such as RSA for those who know nothing newer.
        let fitting = keys.iter().find(|key| key.key.choose_scheme(hello.signature_schemes()).is_some());
        fitting.or(keys.first()).cloned()
    }
}

/// Checks clients' certificates against the authorities as they are at the moment.
#[derive(Debug)]
struct Clients {
    authorities: Arc<Authorities>,
    must_show_one: bool,
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.must_show_one
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // None: clients show what they have. A hint would be of the authorities as they once were.
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.authorities.believed().clients.verify_client_cert(certificate, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.believed().clients.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.believed().clients.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.believed().clients.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::authority::Authority;
    use super::*;
    use crate::proxy::tls::identity::Identity;
    use crate::spec::listener::CertificateSpec;

    fn chosen(asked: Option<&str>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let (authority, certificates) = (Authority::new(), Certificates::default());
        let load = |(name, names): (&str, &[&str])| {
            let (cert, key) = authority.issue(folder.path(), name, names);
            certificates.load(&CertificateSpec { cert, key }).unwrap()
        };
        let issued: [(&str, &[&str]); 4] = [
            ("first", &["first.example"]),
            ("exact", &["shop.example", "a.shop.example"]),
            ("wildcard", &["*.shop.example", "shop.example"]),
            ("deep", &["*.a.shop.example"]),
        ];
        let resolver = Resolver { certificates: issued.map(load).into(), keys: ArcSwap::default() };
        resolver.arrange();
        let keys = resolver.keys.load();
        Identity::of(&keys.of(asked)[0].cert[0]).subject
    }

    #[test]
    fn a_certificate_is_chosen_by_the_name_that_is_asked_for() {
        assert_eq!(chosen(Some("shop.example")), "CN=exact");
        assert_eq!(chosen(Some("SHOP.example")), "CN=exact");
        assert_eq!(chosen(Some("a.shop.example")), "CN=exact");
        assert_eq!(chosen(Some("b.shop.example")), "CN=wildcard");
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        assert_eq!(chosen(Some("b.a.shop.example")), "CN=deep");
        assert_eq!(chosen(Some("c.b.shop.example")), "CN=first");
    }

    #[test]
    fn the_first_certificate_serves_those_who_ask_for_none_that_is_known() {
        assert_eq!(chosen(Some("elsewhere.example")), "CN=first");
        assert_eq!(chosen(Some("localhost")), "CN=first");
        assert_eq!(chosen(None), "CN=first");
    }
}
