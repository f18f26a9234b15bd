//! The configuration file as it is written: every key there is, nothing checked but types.

mod pool;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

pub use self::pool::{
    RawBreaker, RawCheck, RawKeepAlive, RawMember, RawMemberTable, RawMemberTls, RawPool, RawPoolLimits, RawRetries,
    RawSticky,
};

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
    /// Where this proxy stands.
    pub zone: Option<Spanned<String>>,
    /// Requests in flight over the whole host.
    pub requests_max: Option<Spanned<usize>>,
    /// Time that requests in flight get when the host leaves.
    pub drain: Option<Spanned<String>>,
    /// Time between saying that the host leaves and leaving.
    pub grace: Option<Spanned<String>>,
    /// Time that a new process gets until it can take the host's place.
    pub take_over_timeout: Option<Spanned<String>>,
    /// Networks of clients that may ask for the release that decides.
    #[serde(default)]
    pub release_header_from: Vec<Spanned<String>>,
    /// The control API.
    #[serde(default)]
    pub control: RawControl,
    /// How DNS is asked for members.
    #[serde(default)]
    pub dns: RawDns,
    /// When the host goes back by itself.
    #[serde(default)]
    pub fail_back: RawFailBack,
    /// When the host goes back from a release that does worse.
    #[serde(default)]
    pub auto_back: RawAutoBack,
    /// How large the journal may grow.
    #[serde(default)]
    pub journal: RawJournal,
    /// Where exchanges are written to.
    pub access_log: Option<RawAccessLog>,
    /// Where traces are sent to.
    pub tracing: Option<RawTracing>,
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

/// `[dns]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDns {
    /// Servers that are asked, instead of those of the system.
    pub servers: Option<Vec<Spanned<String>>>,
    /// How long one may take to answer.
    pub timeout: Option<Spanned<String>>,
    /// The longest time that an answer is believed.
    pub ttl_max: Option<Spanned<String>>,
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

/// `[auto_back]`, `[vips.NAME.auto_back]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawAutoBack {
    /// `on`, `report` or `off`.
    pub mode: Option<Spanned<String>>,
    /// How much larger the share of failures must be.
    pub failures: Option<Spanned<String>>,
    /// How many times as long as nearly all took before is slow.
    pub slow_factor: Option<Spanned<usize>>,
    /// Requests that must have ended.
    pub samples_min: Option<Spanned<usize>>,
    /// For how long a release is watched.
    pub watch: Option<Spanned<String>>,
}

/// `[journal]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawJournal {
    /// Entries that are kept.
    pub entries_max: Option<Spanned<usize>>,
    /// Bytes of the file that are used.
    pub bytes_max: Option<Spanned<String>>,
}

/// `[access_log]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawAccessLog {
    /// A file.
    pub file: Option<Spanned<String>>,
    /// Or standard output.
    pub stdout: Option<Spanned<bool>>,
    /// `json`, `common`, `combined`, or a text with fields in it.
    pub format: Option<Spanned<String>>,
}

/// `[tracing]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTracing {
    /// The collector's address.
    pub otlp: Spanned<String>,
    /// The share of exchanges that are recorded.
    pub sample: Option<Spanned<f64>>,
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
    /// Time to reach a member, whatever the pool says; so with the three that follow.
    pub connect_timeout: Option<Spanned<String>>,
    /// Time until a member's answer begins.
    pub response_timeout: Option<Spanned<String>>,
    /// How long a member may fall silent in mid-answer.
    pub between_bytes_timeout: Option<Spanned<String>>,
    /// Time for the whole exchange.
    pub whole_timeout: Option<Spanned<String>>,
    /// The longest of these that a policy may ask for.
    pub policy_timeout_max: Option<Spanned<String>>,
    /// The pool that gets copies of requests.
    pub mirror: Option<RawMirror>,
    /// How it is watched after an activation.
    #[serde(default)]
    pub auto_back: RawAutoBack,
    /// How a switch leaves its clients.
    #[serde(default)]
    pub session: RawSession,
}

/// `[vips.NAME.session]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSession {
    /// `cut`, `drain-sticky` or `hold`.
    pub mode: Option<Spanned<String>>,
    /// How long sessions end where they began.
    pub limit: Option<Spanned<String>>,
    /// How long new requests wait.
    pub hold_max: Option<Spanned<String>>,
    /// How long tunnels go on after a switch.
    pub upgraded_limit: Option<Spanned<String>>,
}

/// `{ pool = "...", percent = 5 }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawMirror {
    /// The pool.
    pub pool: Spanned<String>,
    /// Percent of the requests.
    pub percent: Option<Spanned<usize>>,
    /// Copies under way at once.
    pub requests_max: Option<Spanned<usize>>,
    /// Bytes of content that are copied.
    pub body_max: Option<Spanned<String>>,
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
