//! Where something listens: an IP address and port, or a path of the file system.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A listener's or a member's address. Its text is `192.0.2.7:80`, `[2001:db8::1]:80` or `unix:/run/app.sock`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket; the path is absolute.
    Unix(PathBuf),
}

/// Not the text of an address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an IP address and port such as `127.0.0.1:8080`, or `unix:` and an absolute path, got `{0}`")]
pub struct NotAnAddress(pub String);

/// Bytes of a Unix socket's path: what `sockaddr_un` holds, without the closing NUL.
const PATH_BYTES_MAX: usize = 107;

impl Address {
    /// Its IP address and port, if it has them.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Whether it is any free port: then the same text can be two places.
    pub fn is_any_port(&self) -> bool {
        self.tcp().is_some_and(|address| address.port() == 0)
    }
}

/// In one word for IPv4, as each request looks for its member's connections.
impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Tcp(address) => match address.ip() {
                IpAddr::V4(ip) => state.write_u64(u64::from(ip.to_bits()) << 16 | u64::from(address.port())),
                IpAddr::V6(ip) => {
                    state.write_u128(ip.to_bits());
                    state.write_u16(address.port());
                }
            },
            Self::Unix(path) => path.hash(state),
        }
    }
}

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let wrong = || NotAnAddress(text.to_owned());
        match text.strip_prefix("unix:") {
            Some(path) if Path::new(path).is_absolute() && path.len() <= PATH_BYTES_MAX && !path.contains('\0') => {
                Ok(Self::Unix(path.into()))
            }
            Some(_) => Err(wrong()),
            None => text.parse().map(Self::Tcp).map_err(|_| wrong()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = NotAnAddress;

    fn try_from(text: String) -> Result<Self, NotAnAddress> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for text in ["192.0.2.7:80", "[2001:db8::1]:443", "unix:/run/app.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for text in ["here", "unix:", "unix:run/app.sock", "192.0.2.7", &format!("unix:/{}", "a".repeat(107))] {
            assert_eq!(text.parse::<Address>(), Err(NotAnAddress(text.into())));
        }
    }
}
