//! The configuration file as it is written: every key there is, nothing checked but types.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{SeqAccess, Visitor, value::SeqAccessDeserializer};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// The state folder.
    pub state: Option<String>,
    /// The policy folder.
    pub policy_folder: Option<String>,
    /// Worker threads.
    pub workers: Option<Spanned<usize>>,
    /// Requests in flight over the whole host.
    pub requests_max: Option<Spanned<usize>>,
    /// Time that requests in flight get when the host leaves.
    pub drain: Option<Spanned<String>>,
    /// Time between saying that the host leaves and leaving.
    pub grace: Option<Spanned<String>>,
    /// Time that a new process gets until it can take the host's place.
    pub take_over_timeout: Option<Spanned<String>>,
    /// The control API.
    #[serde(default)]
    pub control: RawControl,
    /// When the host goes back by itself.
    #[serde(default)]
    pub fail_back: RawFailBack,
    /// Listeners by name.
    #[serde(default)]
    pub listeners: BTreeMap<Spanned<String>, RawListener>,
    /// Pools by name.
    #[serde(default)]
    pub pools: BTreeMap<Spanned<String>, RawPool>,
    /// Settings of policies by name.
    #[serde(default)]
    pub policies: BTreeMap<Spanned<String>, RawPolicy>,
    /// Virtual servers by name.
    #[serde(default)]
    pub vips: BTreeMap<Spanned<String>, RawVip>,
}

/// `[control]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawControl {
    /// A loopback address.
    pub listen: Option<Spanned<String>>,
}

/// `[fail_back]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFailBack {
    /// Failures of one policy...
    pub falls: Option<Spanned<usize>>,
    /// ...within this time.
    pub within: Option<Spanned<String>>,
}

/// `[listeners.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawListener {
    /// Where it listens.
    pub address: Spanned<String>,
    /// Makes it TLS.
    pub certificates: Option<Spanned<Vec<RawCertificate>>>,
    /// Who may sign clients' certificates.
    pub client_ca: Option<Spanned<String>>,
    /// `required` or `optional`.
    pub client_certificate: Option<Spanned<String>>,
    /// `1.2` or `1.3`.
    pub min_tls_version: Option<Spanned<String>>,
    /// Whether connections begin with a PROXY protocol header.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Networks of the proxies in front of us.
    #[serde(default)]
    pub trusted: Vec<Spanned<String>>,
    /// `x-forwarded` or `forwarded`.
    pub believe: Option<Spanned<String>>,
    /// Time for a whole request head.
    pub head_timeout: Option<Spanned<String>>,
    /// How long a connection may be without a request.
    pub idle_timeout: Option<Spanned<String>>,
    /// Bytes of a request's head.
    pub head_bytes_max: Option<Spanned<String>>,
    /// Fields of a request's head.
    pub fields_max: Option<Spanned<usize>>,
    /// Connections in all.
    pub connections_max: Option<Spanned<usize>>,
    /// Connections of one client.
    pub connections_per_client_max: Option<Spanned<usize>>,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: Option<Spanned<usize>>,
}

/// `{ cert = "...", key = "..." }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCertificate {
    /// The chain.
    pub cert: Spanned<String>,
    /// Its private key.
    pub key: Spanned<String>,
}

/// `[pools.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPool {
    /// Addresses.
    pub members: Vec<Spanned<String>>,
    /// `http1` or `http2`.
    pub protocol: Option<Spanned<String>>,
    /// Makes connections to them TLS.
    pub tls: Option<RawMemberTls>,
    /// `v1` or `v2`.
    pub proxy_protocol: Option<Spanned<String>>,
    /// Time to reach a member.
    pub connect_timeout: Option<Spanned<String>>,
    /// Time until a member's answer begins.
    pub response_timeout: Option<Spanned<String>>,
}

/// `[pools.NAME.tls]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawMemberTls {
    /// Who may sign members' certificates.
    pub ca: Spanned<String>,
    /// The name that members' certificates must have.
    pub server_name: Option<Spanned<String>>,
    /// What we show of ourselves.
    pub cert: Option<Spanned<String>>,
    /// Its private key.
    pub key: Option<Spanned<String>>,
}

/// `[policies.NAME]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPolicy {
    /// Text, or a table that becomes JSON.
    pub config: Option<Spanned<toml::Value>>,
    /// CPU time for one decision.
    pub deadline: Option<Spanned<String>>,
    /// Memory of an instance.
    pub memory: Option<Spanned<String>>,
    /// `worker` or `request`.
    pub isolation: Option<Spanned<String>>,
}

/// `[vips.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawVip {
    /// The listeners it is reached at.
    pub listen: Spanned<OneOrMany>,
    /// Hosts it serves.
    #[serde(default)]
    pub hosts: Vec<Spanned<String>>,
    /// Path prefixes and exact paths it serves.
    #[serde(default)]
    pub paths: Vec<Spanned<String>>,
    /// The pool that serves it.
    pub pool: Option<Spanned<String>>,
    /// Or the policy that decides.
    pub policy: Option<Spanned<String>>,
    /// The pool for when its policy does not answer.
    pub fallback: Option<Spanned<String>>,
    /// `true`, or the port that requests over `http` are redirected to.
    pub redirect_to_https: Option<Spanned<toml::Value>>,
    /// What is done to requests' fields.
    #[serde(default)]
    pub request_headers: RawHeaderRules,
    /// What is done to answers' fields.
    #[serde(default)]
    pub response_headers: RawHeaderRules,
    /// Bytes of a request's content.
    pub request_body_max: Option<Spanned<String>>,
    /// Requests in flight.
    pub requests_max: Option<Spanned<usize>>,
    /// How long a client may keep us waiting.
    pub client_timeout: Option<Spanned<String>>,
    /// Bytes a second that a client must give or take.
    pub client_rate_min: Option<Spanned<usize>>,
    /// How long nothing may pass through an upgraded connection.
    pub tunnel_timeout: Option<Spanned<String>>,
}

/// `[vips.NAME.request_headers]`, `[vips.NAME.response_headers]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawHeaderRules {
    /// Fields that are taken away.
    #[serde(default)]
    pub remove: Vec<Spanned<String>>,
    /// Fields that get this one value.
    #[serde(default)]
    pub set: BTreeMap<Spanned<String>, Spanned<String>>,
    /// Fields that get one more value.
    #[serde(default)]
    pub add: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// One text, or a list of them.
#[derive(Debug)]
pub enum OneOrMany {
    /// `"a"`
    One(String),
    /// `["a", "b"]`
    Many(Vec<Spanned<String>>),
}

// By hand: an untagged enum would lose where in the file the texts of a list are.
impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, texts: A) -> Result<OneOrMany, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(texts)).map(OneOrMany::Many)
            }
        }

        deserializer.deserialize_any(Texts)
    }
}
