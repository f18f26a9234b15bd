//! `[pools.NAME]` as it is written.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

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
