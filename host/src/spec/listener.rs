//! A listener as data: where connections are accepted, what is spoken on them, and what they may take.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::address::Address;

/// Where connections are accepted, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerSpec {
    /// Where it listens.
    pub address: Address,
    /// Its certificates; `None` is plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTlsSpec>,
    /// Whether every connection begins with a PROXY protocol header, version 1 or 2.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Networks of the proxies in front of us: what they say about whom they speak for is believed. A Unix socket's
    /// peers are trusted by its file permissions.
    #[serde(default)]
    pub trusted: Vec<IpNet>,
    /// In which fields they say it.
    #[serde(default)]
    pub believe: Believe,
    /// What its connections may take.
    #[serde(default)]
    pub limits: ListenerLimits,
}

/// The fields in which trusted proxies say whom they speak for. Only one kind is believed: of the other kind, a proxy
/// that does not know it passes on what its client wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Believe {
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// TLS of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ListenerTlsSpec {
    /// Chosen by the name that the client asks for (SNI); the first serves those who ask for none that is known.
    pub certificates: Vec<CertificateSpec>,
    /// Who may sign clients' certificates, in PEM; `None` asks for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    /// Whether a client may come without a certificate.
    #[serde(default)]
    pub client_certificate: ClientCertificate,
    /// The lowest version that is spoken.
    #[serde(default)]
    pub min_version: TlsVersion,
}

/// A certificate chain and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CertificateSpec {
    /// The chain, the certificate itself first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Whether clients must show a certificate, where a `client_ca` says which are good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificate {
    /// The handshake fails without one.
    #[default]
    Required,
    /// One that is shown must be good.
    Optional,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    Tls13,
}

/// What a listener's connections may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListenerLimits {
    /// Time for a whole request head, for a TLS handshake, and for a PROXY protocol header.
    pub head_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// Bytes of a request's head, and of its trailers.
    pub head_bytes_max: usize,
    /// Fields of a request's head, and of its trailers.
    pub fields_max: usize,
    /// Connections, over all workers.
    pub connections_max: u32,
    /// Connections of one client: one IPv4 address, or one IPv6 network of 64 bits.
    pub connections_per_client_max: u32,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            head_bytes_max: 64 * 1024,
            fields_max: 100,
            connections_max: 20_000,
            connections_per_client_max: 20_000,
            streams_max: 128,
        }
    }
}

/// Whether an address is in one of these networks. One of IPv4 that came as one of IPv6 is what it stands for.
pub fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

impl ListenerSpec {
    /// Whether what this address says of others is believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        is_in(&self.trusted, address)
    }

    /// Plain text at this address, with the defaults of all else.
    pub fn plain(address: Address) -> Self {
        Self {
            address,
            tls: None,
            proxy_protocol: false,
            trusted: Vec::new(),
            believe: Believe::default(),
            limits: ListenerLimits::default(),
        }
    }

    /// Names its sockets: they stay open as long as a release has a listener of the same id. That is the address, and
    /// for port 0, of which there can be several, the name as well.
    pub fn id(&self, name: &str) -> String {
        let address = self.address.to_string();
        match &self.address {
            Address::Tcp(tcp) if tcp.port() == 0 && name != address => format!("{name}@{address}"),
            _ => address,
        }
    }
}
