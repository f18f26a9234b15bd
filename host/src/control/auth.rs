//! Who may change something: whoever holds the token.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::Api;
use super::error::ApiError;
use super::once::{call, expected};
use crate::policy::text;
use crate::store::journal::Door;
use crate::switch::receipt::Origin;

/// The name of whoever asks, for the history. Claimed, not proved: the token is what counts.
pub const X_WHO: HeaderName = HeaderName::from_static("x-switchback-who");

/// What the command line says in Host: on a Unix socket there is no name.
pub const SOCKET_HOST: &str = "switchback";

/// Lets a request pass that carries `Authorization: Bearer TOKEN` (RFC 6750, 2.1).
pub(super) async fn require_token(State(api): State<Api>, request: Request, next: Next) -> Result<Response, ApiError> {
    let given = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
    let given = given.and_then(|value| value.strip_prefix(b"Bearer ")).ok_or(ApiError::NoToken)?;
    if bool::from(given.ct_eq(api.token.as_bytes())) { Ok(next.run(request).await) } else { Err(ApiError::WrongToken) }
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

/// Where a change that came through the API is from.
pub(super) fn origin(headers: &HeaderMap, why: Option<String>, force: bool) -> Origin {
    let who = headers.get(X_WHO).map_or_else(|| "unknown".into(), |who| String::from_utf8_lossy(who.as_bytes()));
    let why = why.unwrap_or_default();
    Origin {
        door: Door::Api,
        who: text::printable(&who).into_owned(),
        why: text::printable(&why).into_owned(),
        force,
        // What is not understood was refused before, see `once`.
        expects: expected(headers).ok().flatten(),
        call: call(headers),
    }
}
