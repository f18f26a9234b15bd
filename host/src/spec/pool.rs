//! A pool as data: its members, and how they are spoken to.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check::CheckSpec;
use super::key::KeySpec;
use super::listener::CertificateSpec;
use super::member::MemberSpec;

/// A set of members. What is as usual is not written: releases of earlier versions read, and are named, as before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSpec {
    /// Its members.
    pub members: Vec<MemberSpec>,
    /// A file with more of them, watched while the pool is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members_file: Option<PathBuf>,
    /// What they speak.
    #[serde(default)]
    pub protocol: Protocol,
    /// How connections to them are secured; `None` is plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<MemberTlsSpec>,
    /// The PROXY protocol header that connections to them begin with. Such a connection serves one request: the header
    /// speaks for one client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyVersion>,
    /// Time to reach a member, a TLS handshake included.
    pub connect_timeout: Duration,
    /// Time until a member's answer begins.
    pub response_timeout: Duration,
    /// How long a member may fall silent in the middle of its answer.
    #[serde(default = "between_bytes_timeout", skip_serializing_if = "is_between_bytes_timeout")]
    pub between_bytes_timeout: Duration,
    /// Time for the whole exchange, from the decision to the last byte of the answer; `None` is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_timeout: Option<Duration>,
    /// Which member gets a request.
    #[serde(default, skip_serializing_if = "is_default")]
    pub balance: BalanceSpec,
    /// How its members are checked; `None` where only requests tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckSpec>,
    /// When a member is left alone for what it did to requests.
    #[serde(default, skip_serializing_if = "is_default")]
    pub breaker: BreakerSpec,
    /// When a request is tried again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retries: RetriesSpec,
    /// What may be under way at once.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: PoolLimits,
    /// How connections are kept.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keep_alive: KeepAliveSpec,
}

/// Which member gets a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BalanceSpec {
    /// How requests without a key are spread.
    pub by: Balance,
    /// Where requests' keys come from; a policy's key goes before. Equal keys meet the same member.
    pub key: Option<KeySpec>,
    /// Binds each client to the member that it met first, by a cookie.
    pub sticky: Option<StickySpec>,
    /// How long a member that came back takes to get its whole part again; zero is at once.
    pub slow_start: Duration,
    /// Percent of the members that must be fit for use; where fewer are, all are used.
    pub panic_below: u8,
    /// How long a member that is drained still gets the requests of clients that are bound to it.
    pub drain_limit: Duration,
}

/// How requests without a key are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Balance {
    /// Each member takes its turn.
    #[default]
    #[serde(rename = "round-robin")]
    RoundRobin,
    /// Of two chosen at random, the one with fewer requests in flight (Mitzenmacher 2001).
    #[serde(rename = "least-requests")]
    LeastRequests,
}

/// A cookie that binds a client to a member. The proxy makes and signs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StickySpec {
    /// Its name.
    pub cookie: String,
    /// How long browsers keep it; `None` is until they are closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
}

/// When a member is left alone for what it did to requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BreakerSpec {
    /// Failures in a row; 0 is never. A failure is an answer of 500, 502, 503 or 504, one that does not come in time,
    /// that is none, or breaks off, and a member that cannot be reached.
    pub failures: u32,
    /// Percent of failures within ten seconds, of twenty requests at least; 0 is never.
    pub failure_percent: u8,
    /// Answers that take so many times as long as those of the others; 0 is never.
    pub slow_factor: u32,
    /// How long it is left alone first. Each time after takes longer by as much, up to thirty times.
    pub rest: Duration,
    /// Percent of the pool's members that may be left alone for their answers. Those that cannot be reached do not count.
    pub share_max: u8,
}

/// When a request is tried again, on another member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetriesSpec {
    /// Tries in all, the first included.
    pub tries_max: u32,
    /// Answers after which a request that can be repeated is tried again.
    pub statuses: Vec<u16>,
    /// Percent of the pool's requests that may be tried again.
    pub budget: u8,
}

/// What may be under way at once. `None` is no limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolLimits {
    /// Requests in flight to all its members.
    pub requests_max: Option<u32>,
    /// Requests in flight to each member.
    pub member_requests_max: Option<u32>,
    /// Connections to each member, over all workers.
    pub member_connections_max: Option<u32>,
    /// Requests that may wait for one of these to become free.
    pub queue_max: u32,
    /// How long each may wait.
    pub queue_timeout: Duration,
}

/// How connections to members are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeepAliveSpec {
    /// Idle connections to one member on one worker.
    pub idle_max: u32,
    /// How long a connection of HTTP/1 may be idle.
    pub idle_timeout: Duration,
    /// How old a connection may become; `None` is no limit.
    pub age_max: Option<Duration>,
}

/// What a member speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    #[serde(rename = "http1")]
    Http1,
    /// HTTP/2: by ALPN over TLS, by prior knowledge over plain text.
    #[serde(rename = "http2")]
    Http2,
}

/// TLS to members.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MemberTlsSpec {
    /// Who may sign members' certificates, in PEM.
    pub ca: PathBuf,
    /// The name that members' certificates must have, and that is asked for (SNI). An IP address is checked, but not
    /// asked for. `None` is the member's own IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// What we show of ourselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateSpec>,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ProxyVersion {
    /// A line of text.
    #[serde(rename = "v1")]
    V1,
    /// Binary.
    #[serde(rename = "v2")]
    V2,
}

impl Default for PoolSpec {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            members_file: None,
            protocol: Protocol::default(),
            tls: None,
            proxy_protocol: None,
            // Two SYNs: a lost one is sent again after a second.
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(30),
            between_bytes_timeout: between_bytes_timeout(),
            whole_timeout: None,
            balance: BalanceSpec::default(),
            check: None,
            breaker: BreakerSpec::default(),
            retries: RetriesSpec::default(),
            limits: PoolLimits::default(),
            keep_alive: KeepAliveSpec::default(),
        }
    }
}

impl Default for BalanceSpec {
    fn default() -> Self {
        Self {
            by: Balance::default(),
            key: None,
            sticky: None,
            slow_start: Duration::ZERO,
            // With fewer, the others would be asked for four times what they are used to.
            panic_below: 25,
            drain_limit: Duration::from_secs(600),
        }
    }
}

impl Default for BreakerSpec {
    fn default() -> Self {
        Self { failures: 5, failure_percent: 50, slow_factor: 0, rest: Duration::from_secs(10), share_max: 50 }
    }
}

impl Default for RetriesSpec {
    fn default() -> Self {
        Self { tries_max: 3, statuses: vec![502, 503, 504], budget: 20 }
    }
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            requests_max: None,
            member_requests_max: None,
            member_connections_max: None,
            queue_max: 1000,
            queue_timeout: Duration::from_secs(1),
        }
    }
}

impl Default for KeepAliveSpec {
    fn default() -> Self {
        // Below what common members allow (nginx 75 s, Go and Node less or none), so that we close first and no request
        // meets a closing connection.
        Self { idle_max: 256, idle_timeout: Duration::from_secs(4), age_max: None }
    }
}

impl PoolLimits {
    /// Whether requests may have to wait.
    pub fn are_set(&self) -> bool {
        self.requests_max.is_some() || self.member_requests_max.is_some() || self.member_connections_max.is_some()
    }
}

/// A minute: an event stream that says nothing for longer sends comments to keep proxies from ending it.
fn between_bytes_timeout() -> Duration {
    Duration::from_secs(60)
}

fn is_between_bytes_timeout(timeout: &Duration) -> bool {
    *timeout == between_bytes_timeout()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
