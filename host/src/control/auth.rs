//! Who may change something: whoever holds the token.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderName;
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::Api;
use super::error::ApiError;
use super::once::{call, expected};
use super::views::Terms;
use crate::policy::text;
use crate::store::journal::{Call, Door};
use crate::switch::receipt::Origin;

/// The name of whoever asks, for the history. Claimed, not proved: the token is what counts.
pub const X_WHO: HeaderName = HeaderName::from_static("x-switchback-who");

/// What the command line says in Host: on a Unix socket there is no name.
pub const SOCKET_HOST: &str = "switchback";

/// How long a release may wait to be confirmed.
const CONFIRM_TIMES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * 24 * 3600);

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// Look.
    Reader,
    /// Change what serves.
    Operator,
    /// Also go over a point of no return.
    Admin,
}

/// Who calls.
pub(super) struct Caller {
    who: String,
    role: Role,
    expects: Option<Vec<u64>>,
    call: Option<Call>,
}

/// Lets a request pass that carries `Authorization: Bearer TOKEN` (RFC 6750, 2.1), and notes the role that it gives.
pub(super) async fn require_token(
    State(api): State<Api>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let given = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
    let given = given.and_then(|value| value.strip_prefix(b"Bearer ")).ok_or(ApiError::NoToken)?;
    let is = |token: &str| bool::from(given.ct_eq(token.as_bytes()));
    let role = match (is(&api.admin_token), is(&api.token)) {
        (true, _) => Role::Admin,
        (false, true) => Role::Operator,
        (false, false) => return Err(ApiError::WrongToken),
    };
    request.extensions_mut().insert(role);
    Ok(next.run(request).await)
}

/// Refuses what a web page could ask: a page of another site reaches a loopback address under a name of its own (DNS
/// rebinding), and the browser says which.
pub(super) async fn require_local_name(request: Request, next: Next) -> Result<Response, ApiError> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let literal = name.trim_start_matches('[').trim_end_matches(']');
    let is_local = [SOCKET_HOST, "localhost"].contains(&name) || literal.parse::<IpAddr>().is_ok();
    if is_local { Ok(next.run(request).await) } else { Err(ApiError::StrangeHost) }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let who = parts.headers.get(X_WHO).map(|who| String::from_utf8_lossy(who.as_bytes()));
        let who = who.map_or_else(|| "unknown".into(), |who| text::printable(&who).into_owned());
        let role = parts.extensions.get().copied().unwrap_or(Role::Reader);
        // What is not understood was refused before, see `once`.
        Ok(Self { who, role, expects: expected(&parts.headers).ok().flatten(), call: call(&parts.headers) })
    }
}

impl Caller {
    /// Where a change that came through the API is from, on these terms.
    ///
    /// # Errors
    /// When the terms are not understood, or not for this caller to set.
    pub(super) fn origin(&self, terms: Terms) -> Result<Origin, ApiError> {
        let Terms { why, force, over_fence, confirm_within, fence } = terms;
        let why = text::printable(&why.unwrap_or_default()).into_owned();
        if over_fence {
            self.must_be_admin()?;
            if why.is_empty() {
                return Err(ApiError::BadRequest("going over a point of no return needs a reason: `why`".into()));
            }
        }
        let confirm_within = confirm_within.as_deref().map(confirm_time).transpose()?;
        let fence = fence.map(|fence| text::printable(&fence).into_owned());
        Ok(Origin { force, over_fence, confirm_within, fence, ..self.says(Some(why)) })
    }

    /// Where something that is only said is from.
    pub(super) fn says(&self, why: Option<String>) -> Origin {
        let origin = Origin::through(Door::Api, self.who.clone(), text::printable(&why.unwrap_or_default()));
        Origin { expects: self.expects.clone(), call: self.call.clone(), ..origin }
    }

    /// # Errors
    /// When the caller has not the stronger role.
    pub(super) fn must_be_admin(&self) -> Result<(), ApiError> {
        if self.role == Role::Admin { Ok(()) } else { Err(ApiError::NotAdmin) }
    }
}

fn confirm_time(text: &str) -> Result<Duration, ApiError> {
    let time = humantime::parse_duration(text).ok().filter(|time| CONFIRM_TIMES.contains(time));
    time.ok_or_else(|| {
        let text = text::printable(text);
        ApiError::BadRequest(format!("confirm_within: expected a time of 1s to 30days such as `5m`, got `{text}`"))
    })
}
