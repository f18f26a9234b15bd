//! The journal's routes: receipts shown again, the export, the check, and pins.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use hyper::body::Frame;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Api;
use super::error::ApiError;
use crate::digest::NotADigest;
use crate::store::journal::chain::Verified;
use crate::store::journal::{JournalError, Kept};

/// Entries that are read at a time.
const EXPORT_AT_ONCE: usize = 500;

/// What a line of JSON each is called.
const NDJSON: &str = "application/x-ndjson";

/// `GET /v1/receipts/ID`
pub(super) async fn receipt(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Kept>, ApiError> {
    let id = entry_id(&id)?;
    let kept = api.switch.journal.entry(id).await?;
    Ok(Json(kept.ok_or(JournalError::NoSuchEntry(id))?))
}

#[derive(Deserialize)]
pub(super) struct VerifyQuery {
    head: Option<String>,
}

/// `GET /v1/journal/verify?head=HASH`
pub(super) async fn verify(
    State(api): State<Api>,
    query: Result<Query<VerifyQuery>, QueryRejection>,
) -> Result<Json<Verified>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::BadRequest(error.body_text()))?;
    let head = query.head.map(|head| head.parse()).transpose();
    let head = head.map_err(|error: NotADigest| ApiError::BadRequest(error.to_string()))?;
    Ok(Json(api.switch.journal.verify(head).await?))
}

#[derive(Deserialize)]
pub(super) struct ExportQuery {
    #[serde(default)]
    since: u64,
    limit: Option<usize>,
}

/// `GET /v1/journal?since=ID&limit=N`
pub(super) async fn export(
    State(api): State<Api>,
    query: Result<Query<ExportQuery>, QueryRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let Query(ExportQuery { since, limit }) = query.map_err(|error| ApiError::BadRequest(error.body_text()))?;
    let mut left = limit.unwrap_or(usize::MAX);
    // The first part before the status is said.
    let first = api.switch.journal.export(since, EXPORT_AT_ONCE.min(left)).await?;
    let (lines, body) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut exported = Ok(first);
        loop {
            let (part, last) = match exported {
                Ok(part) => (Ok(Bytes::from(part.lines)), part.last),
                Err(error) => (Err(error), None),
            };
            // Whoever reads no more wants no more.
            if lines.send(part).await.is_err() {
                return;
            }
            left = left.saturating_sub(EXPORT_AT_ONCE);
            match last {
                Some(since) if left > 0 => {
                    exported = api.switch.journal.export(since, EXPORT_AT_ONCE.min(left)).await;
                }
                _ => return,
            }
        }
    });
    Ok(([(CONTENT_TYPE, NDJSON)], Body::new(Lines(body))))
}

/// `PUT /v1/journal/ID/pin`
pub(super) async fn pin(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    set_pin(&api, &id, true).await
}

/// `DELETE /v1/journal/ID/pin`
pub(super) async fn unpin(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    set_pin(&api, &id, false).await
}

async fn set_pin(api: &Api, id: &str, pinned: bool) -> Result<Json<Value>, ApiError> {
    let id = entry_id(id)?;
    api.switch.journal.pin(id, pinned).await?;
    Ok(Json(json!({ "entry": id, "pinned": pinned })))
}

fn entry_id(text: &str) -> Result<u64, ApiError> {
    let wrong = || format!("expected an entry's id such as `17`, got `{}`", crate::policy::text::printable(text));
    text.parse().map_err(|_| ApiError::BadRequest(wrong()))
}

/// Lines as they are read. What breaks off ends the connection: the caller sees that it has not all of them.
struct Lines(mpsc::Receiver<Result<Bytes, JournalError>>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = JournalError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, JournalError>>> {
        self.0.poll_recv(cx).map(|lines| lines.map(|lines| lines.map(Frame::data)))
    }
}
