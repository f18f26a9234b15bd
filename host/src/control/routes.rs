//! The API's routes: each a call of the switch.
//!
//! | route | does |
//! |---|---|
//! | `GET /ready` | whether requests should come here |
//! | `GET /v1/status` | the host as it stands |
//! | `GET /v1/history?limit=N` | what happened, newest first |
//! | `GET /v1/releases/N` | one release whole; `current` for N is the one that serves |
//! | `GET /v1/vips`, `GET /v1/pools` | as they stand |
//! | `GET /v1/events?limit=N` | what became of members and pools, newest first |
//! | `GET /metrics` | counts, for Prometheus |
//! | `PUT /v1/vips/VIP` | assign a pool or a policy: `{"pool": "green"}` |
//! | `PUT /v1/pools/POOL/members/MEMBER` | add a member, or change it: `{"weight": 2, "zone": "a", "drain": true}` |
//! | `DELETE /v1/pools/POOL/members/MEMBER` | take a member out |
//! | `PUT /v1/policies/NAME` | upload a policy; the body is its bytes, `?config=TEXT` what it is told |
//! | `POST /v1/releases/N/activate` | make a release current, or try it out: `{"share": "5%", "key": "cookie:uid"}` |
//! | `POST /v1/back`, `POST /v1/forward` | go back, go forward: `{"steps": 3}`, `{"to": "r37"}`, `{"vip": "shop"}` |
//! | `POST /v1/confirm` | keep what would go back by itself |
//! | `PUT /v1/releases/N/fence`, `DELETE ...` | make a release a point of no return; or one like any other |
//! | `GET /v1/quarantine` | what was gone back from, and comes in again by a person only |
//! | `DELETE /v1/quarantine/DIGEST` | let it in |
//! | `GET /v1/receipts/ID` | an entry of the journal, and the receipt that was given |
//! | `GET /v1/journal?since=ID&limit=N` | entries with receipts and hashes, a line of JSON each |
//! | `GET /v1/journal/verify?head=HASH` | whether the chain of hashes holds |
//! | `PUT`, `DELETE /v1/journal/ID/pin` | keep an entry whatever the bounds, or no longer |
//!
//! What changes something understands `If-Match` and `Idempotency-Key`, see [`super::once`].

use std::cell::Cell;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{delete, get, post, put};
use serde::{Deserialize, Serialize};

use super::Api;
use super::auth::{Caller, require_local_name, require_token};
use super::crashes;
use super::error::ApiError;
use super::journal;
use super::metrics;
use super::once::{etag, once};
use super::readiness::{ready, require_started};
use super::views::way::QuarantineView;
use super::views::{
    self, ActivateRequest, AssignRequest, History, MemberRequest, PoolView, ReleaseView, SayRequest, StepRequest,
    Terms, VipView,
};
use crate::policy::intake::upload::upload;
use crate::policy::validate::POLICY_BYTES_MAX;
use crate::proxy::events::Event;
use crate::spec::member::{NotAMember, Whereabouts};
use crate::spec::{DeciderSpec, Spec};
use crate::store::journal::{Entry, Kind};
use crate::switch::canary::{Trial, key_of_trial};
use crate::switch::change::{Change, MemberEdit};
use crate::switch::receipt::{Origin, REFUSED, Receipt};
use crate::switch::share::Share;
use crate::switch::step::{Far, Step};
use crate::switch::{Refusal, Switch};

/// Entries of the history that `status` shows.
const RECENT: usize = 5;

/// Entries of the history that can be asked for at once.
const HISTORY_MAX: usize = 1000;

type Answer<T> = Result<Json<T>, ApiError>;

/// Carries a change out to its end, even if the caller hangs up in the middle of it.
async fn whole(change: impl Future<Output = Result<Receipt, Refusal>> + Send + 'static) -> Answer<Receipt> {
    let change = REFUSED.scope(Cell::new(None), async {
        let receipt = change.await;
        receipt.map_err(|refusal| match REFUSED.with(Cell::get) {
            Some(entry) => ApiError::Journalled(Box::new(refusal.into()), entry),
            None => refusal.into(),
        })
    });
    Ok(Json(tokio::spawn(change).await.expect("a change does not panic")?))
}

