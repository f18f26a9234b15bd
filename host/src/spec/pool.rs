//! A pool as data: its members, and how they are spoken to.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::listener::CertificateSpec;
use crate::address::Address;

/// A set of members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSpec {
    /// Their addresses.
    pub members: Vec<Address>,
    /// What they speak.
    #[serde(default)]
    pub protocol: Protocol,
    /// How connections to them are secured; `None` is plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<MemberTlsSpec>,
    /// The PROXY protocol header that connections to them begin with. Such a connection serves one request: the header
    /// speaks for one client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyVersion>,
    /// Time to reach a member, a TLS handshake included.
    pub connect_timeout: Duration,
    /// Time until a member's answer begins.
    pub response_timeout: Duration,
}

/// What a member speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    #[serde(rename = "http1")]
    Http1,
    /// HTTP/2: by ALPN over TLS, by prior knowledge over plain text.
    #[serde(rename = "http2")]
    Http2,
}

/// TLS to members.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MemberTlsSpec {
    /// Who may sign members' certificates, in PEM.
    pub ca: PathBuf,
    /// The name that members' certificates must have, and that is asked for (SNI). An IP address is checked, but not
    /// asked for. `None` is the member's own IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// What we show of ourselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateSpec>,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProxyVersion {
    /// A line of text.
    #[serde(rename = "v1")]
    V1,
    /// Binary.
    #[serde(rename = "v2")]
    V2,
}

impl Default for PoolSpec {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            protocol: Protocol::default(),
            tls: None,
            proxy_protocol: None,
            // Two SYNs: a lost one is sent again after a second.
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(30),
        }
    }
}
