//! `GET /v1/crashes`, `GET /v1/crashes/ID`. They ask for the token, as clients' secrets may be among what is told.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::Api;
use super::error::ApiError;
use crate::store::{Store, StoreError};
use crate::switch::crash::CrashLine;

pub(super) async fn all(State(api): State<Api>) -> Result<Json<Vec<CrashLine>>, ApiError> {
    let read = move |store: &Store| {
        let ids = store.crashes()?;
        let line = |id: String| serde_json::from_slice(&store.crash(&id).ok()??).ok();
        Ok(ids.into_iter().filter_map(line).collect())
    };
    Ok(Json(on_disk(&api, read).await?))
}

pub(super) async fn one(State(api): State<Api>, Path(id): Path<String>) -> Result<impl IntoResponse, ApiError> {
    let asked = id.clone();
    let crash = on_disk(&api, move |store| store.crash(&asked)).await?;
    let id = crate::policy::text::printable(&id).into_owned();
    let crash = crash.ok_or_else(|| ApiError::NotFound(format!("there is no crash bundle `{id}`")))?;
    Ok(([(CONTENT_TYPE, "application/json")], crash))
}

async fn on_disk<T: Send + 'static>(
    api: &Api,
    read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let store = api.switch.store.clone();
    let read = tokio::task::spawn_blocking(move || read(&store)).await.expect("reading a file does not panic");
    read.map_err(ApiError::Store)
}
