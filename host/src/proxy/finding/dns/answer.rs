//! What DNS is asked, and what it answers.

use std::net::IpAddr;
use std::time::Duration;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Places of a service.
    Srv,
}

/// Records of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// At least one.
    pub records: Vec<Record>,
    /// How long they may be believed: the least of theirs.
    pub ttl: Duration,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Record {
    /// Of A and AAAA.
    Address(IpAddr),
    /// Of SRV (RFC 2782).
    Place {
        /// The lowest is used, the others are for when it fails as a whole.
        priority: u16,
        /// Its part of the requests.
        weight: u16,
        /// The host's port.
        port: u16,
        /// The host's name, whole; `.` says that there is no such service.
        host: String,
    },
}

impl Record {
    /// Its address, if it is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Place { .. } => None,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// NXDOMAIN.
    #[error("`{0}` does not exist")]
    Unknown(String),
    /// There is a name, but no record of the kind.
    #[error("`{0}` has no such records")]
    Empty(String),
    /// A service whose only record says so.
    #[error("`{0}` is not offered, say its records")]
    NotOffered(String),
    /// A server's fault, such as SERVFAIL.
    #[error("the DNS server answers `{code}` for `{name}`")]
    Refused {
        /// What was asked for.
        name: String,
        /// In words.
        code: String,
    },
    /// Nobody's answer came.
    #[error("no DNS server answers for `{name}`")]
    Silent {
        /// What was asked for.
        name: String,
        /// What came instead.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nobody can be asked.
    #[error("no DNS server can be asked")]
    NoServer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl NoAnswer {
    /// Whether it is known that there is nothing; otherwise nothing is known.
    pub fn says_nothing_is_there(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Empty(_) | Self::NotOffered(_))
    }
}

/// Whoever can be asked.
pub trait Ask: Send + Sync + 'static {
    /// Asks for the records of one kind.
    fn ask(&self, name: &str, kind: Kind) -> impl Future<Output = Result<Answer, NoAnswer>> + Send;
}
