//! Where a request's key comes from, as data: what keeps together the requests of one client.

use std::fmt;
use std::str::FromStr;

use hyper::header::HeaderName;
use serde::{Deserialize, Serialize};

use crate::grammar::is_token;

/// Where a request's key comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeySpec {
    /// The first field of this name.
    Header(String),
    /// The first cookie of this name.
    Cookie(String),
    /// The client's IP address.
    ClientAddress,
}

/// The text is not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `header:NAME`, `cookie:NAME` or `client-address`, got `{0}`")]
pub struct NotAKey(String);

impl FromStr for KeySpec {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        match text.split_once(':') {
            None if text == "client-address" => Ok(Self::ClientAddress),
            Some(("header", name)) if HeaderName::try_from(name).is_ok() => Ok(Self::Header(name.to_ascii_lowercase())),
            Some(("cookie", name)) if is_token(name.as_bytes()) => Ok(Self::Cookie(name.to_owned())),
            _ => Err(NotAKey(crate::policy::text::printable(text).into_owned())),
        }
    }
}

impl fmt::Display for KeySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::ClientAddress => f.write_str("client-address"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_as_it_is_written() {
        for text in ["header:x-user", "cookie:uid", "client-address"] {
            assert_eq!(text.parse::<KeySpec>().unwrap().to_string(), text);
        }
        assert_eq!("header:X-User".parse(), Ok(KeySpec::Header("x-user".into())));
        for text in ["", "client", "cookie:", "cookie:a b", "header:a b", "uid", "path:/"] {
            assert_eq!(text.parse::<KeySpec>(), Err(NotAKey(text.into())));
        }
    }
}