pub(super) fn all(api: Api) -> Router {
    let changing = Router::new()
        .route("/v1/vips/{vip}", put(assign))
        .route("/v1/pools/{pool}/members/{member}", put(put_member).delete(delete_member))
        .route("/v1/policies/{name}", put(put_policy).layer(DefaultBodyLimit::max(POLICY_BYTES_MAX + 1)))
        .route("/v1/releases/{number}/activate", post(activate))
        .route("/v1/back", post(back))
        .route("/v1/forward", post(forward))
        .route("/v1/confirm", post(confirm))
        .route("/v1/releases/{number}/fence", put(fence).delete(unfence))
        .route("/v1/quarantine/{digest}", delete(unquarantine))
        .route_layer(middleware::from_fn_with_state(api.clone(), once))
        .route("/v1/journal/{id}/pin", put(journal::pin).delete(journal::unpin))
        .route("/v1/crashes", get(crashes::all))
        .route("/v1/crashes/{id}", get(crashes::one))
        .route_layer(middleware::from_fn_with_state(api.clone(), require_token));
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/history", get(history))
        .route("/v1/releases/{number}", get(release))
        .route("/v1/vips", get(vips))
        .route("/v1/pools", get(pools))
        .route("/v1/events", get(events))
        .route("/v1/receipts/{id}", get(journal::receipt))
        .route("/v1/journal", get(journal::export))
        .route("/v1/journal/verify", get(journal::verify))
        .route("/v1/quarantine", get(quarantine))
        .route("/metrics", get(metrics))
        .merge(changing)
        .fallback(async || ApiError::NotFound("there is no such route".into()))
        .layer(middleware::from_fn_with_state(api.clone(), require_started))
        .route("/ready", get(ready))
        .layer(middleware::from_fn(require_local_name))
        .with_state(api)
}

async fn metrics(State(api): State<Api>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::text(&api.switch))
}

async fn status(State(api): State<Api>) -> impl IntoResponse {
    api.switch.look_back_again().await;
    let status = views::status(&api.switch, api.switch.journal.history(RECENT).await);
    ([(ETAG, etag(status.current.number))], Json(status))
}

#[derive(Deserialize)]
struct HistoryQuery {
    limit: Option<usize>,
}

async fn history(State(api): State<Api>, query: Result<Query<HistoryQuery>, QueryRejection>) -> Answer<History> {
    let Query(query) = query.map_err(|error| ApiError::BadRequest(error.body_text()))?;
    let entries = api.switch.journal.history(query.limit.unwrap_or(50).min(HISTORY_MAX)).await;
    let trail = api.switch.trail();
    Ok(Json(History { current: trail.current(), trail: trail.steps().to_vec(), position: trail.position(), entries }))
}

async fn release(State(api): State<Api>, Path(number): Path<String>) -> Answer<ReleaseView> {
    let current = api.switch.current.get();
    let number = if number == "current" { current.number } else { parse_number(&number)? };
    let content = content(&api, number).await?;
    let name = crate::switch::receipt::ReleaseName { number, digest: content.digest() };
    Ok(Json(ReleaseView { current: number == current.number, name, content }))
}

async fn vips(State(api): State<Api>) -> Json<Vec<VipView>> {
    Json(views::vips(&api.switch, &api.switch.current.get()))
}

async fn pools(State(api): State<Api>) -> Json<Vec<PoolView>> {
    Json(views::pools(&api.switch.current.get()))
}

async fn events(State(api): State<Api>, query: Result<Query<HistoryQuery>, QueryRejection>) -> Answer<Vec<Event>> {
    let Query(query) = query.map_err(|error| ApiError::BadRequest(error.body_text()))?;
    Ok(Json(api.switch.ground.events.last(query.limit.unwrap_or(50).min(HISTORY_MAX))))
}

async fn put_member(
    State(api): State<Api>,
    Path((pool, member)): Path<(String, String)>,
    caller: Caller,
    body: Bytes,
) -> Answer<Receipt> {
    let MemberRequest { weight, zone, drain, terms } = parse(&body)?;
    let at = whereabouts(&member)?;
    let origin = caller.origin(or_why(terms, || format!("member {at} of pool {pool} is set")))?;
    let change = Change::Member { pool, at, edit: MemberEdit::Set { weight, zone, drain } };
    whole(async move { api.switch.activate(change, &origin, Vec::new()).await }).await
}

