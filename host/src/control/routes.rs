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
//! | `POST /v1/releases/N/activate` | make a release current |
//! | `POST /v1/back`, `POST /v1/forward` | go back, go forward |

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{get, post, put};
use serde::Deserialize;

use super::Api;
use super::auth::{origin, require_local_name, require_token};
use super::crashes;
use super::error::ApiError;
use super::metrics;
use super::readiness::{ready, require_started};
use super::views::{
    self, ActivateRequest, AssignRequest, History, MemberRequest, PoolView, ReleaseView, Status, StepRequest, VipView,
};
use crate::policy::intake::upload::upload;
use crate::policy::validate::POLICY_BYTES_MAX;
use crate::proxy::events::Event;
use crate::spec::member::{NotAMember, Whereabouts};
use crate::spec::{DeciderSpec, Spec};
use crate::switch::Refusal;
use crate::switch::change::{Change, MemberEdit};
use crate::switch::receipt::Receipt;

/// Entries of the history that `status` shows.
const RECENT: usize = 5;

/// How long `status` waits for them.
const DISK_PATIENCE: std::time::Duration = std::time::Duration::from_millis(500);

/// Entries of the history that can be asked for at once.
const HISTORY_MAX: usize = 1000;

type Answer<T> = Result<Json<T>, ApiError>;

/// Carries a change out to its end, even if the caller hangs up in the middle of it.
async fn whole(change: impl Future<Output = Result<Receipt, Refusal>> + Send + 'static) -> Answer<Receipt> {
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

async fn status(State(api): State<Api>) -> Answer<Status> {
    // How the host stands is known without the disk; what happened last is left out where the disk does not answer.
    let recent = tokio::time::timeout(DISK_PATIENCE, api.switch.journal.history(RECENT)).await;
    let recent = recent.ok().and_then(Result::ok).unwrap_or_default();
    Ok(Json(views::status(&api.switch, recent)))
}

#[derive(Deserialize)]
struct HistoryQuery {
    limit: Option<usize>,
}

async fn history(State(api): State<Api>, query: Result<Query<HistoryQuery>, QueryRejection>) -> Answer<History> {
    let Query(query) = query.map_err(|error| ApiError::BadRequest(error.body_text()))?;
    let entries = api.switch.journal.history(query.limit.unwrap_or(50).min(HISTORY_MAX)).await?;
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
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Receipt> {
    let MemberRequest { weight, zone, drain, why, force } = parse(&body)?;
    let at = whereabouts(&member)?;
    let why = why.unwrap_or_else(|| format!("member {at} of pool {pool} is set"));
    let change = Change::Member { pool, at, edit: MemberEdit::Set { weight, zone, drain } };
    let origin = origin(&headers, Some(why), force);
    whole(async move { api.switch.activate(change, &origin, Vec::new()).await }).await
}

async fn delete_member(
    State(api): State<Api>,
    Path((pool, member)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Receipt> {
    let StepRequest { why, force } = parse(&body)?;
    let at = whereabouts(&member)?;
    let why = why.unwrap_or_else(|| format!("member {at} of pool {pool} is removed"));
    let change = Change::Member { pool, at, edit: MemberEdit::Remove };
    let origin = origin(&headers, Some(why), force);
    whole(async move { api.switch.activate(change, &origin, Vec::new()).await }).await
}

fn whereabouts(text: &str) -> Result<Whereabouts, ApiError> {
    text.parse().map_err(|error: NotAMember| ApiError::BadRequest(error.to_string()))
}

async fn assign(State(api): State<Api>, Path(vip): Path<String>, headers: HeaderMap, body: Bytes) -> Answer<Receipt> {
    let AssignRequest { pool, policy, why, force } = parse(&body)?;
    let decider = match (pool, policy) {
        (Some(pool), None) => DeciderSpec::Pool(pool),
        (None, Some(policy)) => DeciderSpec::Policy(policy),
        _ => return Err(ApiError::BadRequest("expected either `pool` or `policy`".into())),
    };
    let change = Change::Assign { vip, decider };
    let origin = origin(&headers, why, force);
    whole(async move { api.switch.activate(change, &origin, Vec::new()).await }).await
}

#[derive(Deserialize)]
struct PolicyQuery {
    config: Option<String>,
    why: Option<String>,
    #[serde(default)]
    force: bool,
}

async fn put_policy(
    State(api): State<Api>,
    Path(name): Path<String>,
    query: Result<Query<PolicyQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Receipt> {
    let Query(query) = query.map_err(|error| ApiError::BadRequest(error.body_text()))?;
    let origin = origin(&headers, query.why, query.force);
    let body = body.map_err(|_| Refusal::too_large(&name))?;
    whole(async move { upload(&api.switch, name, body, query.config, &origin).await }).await
}

async fn activate(
    State(api): State<Api>,
    Path(number): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer<Receipt> {
    let ActivateRequest { why, force } = parse(&body)?;
    let number = parse_number(&number)?;
    let content = content(&api, number).await?;
    let mut origin = origin(&headers, why, force);
    if origin.why.is_empty() {
        origin.why = format!("content of r{number}");
    }
    let change = Change::Release(Box::new(content));
    whole(async move { api.switch.activate(change, &origin, Vec::new()).await }).await
}

async fn back(State(api): State<Api>, headers: HeaderMap, body: Bytes) -> Answer<Receipt> {
    let StepRequest { why, force } = parse(&body)?;
    let origin = origin(&headers, why, force);
    whole(async move { api.switch.back(&origin).await }).await
}

async fn forward(State(api): State<Api>, headers: HeaderMap, body: Bytes) -> Answer<Receipt> {
    let StepRequest { why, force } = parse(&body)?;
    let origin = origin(&headers, why, force);
    whole(async move { api.switch.forward(&origin).await }).await
}

async fn content(api: &Api, number: u64) -> Result<Spec, ApiError> {
    Ok(api.switch.journal.release(number).await?.ok_or(Refusal::NoSuchRelease(number))?)
}

/// A body of JSON; none is the same as `{}`. What it is called does not matter.
fn parse<T: for<'a> Deserialize<'a>>(body: &Bytes) -> Result<T, ApiError> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|error| ApiError::BadRequest(format!("the body is not what was expected: {error}")))
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
