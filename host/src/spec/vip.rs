//! A vip as data: where requests enter, what decides for them, and what is done to them on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::auto_back::AutoBackSpec;
use super::session::SessionSpec;

/// Where requests enter, and what decides for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipSpec {
    /// The listeners it is reached at: their names, or addresses of plain ones.
    #[serde(deserialize_with = "one_or_many")]
    pub listen: Vec<String>,
    /// Hosts it serves: exact, or `*.suffix`; none means all.
    pub hosts: Vec<String>,
    /// Paths it serves: `/cart` is a prefix of whole segments, `=/cart` that path alone; none means all.
    pub paths: Vec<String>,
    /// What chooses the pool.
    pub decider: DeciderSpec,
    /// The pool for when its policy does not answer.
    pub fallback: Option<String>,
    /// The port that requests over `http` are redirected to, as `https`; `None` where they are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_to_https: Option<u16>,
    /// What is done to requests' fields.
    #[serde(default, skip_serializing_if = "HeaderRulesSpec::is_empty")]
    pub request_headers: HeaderRulesSpec,
    /// What is done to answers' fields.
    #[serde(default, skip_serializing_if = "HeaderRulesSpec::is_empty")]
    pub response_headers: HeaderRulesSpec,
    /// What its requests may take.
    #[serde(default)]
    pub limits: VipLimits,
    /// How long members may take for its requests.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeouts: VipTimeouts,
    /// The pool that gets copies of its requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorSpec>,
    /// How a switch that changes it leaves its clients.
    #[serde(default, skip_serializing_if = "is_default")]
    pub session: SessionSpec,
    /// How it is watched after an activation.
    #[serde(default, skip_serializing_if = "is_default")]
    pub auto_back: AutoBackSpec,
}

/// How long members may take for a vip's requests; what is `None` is as the pool says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VipTimeouts {
    /// To be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Duration>,
    /// Until an answer begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Duration>,
    /// For which an answer may fall silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub between_bytes: Option<Duration>,
    /// For the whole exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole: Option<Duration>,
    /// The longest of these that a policy may ask for.
    pub policy_max: Duration,
}

/// Copies of requests for another pool, whose answers are thrown away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorSpec {
    /// The pool.
    pub pool: String,
    /// Percent of the requests that are copied.
    pub percent: u8,
    /// Copies under way at once on one worker; what is above is left out, and counted.
    pub requests_max: u32,
    /// Bytes of content that are copied; a request with more is left out, and counted.
    pub body_bytes_max: usize,
}

/// What chooses the pool of a vip's requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeciderSpec {
    /// Configuration: always this pool.
    Pool(String),
    /// Programming: this policy, asked on every request.
    Policy(String),
}

/// Changes to header fields: first those of `remove` go, then `set` replaces, then `add` adds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderRulesSpec {
    /// Fields that are taken away.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Fields that get this one value.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Fields that get one more value.
    #[serde(default)]
    pub add: BTreeMap<String, String>,
}

/// What a vip's requests may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VipLimits {
    /// Bytes of a request's content; more is a 413. `None` is no limit.
    pub request_body_bytes_max: Option<u64>,
    /// Requests in flight, over all workers; one more is a 503. `None` is no limit.
    pub requests_max: Option<u32>,
    /// How long a client may keep us waiting, for its content or to take ours, beyond what `client_rate_min` allows.
    pub client_timeout: Duration,
    /// Bytes a second that a client must give or take while we wait for it, once `client_timeout` is used up. Zero
    /// asks for no rate: then each wait for it may take `client_timeout`, and no wait more.
    pub client_rate_min: u32,
    /// How long nothing may pass through an upgraded connection.
    pub tunnel_timeout: Duration,
}

impl Default for VipLimits {
    fn default() -> Self {
        Self {
            request_body_bytes_max: None,
            requests_max: None,
            client_timeout: Duration::from_secs(30),
            // A modem of 1995 gives ten times as much.
            client_rate_min: 240,
            tunnel_timeout: Duration::from_secs(3600),
        }
    }
}

impl Default for VipTimeouts {
    fn default() -> Self {
        let policy_max = Duration::from_secs(300);
        Self { connect: None, response: None, between_bytes: None, whole: None, policy_max }
    }
}

impl MirrorSpec {
    /// Copies of all requests.
    pub fn to(pool: String) -> Self {
        Self { pool, percent: 100, requests_max: 100, body_bytes_max: 64 * 1024 }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl HeaderRulesSpec {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

impl VipSpec {
    /// A vip at these listeners that serves every host and path, with the defaults of all else.
    pub fn new(listen: Vec<String>, decider: DeciderSpec) -> Self {
        Self {
            listen,
            hosts: Vec::new(),
            paths: Vec::new(),
            decider,
            fallback: None,
            redirect_to_https: None,
            request_headers: HeaderRulesSpec::default(),
            response_headers: HeaderRulesSpec::default(),
            limits: VipLimits::default(),
            timeouts: VipTimeouts::default(),
            mirror: None,
            session: SessionSpec::default(),
            auto_back: AutoBackSpec::default(),
        }
    }

    /// The pools it names.
    pub fn pools(&self) -> impl Iterator<Item = &str> {
        let decider = match &self.decider {
            DeciderSpec::Pool(pool) => Some(pool.as_str()),
            DeciderSpec::Policy(_) => None,
        };
        let mirror = self.mirror.as_ref().map(|mirror| mirror.pool.as_str());
        decider.into_iter().chain(self.fallback.as_deref()).chain(mirror)
    }

    /// The policy that decides, where it is one that does.
    pub fn policy(&self) -> Option<&str> {
        match &self.decider {
            DeciderSpec::Policy(policy) => Some(policy),
            DeciderSpec::Pool(_) => None,
        }
    }
}

/// Journals of earlier versions have one listener, as text.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(listener) => vec![listener],
        OneOrMany::Many(listeners) => listeners,
    })
}
