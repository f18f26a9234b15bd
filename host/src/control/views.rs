//! What the API shows: the host as it stands, in plain data. Shared with the CLI, which reads it.

pub mod auto_back;
pub mod canary;
pub mod way;
pub mod way_back;

use serde::{Deserialize, Serialize};

use self::auto_back::AutoBackView;
use self::canary::{CanaryView, DecidedView};
use self::way::Way;
use self::way_back::WayBackView;
use crate::address::Address;
use crate::proxy::seat::{MemberState, Seat};
use crate::release::Release;
use crate::spec::{DeciderSpec, Spec};
use crate::store::journal::{Entry, Stand};
use crate::switch::Switch;
use crate::switch::receipt::ReleaseName;
use crate::switch::share::Share;
use crate::telemetry::{PoolTotals, VipTotals};

/// `GET /v1/status`
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// The version of the host.
    pub version: String,
    /// The release that serves.
    pub current: ReleaseName,
    /// Where `back` would go.
    pub back: Option<Step>,
    /// Where `forward` would go.
    pub forward: Option<Step>,
    /// How far `back` can go, and what else is to know of it.
    pub way: Way,
    /// The release that is tried out beside the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryView>,
    /// What came of the requests that each of the two decided.
    #[serde(default)]
    pub decided: Vec<DecidedView>,
    /// Requests in flight that the current release decided.
    pub in_flight: u32,
    /// Worker threads.
    pub workers: usize,
    /// The vips.
    pub vips: Vec<VipView>,
    /// The pools.
    pub pools: Vec<PoolView>,
    /// The policies.
    pub policies: Vec<PolicyView>,
    /// Whether `back` can be pressed, and what is in the way if not.
    #[serde(default)]
    pub way_back: WayBackView,
    /// What the host does by itself, and whether it may.
    #[serde(default)]
    pub auto_back: AutoBackView,
    /// The last entries of the history, newest first.
    pub recent: Vec<Entry>,
    /// How the journal stands.
    pub journal: Stand,
}

/// A release one step away.
#[derive(Debug, Serialize, Deserialize)]
pub struct Step {
    /// Its number.
    pub number: u64,
    /// Whether it is staged, and warm on every worker: a switch to it takes no time.
    pub ready: bool,
}

/// A vip as it stands.
#[derive(Debug, Serialize, Deserialize)]
pub struct VipView {
    /// Its name.
    pub name: String,
    /// The listeners of the configuration.
    pub listen: Vec<String>,
    /// The addresses it is reached at.
    pub bound: Vec<Address>,
    /// Hosts it serves; none means all.
    pub hosts: Vec<String>,
    /// Path prefixes it serves; none means all.
    pub paths: Vec<String>,
    /// What decides for it.
    pub decider: DeciderSpec,
    /// Whether its policy is there. A vip whose policy has not arrived is served by its fallback pool.
    pub decides: bool,
    /// Its fallback pool.
    pub fallback: Option<String>,
    /// How its requests were decided.
    #[serde(flatten)]
    pub totals: VipTotals,
}

/// A pool as it stands.
#[derive(Debug, Serialize, Deserialize)]
pub struct PoolView {
    /// Its name.
    pub name: String,
    /// Whether all members are used, as too few are fit.
    #[serde(default)]
    pub panics: bool,
    /// Requests that wait for a member.
    #[serde(default)]
    pub waiting: u32,
    /// Its members.
    pub members: Vec<MemberView>,
    /// What it served.
    #[serde(flatten)]
    pub totals: PoolTotals,
}

/// A member as it stands.
#[derive(Debug, Serialize, Deserialize)]
pub struct MemberView {
    /// Its address.
    pub address: Address,
    /// Whether it gets requests, and if not, why.
    pub state: MemberState,
    /// Why it is in that state, where there is more to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Its part of the requests.
    pub weight: u32,
    /// Its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Requests in flight to it.
    pub in_flight: u32,
    /// Connections to it.
    pub connections: u32,
    /// Requests sent to it.
    pub requests: u64,
    /// Requests that failed: not answered, not whole, or with 500, 502, 503 or 504.
    pub failures: u64,
}

/// A policy as it stands.
#[derive(Debug, Serialize, Deserialize)]
pub struct PolicyView {
    /// Its name.
    pub name: String,
    /// Its build; none while only its settings are known.
    pub digest: Option<crate::digest::Digest>,
    /// What it says of itself.
    pub description: Option<String>,
    /// The pools it chooses from.
    pub pools: Vec<String>,
}

/// `GET /v1/releases/N`
#[derive(Debug, Serialize, Deserialize)]
pub struct ReleaseView {
    /// Its name.
    #[serde(flatten)]
    pub name: ReleaseName,
    /// Whether it serves.
    pub current: bool,
    /// Its content.
    pub content: Spec,
}

/// `GET /v1/history`
#[derive(Debug, Serialize, Deserialize)]
pub struct History {
    /// The release that serves.
    pub current: u64,
    /// The releases `back` and `forward` move along, oldest first.
    pub trail: Vec<u64>,
    /// Where the current one is among them.
    pub position: usize,
    /// What happened, newest first.
    pub entries: Vec<Entry>,
}

/// On what terms something is switched. Part of every body that asks for it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Terms {
    /// For the history.
    pub why: Option<String>,
    /// Even if all members of a pool are sick.
    #[serde(default)]
    pub force: bool,
    /// Even over a point of no return; needs the admin token, and a reason.
    #[serde(default)]
    pub over_fence: bool,
    /// Gone back from by itself, unless it is confirmed within this time: `5m`.
    pub confirm_within: Option<String>,
    /// The new release is a point of no return, for this reason.
    pub fence: Option<String>,
}

