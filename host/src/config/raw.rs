//! The configuration file as it is written: every key there is, nothing checked but types.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
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

/// `[pools.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPool {
    /// Addresses and names, alone or in tables.
    #[serde(default)]
    pub members: Vec<Spanned<RawMember>>,
    /// A file with more of them.
    pub members_file: Option<Spanned<String>>,
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
    /// How long a member may fall silent in mid-answer.
    pub between_bytes_timeout: Option<Spanned<String>>,
    /// Time for the whole exchange.
    pub whole_timeout: Option<Spanned<String>>,
    /// `round-robin` or `least-requests`.
    pub balance: Option<Spanned<String>>,
    /// `header:NAME`, `cookie:NAME` or `client-address`.
    pub key: Option<Spanned<String>>,
    /// A cookie that binds clients to members.
    pub sticky: Option<RawSticky>,
    /// How long a member that came back takes to get its whole part.
    pub slow_start: Option<Spanned<String>>,
    /// Percent of the members that must be fit.
    pub panic_below: Option<Spanned<usize>>,
    /// How long a drained member gets the requests of those bound to it.
    pub drain_limit: Option<Spanned<String>>,
    /// How members are checked.
    pub check: Option<RawCheck>,
    /// When a member is left alone.
    #[serde(default)]
    pub breaker: RawBreaker,
    /// When a request is tried again.
    #[serde(default)]
    pub retries: RawRetries,
    /// What may be under way at once.
    #[serde(default)]
    pub limits: RawPoolLimits,
    /// How connections are kept.
    #[serde(default)]
    pub keep_alive: RawKeepAlive,
}

/// `{ at = "...", weight = 2 }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawMemberTable {
    /// An address or a name.
    pub at: Spanned<String>,
    /// Its part of the requests.
    pub weight: Option<Spanned<usize>>,
    /// Where it stands.
    pub zone: Option<Spanned<String>>,
    /// Whether it gets no new requests.
    #[serde(default)]
    pub drain: bool,
}

/// `{ cookie = "...", max_age = "1h" }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSticky {
    /// The cookie's name.
    pub cookie: Spanned<String>,
    /// How long browsers keep it.
    pub max_age: Option<Spanned<String>>,
}

/// `[pools.NAME.check]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCheck {
    /// `http`, `tcp` or `grpc`.
    pub kind: Spanned<String>,
    /// What is asked for.
    pub path: Option<Spanned<String>>,
    /// The host that is asked for.
    pub host: Option<Spanned<String>>,
    /// `GET` or `HEAD`.
    pub method: Option<Spanned<String>>,
    /// Statuses that are good.
    pub statuses: Option<Spanned<String>>,
    /// Text that the answer must contain.
    pub body: Option<Spanned<String>>,
    /// The service that is asked about.
    pub service: Option<Spanned<String>>,
    /// Time from one probe to the next.
    pub interval: Option<Spanned<String>>,
    /// The same while a change is in doubt.
    pub settle_interval: Option<Spanned<String>>,
    /// Time for one probe.
    pub timeout: Option<Spanned<String>>,
    /// Good results that make a sick member healthy.
    pub rise: Option<Spanned<usize>>,
    /// Bad results that make a healthy member sick.
    pub fall: Option<Spanned<usize>>,
    /// Another port than the member's.
    pub port: Option<Spanned<usize>>,
}

/// `[pools.NAME.breaker]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawBreaker {
    /// Failures in a row.
    pub failures: Option<Spanned<usize>>,
    /// Percent of failures.
    pub failure_percent: Option<Spanned<usize>>,
    /// How many times slower than the others.
    pub slow_factor: Option<Spanned<usize>>,
    /// How long a member is left alone first.
    pub rest: Option<Spanned<String>>,
    /// Percent of the members that may be left alone for their answers.
    pub share_max: Option<Spanned<usize>>,
}

/// `[pools.NAME.retries]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRetries {
    /// Tries in all.
    pub tries_max: Option<Spanned<usize>>,
    /// Answers that are tried again.
    pub statuses: Option<Vec<Spanned<usize>>>,
    /// Percent of the requests.
    pub budget: Option<Spanned<usize>>,
}

/// `[pools.NAME.limits]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPoolLimits {
    /// Requests in flight.
    pub requests_max: Option<Spanned<usize>>,
    /// Requests in flight to each member.
    pub member_requests_max: Option<Spanned<usize>>,
    /// Connections to each member.
    pub member_connections_max: Option<Spanned<usize>>,
    /// Requests that may wait.
    pub queue_max: Option<Spanned<usize>>,
    /// For how long.
    pub queue_timeout: Option<Spanned<String>>,
}

/// `[pools.NAME.keep_alive]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawKeepAlive {
    /// Idle connections to one member on one worker.
    pub idle_max: Option<Spanned<usize>>,
    /// How long one may be idle.
    pub idle_timeout: Option<Spanned<String>>,
    /// How old one may become.
    pub age_max: Option<Spanned<String>>,
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

/// A member's address or name, or a table that says more.
#[derive(Debug)]
pub enum RawMember {
    /// `"10.0.0.1:80"`
    Plain(String),
    /// `{ at = "10.0.0.1:80", weight = 2 }`
    Table(Box<RawMemberTable>),
}

// By hand, as with `OneOrMany`.
impl<'de> Deserialize<'de> for RawMember {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Member;

        impl<'de> Visitor<'de> for Member {
            type Value = RawMember;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a table with `at`")
            }

            fn visit_str<E>(self, text: &str) -> Result<RawMember, E> {
                Ok(RawMember::Plain(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<RawMember, A::Error> {
                let table = RawMemberTable::deserialize(MapAccessDeserializer::new(table))?;
                Ok(RawMember::Table(table.into()))
            }
        }

        deserializer.deserialize_any(Member)
    }
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
