//! Whether requests should come to this host: what a balancer or an orchestrator in front asks.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::error::ApiError;

/// Whether requests should come to this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Not yet.
    Starting,
    /// They should.
    Ready,
    /// No more. Those that come are served for now.
    Leaving,
}

/// `GET /ready`
pub(super) async fn ready(State(api): State<Api>) -> impl IntoResponse {
    match *api.readiness.borrow() {
        Readiness::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Readiness::Ready => (StatusCode::OK, "ready\n"),
        Readiness::Leaving => (StatusCode::SERVICE_UNAVAILABLE, "leaving\n"),
    }
}

/// Refuses what cannot be answered before anything serves.
pub(super) async fn require_started(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if *api.readiness.borrow() == Readiness::Starting { Err(ApiError::Starting) } else { Ok(next.run(request).await) }
}
