//! When the host goes back by itself because a release does worse than the one before.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is done about a release that does worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// The host goes back.
    #[default]
    #[serde(rename = "on")]
    Act,
    /// It says so, and leaves it at that.
    #[serde(rename = "report")]
    Report,
    /// Nobody looks.
    #[serde(rename = "off")]
    Off,
}

/// A share, in hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Share(pub u32);

impl Share {
    /// Of one.
    pub fn of_one(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 100.0)
    }
}

/// How a vip is watched after an activation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoBack {
    /// What is done.
    pub mode: Mode,
    /// How much larger the share of failures must be.
    pub failures: Share,
    /// What takes so many times as long as nearly all took before is slow; zero leaves times out of account.
    pub slow_factor: u32,
    /// Requests that must have ended before anything is said of them.
    pub samples_min: u32,
    /// For how long a release is watched.
    pub watch: Duration,
}

impl Default for AutoBack {
    fn default() -> Self {
        Self {
            mode: Mode::Act,
            // Below that, it is for people to weigh.
            failures: Share(200),
            // A release that is a little slower may be worth it.
            slow_factor: 3,
            samples_min: 32,
            watch: Duration::from_secs(600),
        }
    }
}

/// What a vip wants otherwise; what is `None` is as the file says for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AutoBackSpec {
    /// What is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// How much larger the share of failures must be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<Share>,
    /// How many times as long is slow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_factor: Option<u32>,
    /// Requests that must have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples_min: Option<u32>,
    /// For how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch: Option<Duration>,
}

impl AutoBack {
    /// The same, but for what `spec` wants otherwise.
    #[must_use]
    pub fn with(&self, spec: &AutoBackSpec) -> Self {
        Self {
            mode: spec.mode.unwrap_or(self.mode),
            failures: spec.failures.unwrap_or(self.failures),
            slow_factor: spec.slow_factor.unwrap_or(self.slow_factor),
            samples_min: spec.samples_min.unwrap_or(self.samples_min),
            watch: spec.watch.unwrap_or(self.watch),
        }
    }
}