/// `POST /v1/back`, `/v1/forward`: an optional body.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct StepRequest {
    /// How many releases; one where nothing is said.
    pub steps: Option<usize>,
    /// To this one instead: `r37`.
    pub to: Option<String>,
    /// Only this vip.
    pub vip: Option<String>,
    /// On what terms.
    #[serde(flatten)]
    pub terms: Terms,
}

/// `POST /v1/releases/N/activate`: an optional body.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ActivateRequest {
    /// The share of the keys that it is to decide for, such as `"5%"` or `0.05`; none is all of them.
    pub share: Option<Share>,
    /// What tells clients apart: `cookie:NAME`, `header:NAME` or `client`.
    pub key: Option<String>,
    /// On what terms.
    #[serde(flatten)]
    pub terms: Terms,
}

/// What is said without a switch: an optional body.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SayRequest {
    /// For the history.
    pub why: Option<String>,
}

/// `PUT /v1/vips/VIP`: exactly one of the two.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct AssignRequest {
    /// The pool that is to serve it.
    pub pool: Option<String>,
    /// Or the policy that is to decide.
    pub policy: Option<String>,
    /// As with [`ActivateRequest`].
    pub share: Option<Share>,
    /// As with [`ActivateRequest`].
    pub key: Option<String>,
    /// On what terms.
    #[serde(flatten)]
    pub terms: Terms,
}

/// `PUT /v1/pools/POOL/members/MEMBER`: what is left out stays as it is, or as usual where the member is new.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct MemberRequest {
    /// Its part of the pool's requests: 1 to 1000.
    pub weight: Option<u32>,
    /// Where it stands.
    pub zone: Option<String>,
    /// Whether it gets no new requests.
    pub drain: Option<bool>,
    /// On what terms.
    #[serde(flatten)]
    pub terms: Terms,
}

/// The host as it stands, but for the history.
pub fn status(switch: &Switch, recent: Vec<Entry>) -> Status {
    let serving = switch.current.serving();
    let current = &serving.release;
    let trail = switch.trail();
    let ready = switch.ready();
    let step = |number: Option<u64>| number.map(|number| Step { number, ready: ready.contains(&number) });
    // From a canary, it goes to what serves beside it, and nowhere else.
    let (back, forward) = match serving.canary() {
        Some(_) => (Some(current.number), None),
        None => (trail.behind(), trail.ahead()),
    };
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        current: (&**current).into(),
        canary: CanaryView::of(&serving),
        decided: DecidedView::all(&serving),
        back: step(back),
        forward: step(forward),
        way: way::way(switch, current),
        in_flight: current.flights.in_flight(),
        workers: switch.ground.workers,
        vips: vips(switch, current),
        pools: pools(current),
        policies: policies(current),
        way_back: way_back::view(switch),
        auto_back: auto_back::view(switch),
        recent,
        journal: switch.journal.stand(),
    }
}

/// The vips of a release.
pub fn vips(switch: &Switch, release: &Release) -> Vec<VipView> {
    let listening = switch.listening();
    let bound = |name: &str| {
        let id = release.spec.listener(name)?.id(name);
        listening.iter().find(|(listening, _)| **listening == *id).map(|(_, bound)| bound.clone())
    };
    let view = |(name, spec): (&String, &crate::spec::VipSpec)| VipView {
        name: name.clone(),
        listen: spec.listen.clone(),
        bound: spec.listen.iter().filter_map(|name| bound(name)).collect(),
        hosts: spec.hosts.clone(),
        paths: spec.paths.clone(),
        decides: match &spec.decider {
            DeciderSpec::Pool(_) => true,
            DeciderSpec::Policy(policy) => release.policies.contains_key(policy.as_str()),
        },
        decider: spec.decider.clone(),
        fallback: spec.fallback.clone(),
        totals: release.vips[name.as_str()].counts.totals(),
    };
    release.spec.vips.iter().map(view).collect()
}

/// The pools of a release.
pub fn pools(release: &Release) -> Vec<PoolView> {
    let view = |pool: &std::sync::Arc<crate::proxy::pool::Pool>| PoolView {
        name: pool.name.to_string(),
        panics: pool.roster().panics,
        waiting: pool.lasting.queue.waiting(),
        members: pool.roster().seats.iter().map(member).collect(),
        totals: pool.counts.totals(),
    };
    release.pools.values().map(view).collect()
}

fn member(seat: &Seat) -> MemberView {
    let now = crate::time::nanos_since_start();
    let state = seat.state(now);
    let reason = match state {
        MemberState::LeftAlone => {
            format!("for {} more", humantime::format_duration(whole_seconds(seat.member.breaker.rest(now))))
        }
        _ => seat.checked.as_ref().map(|checked| checked.reason().to_string()).unwrap_or_default(),
    };
    let deeds = seat.member.deeds();
    MemberView {
        address: seat.member.address.clone(),
        state,
        reason,
        weight: seat.weight,
        zone: seat.zone.as_deref().map(Into::into),
        in_flight: seat.member.in_flight(),
        connections: seat.member.connections(),
        requests: deeds.requests,
        failures: deeds.failures,
    }
}

fn whole_seconds(time: std::time::Duration) -> std::time::Duration {
    std::time::Duration::from_secs(time.as_secs_f64().ceil() as u64)
}

fn policies(release: &Release) -> Vec<PolicyView> {
    let view = |(name, spec): (&String, &crate::spec::PolicySpec)| {
        let manifest = release.policies.get(name.as_str()).map(|policy| &policy.manifest);
        PolicyView {
            name: name.clone(),
            digest: spec.digest,
            description: manifest.map(|manifest| manifest.description.clone()),
            pools: manifest.map(|manifest| manifest.pools.clone()).unwrap_or_default(),
        }
    };
    release.spec.policies.iter().map(view).collect()
}
