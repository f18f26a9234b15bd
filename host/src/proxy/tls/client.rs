//! TLS as we speak it to members: whom we believe them to be, and what we show of ourselves.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::certificates::{Authorities, Certificate, Certificates};
use super::{TlsError, provider, versions};
use crate::address::Address;
use crate::spec::listener::TlsVersion;
use crate::spec::member::{MemberSpec, Whereabouts};
use crate::spec::pool::{MemberTlsSpec, Protocol};

/// TLS to the members of a pool.
pub struct PoolTls {
    /// What handshakes with any of them need. The same one for as long as nothing about it changes, over all releases.
    pub config: Arc<ClientConfig>,
    /// The name that all members have; each its own address where there is none.
    name: Option<ServerName<'static>>,
}

impl PoolTls {
    /// TLS to these members.
    ///
    /// # Errors
    /// What is wrong with the files it names, or a member that has no name to be checked.
    pub fn new(
        spec: &MemberTlsSpec,
        protocol: Protocol,
        members: &[MemberSpec],
        certificates: &Certificates,
    ) -> Result<Self, TlsError> {
        let name = |name: &String| ServerName::try_from(name.clone()).map_err(|_| TlsError::ServerName(name.clone()));
        let name = spec.server_name.as_ref().map(name).transpose()?;
        let nameless = members.iter().find(|member| !matches!(member.at, Whereabouts::Address(Address::Tcp(_))));
        if let (None, Some(member)) = (&name, nameless) {
            return Err(TlsError::NoServerName(member.at.clone()));
        }
        Ok(Self { config: client_config(spec, protocol, certificates)?, name })
    }

    /// The name that a member's certificate must have.
    pub fn server_name(&self, member: &Address) -> Option<ServerName<'static>> {
        let own = || Some(ServerName::IpAddress(member.tcp()?.ip().into()));
        self.name.clone().or_else(own)
    }
}

/// What a pool needs for its handshakes: the configuration that is known, or a new one.
///
/// # Errors
/// What is wrong with the files it names.
pub fn client_config(
    spec: &MemberTlsSpec,
    protocol: Protocol,
    certificates: &Certificates,
) -> Result<Arc<ClientConfig>, TlsError> {
    let key = (spec.ca.clone(), spec.certificate.clone(), protocol);
    certificates.clients.get_or_make(key, || make(spec, protocol, certificates).map(Arc::new))
}

fn make(spec: &MemberTlsSpec, protocol: Protocol, certificates: &Certificates) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(versions(TlsVersion::Tls12)).expect("ring speaks both versions");
    let members = Members(certificates.authorities(&spec.ca)?);
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(members));
    let mut config = match &spec.certificate {
        None => builder.with_no_client_auth(),
        Some(spec) => builder.with_client_cert_resolver(Arc::new(Ours(certificates.load(spec)?))),
    };
    config.alpn_protocols = vec![match protocol {
        Protocol::Http1 => b"http/1.1".to_vec(),
        Protocol::Http2 => b"h2".to_vec(),
    }];
    // Connections to members are kept, and seldom made. A resumed session would go on with a member that the
    // authorities no longer vouch for, and with a certificate of ours that has been replaced.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Our own certificate, as it is at the moment.
#[derive(Debug)]
struct Ours(Arc<Certificate>);

impl ResolvesClientCert for Ours {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // Whoever asks for one gets it, whatever authorities it hints at: there is no other to choose.
        Some(self.0.key()).filter(|key| key.key.choose_scheme(schemes).is_some())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Checks members' certificates against the authorities as they are at the moment. Nobody else is believed.
#[derive(Debug)]
struct Members(Arc<Authorities>);

impl ServerCertVerifier for Members {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.believed().members.verify_server_cert(certificate, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.believed().members.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.believed().members.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.believed().members.supported_verify_schemes()
    }
}
