//! A member in one pool: its part of the requests, and whether it gets it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::breaker::State;
use super::health::{Checked, Health};
use super::member::Member;
use super::pools::DrainedSince;

/// A member in one pool.
#[derive(Clone)]
pub struct Seat {
    /// The member.
    pub member: Arc<Member>,
    /// What checks say; `None` where there are none.
    pub checked: Option<Arc<Checked>>,
    /// Its part of the requests, beside those of the others: 65,535 at most.
    pub weight: u32,
    /// Its zone.
    pub zone: Option<Arc<str>>,
    /// Whether it is in the proxy's own zone, or no zones are told apart.
    pub is_near: bool,
    /// Since when it gets no new requests; `None` where it does.
    pub drained: Option<Arc<DrainedSince>>,
}

/// Whether a member gets requests, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberState {
    /// It does.
    Fit,
    /// It has not been checked yet.
    Unknown,
    /// Checks find it unfit.
    Sick,
    /// It is left alone for what it did to requests.
    LeftAlone,
    /// One request at a time, to see whether it is well again.
    OnTrial,
    /// No new ones.
    Drained,
}

impl Seat {
    /// How it stands.
    pub fn state(&self, now_nanos: u64) -> MemberState {
        let health = self.checked.as_ref().map(|checked| checked.health());
        match (health, self.member.breaker.state(now_nanos)) {
            _ if self.is_drained() => MemberState::Drained,
            (Some(Health::Sick), _) => MemberState::Sick,
            (Some(Health::Unknown), _) => MemberState::Unknown,
            (_, State::Open) => MemberState::LeftAlone,
            (_, State::HalfOpen) => MemberState::OnTrial,
            (_, State::Closed) => MemberState::Fit,
        }
    }

    /// Whether it is fit for new requests, if only for one at a time.
    pub fn is_fit(&self, now_nanos: u64) -> bool {
        self.state(now_nanos).is_fit()
    }

    /// Whether it gets no new requests.
    pub fn is_drained(&self) -> bool {
        self.drained.is_some()
    }

    /// Whether checks say nothing against it.
    pub fn is_well(&self) -> bool {
        self.checked.as_ref().is_none_or(|checked| checked.health() == Health::Healthy)
    }

    /// Whether it still gets the requests of clients that are bound to it, which a drained member keeps for so long.
    pub(super) fn keeps_clients(&self, drain_limit: Duration, now_nanos: u64) -> bool {
        let since = self.drained.as_ref().map_or(0, |since| since.load(Ordering::Relaxed));
        let is_in_time = since == 0 || u128::from(now_nanos.saturating_sub(since)) < drain_limit.as_nanos();
        is_in_time && self.is_well() && self.member.breaker.state(now_nanos) != State::Open
    }

    /// Requests in flight for each part of its weight, in thousandths: what one more would find.
    pub(super) fn load(&self) -> u64 {
        (u64::from(self.member.in_flight()) + 1) * 1000 / u64::from(self.weight.max(1))
    }
}

impl MemberState {
    /// Whether it is fit for new requests, if only for one at a time.
    pub fn is_fit(self) -> bool {
        matches!(self, Self::Fit | Self::OnTrial)
    }
}

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fit => "fit",
            Self::Unknown => "unknown",
            Self::Sick => "sick",
            Self::LeftAlone => "left alone",
            Self::OnTrial => "on trial",
            Self::Drained => "drained",
        })
    }
}
