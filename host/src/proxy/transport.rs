//! How a pool's members are spoken to: in plain text or TLS, with what before it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::connector::{ConnectionKey, timed_out};
use super::exchange::Client;
use super::proxy_protocol;
use super::stream::{Plain, Stream};
use super::tls::TlsError;
use super::tls::certificates::Certificates;
use super::tls::client::PoolTls;
use crate::address::Address;
use crate::spec::PoolSpec;
use crate::spec::pool::{Protocol, ProxyVersion};

/// How a pool's members are spoken to.
pub struct Transport {
    /// Equal for equal ways: connections are shared between pools and releases whose ways are the same.
    pub id: u64,
    /// What is spoken.
    pub protocol: Protocol,
    /// What connections begin with.
    pub proxy_protocol: Option<ProxyVersion>,
    /// How they are secured; `None` is plain text.
    pub tls: Option<PoolTls>,
}

impl Transport {
    /// How `spec` wants its members to be spoken to.
    ///
    /// # Errors
    /// What is wrong with its certificates, or a member that has no name to be checked.
    pub fn new(spec: &PoolSpec, certificates: &Certificates) -> Result<Self, TlsError> {
        let tls = spec.tls.as_ref().map(|tls| PoolTls::new(tls, spec.protocol, &spec.members, certificates));
        let mut hasher = DefaultHasher::new();
        (spec.protocol, spec.proxy_protocol, &spec.tls).hash(&mut hasher);
        let (protocol, proxy_protocol) = (spec.protocol, spec.proxy_protocol);
        Ok(Self { id: hasher.finish(), protocol, proxy_protocol, tls: tls.transpose()? })
    }

    /// Which connections to this member are alike.
    pub fn key(&self, address: &Address) -> ConnectionKey {
        // A PROXY protocol header speaks for one client.
        ConnectionKey { address: address.clone(), transport: self.id, is_private: self.proxy_protocol.is_some() }
    }

    /// Opens a connection that requests can be sent on.
    ///
    /// # Errors
    /// Why it cannot be had, a time-out included.
    pub async fn connect(&self, address: &Address, client: Option<&Client>, timeout: Duration) -> io::Result<Stream> {
        let connect = async {
            let plain = match address {
                Address::Tcp(address) => {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    Plain::Tcp(stream)
                }
                Address::Unix(path) => Plain::Unix(UnixStream::connect(path).await?),
            };
            self.secure(address, plain, client).await
        };
        tokio::time::timeout(timeout, connect).await.map_err(|_| timed_out())?
    }

    /// Makes a new connection one that requests can be sent on.
    ///
    /// # Errors
    /// Why it cannot be.
    async fn secure(&self, address: &Address, mut plain: Plain, client: Option<&Client>) -> io::Result<Stream> {
        if let Some(version) = self.proxy_protocol {
            let mut header = BytesMut::new();
            // Without a client, as when it is checked: for nobody.
            let (address, local) = client.map_or((None, None), |client| (client.address, client.local));
            proxy_protocol::write(version, address, local, &mut header);
            plain.write_all(&header).await?;
        }
        let Some(tls) = &self.tls else { return Ok(Stream::Plain(plain)) };
        let name = tls.server_name(address).ok_or(io::ErrorKind::InvalidInput)?;
        let stream = TlsConnector::from(tls.config.clone()).connect(name, plain).await?;
        // RFC 9113, 3.3: over TLS it is agreed on, never assumed.
        if self.protocol == Protocol::Http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::other("the member does not speak HTTP/2 (ALPN)"));
        }
        Ok(Stream::Tls(Box::new(stream.into())))
    }
}
