//! Who may change something: whoever holds the token.

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::Api;
use super::error::ApiError;
use crate::policy::text;
use crate::store::journal::Door;
use crate::switch::receipt::Origin;

/// The name of whoever asks, for the history. Claimed, not proved: the token is what counts.
pub const X_WHO: HeaderName = HeaderName::from_static("x-switchback-who");

/// Lets a request pass that carries `Authorization: Bearer TOKEN` (RFC 6750, 2.1).
pub(super) async fn require_token(State(api): State<Api>, request: Request, next: Next) -> Result<Response, ApiError> {
    let given = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
    let given = given.and_then(|value| value.strip_prefix(b"Bearer ")).ok_or(ApiError::NoToken)?;
    if bool::from(given.ct_eq(api.token.as_bytes())) { Ok(next.run(request).await) } else { Err(ApiError::WrongToken) }
}

/// Where a change that came through the API is from.
pub(super) fn origin(headers: &HeaderMap, why: Option<String>) -> Origin {
    let who = headers.get(X_WHO).map_or_else(|| "unknown".into(), |who| String::from_utf8_lossy(who.as_bytes()));
    let why = why.unwrap_or_default();
    Origin { door: Door::Api, who: text::printable(&who).into_owned(), why: text::printable(&why).into_owned() }
}
