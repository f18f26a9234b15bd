//! TLS on both sides: what we show and whom we believe, read from files that may change while we serve.
//!
//! A release is made of [`server`] and [`client`] configurations, which are made of [`certificates`]: these outlive
//! releases, and follow their files. Handshakes read them in place, so that new content costs no connection. Accepting
//! and connecting are not here.

pub mod certificates;
pub mod server;
pub mod client;
pub mod identity;
mod from_files;
mod names;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem;
use rustls::{SupportedProtocolVersion, version};

use crate::spec::listener::TlsVersion;
use crate::spec::member::Whereabouts;

/// Why TLS cannot be had as it is described. Names the file in which something must be done.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] io::Error),
    /// A file breaks off, or holds what is no PEM.
    #[error("{0} is not well-formed PEM")]
    Pem(PathBuf, #[source] pem::Error),
    /// A file without a certificate.
    #[error("{0} holds no certificate; expected PEM with `BEGIN CERTIFICATE`")]
    NoCertificate(PathBuf),
    /// A file without a key that we can read.
    #[error("{0} holds no private key; expected PEM with `BEGIN PRIVATE KEY`, not encrypted")]
    NoKey(PathBuf),
    /// A certificate that does not parse, or has a key of a kind we do not have.
    #[error("the certificate in {0} cannot be used")]
    Certificate(PathBuf, #[source] rustls::Error),
    /// A private key that does not parse, or is of a kind we do not have.
    #[error("the private key in {0} cannot be used")]
    Key(PathBuf, #[source] rustls::Error),
    /// A key of some other certificate.
    #[error("the private key in {key} does not belong to the first certificate in {cert}")]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A certificate that cannot sign others.
    #[error("a certificate in {0} cannot be a certificate authority's")]
    Authority(PathBuf, #[source] rustls::Error),
    /// Not the name of a server.
    #[error("expected a DNS name or an IP address as `server_name`, got `{0}`")]
    ServerName(String),
    /// Nothing to compare a member's certificate with.
    #[error("member {0} has no IP address that its certificate could name; expected a `server_name`")]
    NoServerName(Whereabouts),
}

/// The cryptography of everything here. Not the process's default: what somebody installs there changes nothing.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    PROVIDER.clone()
}

/// What may be spoken, from `lowest` on.
fn versions(lowest: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
    match lowest {
        TlsVersion::Tls12 => &BOTH,
        TlsVersion::Tls13 => &BOTH[..1],
    }
}

/// The authority of the tests through the front door.
#[cfg(test)]
#[path = "../../tests/it/certificates.rs"]
mod authority;

#[cfg(test)]
mod tests;