async fn delete_member(
    State(api): State<Api>,
    Path((pool, member)): Path<(String, String)>,
    caller: Caller,
    body: Bytes,
) -> Answer<Receipt> {
    let terms: Terms = parse(&body)?;
    let at = whereabouts(&member)?;
    let origin = caller.origin(or_why(terms, || format!("member {at} of pool {pool} is removed")))?;
    let change = Change::Member { pool, at, edit: MemberEdit::Remove };
    whole(async move { api.switch.activate(change, &origin, Vec::new()).await }).await
}

fn whereabouts(text: &str) -> Result<Whereabouts, ApiError> {
    text.parse().map_err(|error: NotAMember| ApiError::BadRequest(error.to_string()))
}

async fn assign(State(api): State<Api>, Path(vip): Path<String>, caller: Caller, body: Bytes) -> Answer<Receipt> {
    let AssignRequest { pool, policy, share, key, terms } = parse(&body)?;
    let trial = trial(share, key.as_deref(), &terms)?;
    let decider = match (pool, policy) {
        (Some(pool), None) => DeciderSpec::Pool(pool),
        (None, Some(policy)) => DeciderSpec::Policy(policy),
        _ => return Err(ApiError::BadRequest("expected either `pool` or `policy`".into())),
    };
    let change = Change::Assign { vip, decider };
    let origin = caller.origin(terms)?;
    whole(async move { make(&api.switch, change, trial.as_ref(), &origin).await }).await
}

/// Makes a change current, or tries it out.
async fn make(switch: &Switch, change: Change, trial: Option<&Trial>, origin: &Origin) -> Result<Receipt, Refusal> {
    match trial {
        Some(trial) => switch.try_out(change, trial, origin).await,
        None => switch.activate(change, origin, Vec::new()).await,
    }
}

fn trial(share: Option<Share>, key: Option<&str>, terms: &Terms) -> Result<Option<Trial>, ApiError> {
    let key = key.map(key_of_trial).transpose().map_err(|error| ApiError::BadRequest(error.to_string()))?;
    match share {
        Some(share) if share < Share::ALL && (terms.confirm_within.is_some() || terms.fence.is_some()) => {
            let text = "a share of the requests can be neither confirmed nor a point of no return: all of them can";
            Err(ApiError::BadRequest(text.into()))
        }
        Some(share) => Ok(Some(Trial { share, key })),
        None if key.is_some() => Err(ApiError::BadRequest("expected `share` beside `key`".into())),
        None => Ok(None),
    }
}

#[derive(Deserialize)]
struct PolicyQuery {
    config: Option<String>,
    share: Option<Share>,
    key: Option<String>,
    why: Option<String>,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    over_fence: bool,
    confirm_within: Option<String>,
    fence: Option<String>,
}

