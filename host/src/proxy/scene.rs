//! Everything that a decision depended on, taken down where it failed, so that it can be made again.

use serde::{Deserialize, Serialize};

use super::head::Head;
use super::worker::Moment;
use crate::policy::wasm::LastWords;

/// Bytes of fields that are taken down; a head can be longer than anybody wants to read.
const FIELDS_BYTES_MAX: usize = 32 * 1024;

/// A decision that has just failed.
pub struct Scene<'a> {
    /// What was asked.
    pub head: &'a Head,
    /// When.
    pub moment: Moment,
    /// What the policy was told and wrote meanwhile.
    pub words: LastWords,
}

/// The same, to keep.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Taken {
    /// The request.
    pub request: Asked,
    /// When the decision began, nanoseconds since 1970 UTC: what `now` gave.
    pub now_nanos: u64,
    /// Where the random sequence started.
    pub seed: u64,
    /// How busy pools were when the policy asked.
    pub loads: Vec<Load>,
    /// What the policy wrote to the log in this call.
    pub log: Vec<String>,
}

/// A request, as a policy sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// The host, and the port if it was said.
    pub authority: String,
    /// The path.
    pub path: String,
    /// The query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The version of HTTP.
    pub version: String,
    /// The client's address.
    pub client: Option<String>,
    /// Its certificate, where it has shown one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// The fields in their order.
    pub fields: Vec<Field>,
    /// Whether there were more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
}

/// What a client has proven to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Certificate {
    /// The subject.
    pub subject: String,
    /// Other names.
    pub names: Vec<String>,
    /// SHA-256.
    pub fingerprint: String,
}

/// One field. What is not text is in base64.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Or that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

/// How busy a pool was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load {
    /// Its position in the manifest.
    pub pool: u32,
    /// Members.
    pub members: u32,
    /// Requests in flight to them.
    pub in_flight: u32,
}

impl Scene<'_> {
    /// Takes it down.
    pub fn take(self) -> Taken {
        let Self { head, moment: Moment { now_nanos, seed }, words: LastWords { loads, log } } = self;
        let loads = loads.into_iter();
        let load = |told: crate::policy::wasm::LoadTold| Load {
            pool: told.pool,
            members: told.members,
            in_flight: told.in_flight,
        };
        Taken { request: asked(head), now_nanos, seed, loads: loads.map(load).collect(), log }
    }
}

fn asked(head: &Head) -> Asked {
    let mut left = FIELDS_BYTES_MAX;
    let fits = |(name, value): &(&str, &[u8])| {
        let bytes = name.len() + value.len();
        let fits = bytes <= left;
        left = left.saturating_sub(bytes);
        fits
    };
    let fields: Vec<Field> = head.headers().take_while(fits).map(|(name, value)| field(name, value)).collect();
    Asked {
        method: head.method().into(),
        scheme: head.origin_scheme().as_str().into(),
        authority: head.authority().into(),
        path: head.path().into(),
        query: head.query().map(Into::into),
        version: head.version().into(),
        client: head.client().map(|client| client.to_string()),
        certificate: head.client_certificate().map(|identity| Certificate {
            subject: identity.subject.clone(),
            names: identity.names.clone(),
            fingerprint: identity.fingerprint.to_string(),
        }),
        is_cut: fields.len() < head.headers().count(),
        fields,
    }
}

fn field(name: &str, value: &[u8]) -> Field {
    use base64::Engine as _;
    let text = std::str::from_utf8(value).ok().map(str::to_owned);
    let base64 = text.is_none().then(|| base64::prelude::BASE64_STANDARD.encode(value));
    Field { name: name.into(), value: text, base64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_text_is_in_base64() {
        let field = |value: &[u8]| field("x", value);
        assert_eq!(field(b"a b").value.as_deref(), Some("a b"));
        assert_eq!((field(b"\xff").value, field(b"\xff").base64.as_deref()), (None, Some("/w==")));
    }

    #[test]
    fn a_long_head_is_cut_and_says_so() {
        let long = "x".repeat(20 * 1024);
        let long: &'static [u8] = long.leak().as_bytes();
        let fields: &[_] = &[("a", long), ("b", long), ("c", b"1")];
        let taken = asked(&Head::probe("GET", "/p?q", fields));
        assert_eq!((taken.fields.len(), taken.is_cut, taken.query.as_deref()), (1, true, Some("q")));
    }
}
