//! A member as data: where it is, or how it is found, and its part of the pool's requests.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::address::Address;

/// A member of a pool, or several that are found under one name. As text alone where all else is as usual.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct MemberSpec {
    /// Where it is.
    pub at: Whereabouts,
    /// Its part of the pool's requests, beside those of the others: 1 to 1000.
    pub weight: u32,
    /// Where it stands: members in the zone of the proxy are preferred.
    pub zone: Option<String>,
    /// Whether it gets no new requests, but those of clients that are bound to it.
    pub drain: bool,
}

/// Where members are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Whereabouts {
    /// At one address.
    Address(Address),
    /// At all addresses that DNS gives for a host name (A and AAAA), and this port.
    Host(String, u16),
    /// At all hosts and ports that DNS gives for a service (SRV, RFC 2782).
    Service(String),
}

/// Not the text of a member.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an IP address and port such as `127.0.0.1:8080`, a host name and port such as `app.internal:8080`, `srv:` and a service such as `_http._tcp.app.internal`, or `unix:` and an absolute path, got `{0}`"
)]
pub struct NotAMember(pub String);

impl MemberSpec {
    /// A member like most.
    pub fn at(at: Whereabouts) -> Self {
        Self { at, weight: 1, zone: None, drain: false }
    }

    /// Whether its addresses have to be found.
    pub fn is_found(&self) -> bool {
        !matches!(self.at, Whereabouts::Address(_))
    }
}

impl From<Address> for MemberSpec {
    fn from(address: Address) -> Self {
        Self::at(Whereabouts::Address(address))
    }
}

impl FromStr for Whereabouts {
    type Err = NotAMember;

    fn from_str(text: &str) -> Result<Self, NotAMember> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let wrong = || NotAMember(text.to_owned());
        if let Some(service) = text.strip_prefix("srv:") {
            return is_name(service).then(|| Self::Service(service.to_ascii_lowercase())).ok_or_else(wrong);
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        (is_name(host) && !host.contains('_')).then(|| Self::Host(host.to_ascii_lowercase(), port)).ok_or_else(wrong)
    }
}

impl fmt::Display for Whereabouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
            Self::Service(service) => write!(f, "srv:{service}"),
        }
    }
}

impl TryFrom<String> for Whereabouts {
    type Error = NotAMember;

    fn try_from(text: String) -> Result<Self, NotAMember> {
        text.parse()
    }
}

impl From<Whereabouts> for String {
    fn from(at: Whereabouts) -> Self {
        at.to_string()
    }
}

/// Whether this is a name that DNS can be asked for (RFC 1123, 2.1), the `_` of services included.
pub fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    // A last label of digits alone is what is left of an IP address with a mistake in it.
    let is_numeric = name.rsplit('.').next().is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()));
    name.len() <= 253 && !is_numeric && name.split('.').all(is_label)
}

/// How a member is written: releases before this one have addresses alone.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Plain(Whereabouts),
    Whole {
        at: Whereabouts,
        #[serde(default = "one")]
        weight: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        drain: bool,
    },
}

fn one() -> u32 {
    1
}

impl From<Written> for MemberSpec {
    fn from(written: Written) -> Self {
        match written {
            Written::Plain(at) => Self::at(at),
            Written::Whole { at, weight, zone, drain } => Self { at, weight, zone, drain },
        }
    }
}

impl From<MemberSpec> for Written {
    fn from(member: MemberSpec) -> Self {
        let MemberSpec { at, weight, zone, drain } = member;
        if weight == 1 && zone.is_none() && !drain {
            return Self::Plain(at);
        }
        Self::Whole { at, weight, zone, drain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_written_as_short_as_can_be_and_read_again() {
        let check = |json: &str| {
            let member: MemberSpec = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&member).unwrap(), json);
        };
        check(r#""127.0.0.1:80""#);
        check(r#""unix:/run/a.sock""#);
        check(r#""app.internal:80""#);
        check(r#"{"at":"srv:_http._tcp.app.internal","weight":3,"zone":"a","drain":true}"#);
        check(r#"{"at":"[::1]:80","weight":2}"#);
    }

    #[test]
    fn what_is_no_member_is_refused() {
        for text in ["", "app", "app:0", "app:65536", "-a:1", "a..b:1", "10.0.0.256:1", "a_b:80", "srv:", "srv:a..b"] {
            assert_eq!(text.parse::<Whereabouts>().unwrap_err(), NotAMember(text.into()), "{text}");
        }
    }
}