async fn put_policy(
    State(api): State<Api>,
    Path(name): Path<String>,
    query: Result<Query<PolicyQuery>, QueryRejection>,
    caller: Caller,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Receipt> {
    let Query(query) = query.map_err(|error| ApiError::BadRequest(error.body_text()))?;
    let PolicyQuery { config, why, force, over_fence, confirm_within, fence, share, key } = query;
    let terms = Terms { why, force, over_fence, confirm_within, fence };
    let trial = trial(share, key.as_deref(), &terms)?;
    let origin = caller.origin(terms)?;
    let body = body.map_err(|_| Refusal::too_large(&name))?;
    whole(async move { upload(&api.switch, name, body, config, trial.as_ref(), &origin).await }).await
}

async fn activate(State(api): State<Api>, Path(number): Path<String>, caller: Caller, body: Bytes) -> Answer<Receipt> {
    let ActivateRequest { share, key, terms } = parse(&body)?;
    let trial = trial(share, key.as_deref(), &terms)?;
    let number = parse_number(&number)?;
    if api.switch.canary().is_some_and(|canary| canary.release == number) {
        let origin = caller.origin(terms)?;
        let trial = trial.unwrap_or(Trial { share: Share::ALL, key: None });
        return whole(async move { api.switch.step_canary(number, &trial, &origin).await }).await;
    }
    let content = content(&api, number).await?;
    let origin = caller.origin(or_why(terms, || format!("content of r{number}")))?;
    let change = Change::Kept(number, Box::new(content));
    whole(async move { make(&api.switch, change, trial.as_ref(), &origin).await }).await
}

async fn back(State(api): State<Api>, caller: Caller, body: Bytes) -> Answer<Receipt> {
    step(api, &caller, Kind::Back, &body).await
}

async fn forward(State(api): State<Api>, caller: Caller, body: Bytes) -> Answer<Receipt> {
    step(api, &caller, Kind::Forward, &body).await
}

async fn step(api: Api, caller: &Caller, kind: Kind, body: &Bytes) -> Answer<Receipt> {
    let StepRequest { steps, to, vip, terms } = parse(body)?;
    let far = match (steps, to) {
        (None, Some(release)) => Far::To(parse_number(&release)?),
        (Some(_), Some(_)) => return Err(ApiError::BadRequest("expected either `steps` or `to`".into())),
        (steps, None) => Far::Steps(steps.unwrap_or(1)),
    };
    let origin = caller.origin(terms)?;
    whole(async move { api.switch.step(&Step { kind, far, vip }, &origin).await }).await
}

async fn fence(State(api): State<Api>, Path(number): Path<String>, caller: Caller, body: Bytes) -> Answer<Entry> {
    let origin = caller.says(parse::<SayRequest>(&body)?.why);
    if origin.why.is_empty() {
        return Err(ApiError::BadRequest("expected the reason of the point of no return: `why`".into()));
    }
    Ok(Json(api.switch.fence(parse_number(&number)?, &origin)?))
}

async fn unfence(State(api): State<Api>, Path(number): Path<String>, caller: Caller, body: Bytes) -> Answer<Entry> {
    caller.must_be_admin()?;
    let origin = caller.says(parse::<SayRequest>(&body)?.why);
    Ok(Json(api.switch.unfence(parse_number(&number)?, &origin)?))
}

async fn confirm(State(api): State<Api>, caller: Caller, body: Bytes) -> Answer<Entry> {
    Ok(Json(api.switch.confirm(&caller.says(parse::<SayRequest>(&body)?.why))?))
}

async fn quarantine(State(api): State<Api>) -> Json<Vec<QuarantineView>> {
    Json(views::way::quarantine(&api.switch))
}

async fn unquarantine(
    State(api): State<Api>,
    Path(digest): Path<String>,
    caller: Caller,
    body: Bytes,
) -> Answer<Entry> {
    Ok(Json(api.switch.unquarantine(&digest, &caller.says(parse::<SayRequest>(&body)?.why))?))
}

/// The terms, with a reason where none was given.
fn or_why(terms: Terms, why: impl FnOnce() -> String) -> Terms {
    Terms { why: terms.why.filter(|why| !why.is_empty()).or_else(|| Some(why())), ..terms }
}

async fn content(api: &Api, number: u64) -> Result<Spec, ApiError> {
    Ok(api.switch.journal.release(number).await?.ok_or(Refusal::NoSuchRelease(number))?)
}

/// A body of JSON; none is the same as `{}`. What it is called does not matter. A key that means nothing is a mistake:
/// whoever misspells `over_fence` is to know.
fn parse<T: Serialize + for<'a> Deserialize<'a> + Default>(body: &Bytes) -> Result<T, ApiError> {
    let wrong =
        |error: &dyn std::fmt::Display| ApiError::BadRequest(format!("the body is not what was expected: {error}"));
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    let given: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(body).map_err(|error| wrong(&error))?;
    // A derived `deny_unknown_fields` does not go with `flatten`.
    let known = serde_json::to_value(T::default()).expect("a request is plain data");
    if let Some(unknown) = given.keys().find(|key| known.get(key).is_none()) {
        let known = known.as_object().into_iter().flat_map(|known| known.keys()).cloned().collect::<Vec<_>>();
        let unknown = crate::policy::text::printable(unknown);
        return Err(wrong(&format!("unknown field `{unknown}`, expected one of {}", known.join(", "))));
    }
    serde_json::from_value(serde_json::Value::Object(given)).map_err(|error| wrong(&error))
}

fn parse_number(text: &str) -> Result<u64, ApiError> {
    let digits = text.strip_prefix('r').unwrap_or(text);
    digits.parse().map_err(|_| {
        ApiError::BadRequest(format!(
            "expected a release's number such as `42` or `r42`, got `{}`",
            crate::policy::text::printable(text)
        ))
    })
}
