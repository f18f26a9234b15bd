//! The configuration file as it is written: every key there is, nothing checked but types.

use std::collections::BTreeMap;

use serde::Deserialize;
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
    /// Time that requests in flight get when the host leaves.
    pub drain: Option<Spanned<String>>,
    /// The control API.
    #[serde(default)]
    pub control: RawControl,
    /// When the host goes back by itself.
    #[serde(default)]
    pub fail_back: RawFailBack,
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

/// `[pools.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPool {
    /// Addresses.
    pub members: Vec<Spanned<String>>,
    /// Time to reach a member.
    pub connect_timeout: Option<Spanned<String>>,
    /// Time until a member's answer begins.
    pub response_timeout: Option<Spanned<String>>,
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
    /// The address it listens on.
    pub listen: Spanned<String>,
    /// Hosts it serves.
    #[serde(default)]
    pub hosts: Vec<Spanned<String>>,
    /// Path prefixes it serves.
    #[serde(default)]
    pub paths: Vec<Spanned<String>>,
    /// The pool that serves it.
    pub pool: Option<Spanned<String>>,
    /// Or the policy that decides.
    pub policy: Option<Spanned<String>>,
    /// The pool for when its policy does not answer.
    pub fallback: Option<Spanned<String>>,
}
