//! Two at once: a change that is wanted of one release only (`If-Match`), and one that is asked for twice
//! (`Idempotency-Key`).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::sync::watch;

use super::Api;
use super::error::ApiError;
use crate::digest::Digest;
use crate::policy::validate::POLICY_BYTES_MAX;
use crate::store::journal::{Call, Kept, KnownCall};
use crate::switch::Refusal;
use crate::switch::receipt::Receipt;

/// The caller's word for a call that it may repeat.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What we say of such a call to the route behind: the digest of what is asked.
const REQUEST_DIGEST: HeaderName = HeaderName::from_static("x-switchback-request-digest");

/// Characters of a key.
const KEY_MAX: usize = 255;

/// Bytes of an answer to a change: a receipt, or why not.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Calls with a key that are under way at once.
const UNDER_WAY_MAX: usize = 100;

/// The name of a release, for those who want to change that one only.
pub(super) fn etag(number: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"r{number}\"")).expect("a number is text")
}

/// The releases that a change is wanted of; none where any will do.
///
/// # Errors
/// When it is not understood: to change what is not meant would be worse.
pub(super) fn expected(headers: &HeaderMap) -> Result<Option<Vec<u64>>, ApiError> {
    let mut expected = None;
    for value in headers.get_all(IF_MATCH) {
        let text = value.to_str().unwrap_or_default();
        for tag in text.split(',').map(str::trim) {
            if tag == "*" {
                return Ok(None);
            }
            let name = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
            let number = name.strip_prefix('r').unwrap_or(name).parse().ok();
            let wrong = || {
                format!(
                    "expected a release in If-Match, such as `\"r42\"`, got `{}`",
                    crate::policy::text::printable(text)
                )
            };
            expected.get_or_insert_with(Vec::new).push(number.ok_or_else(|| ApiError::BadRequest(wrong()))?);
        }
    }
    Ok(expected)
}

/// The call that a route was asked with, where it has a key.
pub(super) fn call(headers: &HeaderMap) -> Option<Call> {
    let key = headers.get(IDEMPOTENCY_KEY)?.to_str().ok()?.to_owned();
    let request = headers.get(REQUEST_DIGEST)?.to_str().ok()?.parse().ok()?;
    Some(Call { key, request })
}

/// Changes that are asked for with a key, until they are answered.
#[derive(Default)]
pub struct Calls(Mutex<HashMap<String, UnderWay>>);

struct UnderWay {
    request: Digest,
    answer: watch::Receiver<Option<Answer>>,
}

/// An answer that can be given more than once.
#[derive(Clone)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// Lets a change through once for each key: who repeats it gets the answer of the first. Gives receipts the name of the
/// release that is current by them.
pub(super) async fn once(State(api): State<Api>, request: Request, next: Next) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(REQUEST_DIGEST);
    expected(&parts.headers)?;
    let Some(key) = parts.headers.get(IDEMPOTENCY_KEY) else {
        let response = next.run(Request::from_parts(parts, body)).await;
        return Ok(Answer::of(response).await?.into_response());
    };
    let key = checked(key)?;
    let body = to_bytes(body, POLICY_BYTES_MAX + 1).await;
    let body = body.map_err(|_| ApiError::BadRequest(format!("expected at most {POLICY_BYTES_MAX} bytes")))?;
    let wanted = parts.headers.get(IF_MATCH).map(HeaderValue::as_bytes).unwrap_or_default();
    let asked = [parts.method.as_str().as_bytes(), parts.uri.to_string().as_bytes(), wanted, &body].map(Digest::of);
    let request = Digest::of(asked.map(|part| part.to_string()).join("\n").as_bytes());
    match api.calls.begin(&key, request)? {
        Err(mut under_way) => {
            let answer = under_way
                .wait_for(Option::is_some)
                .await
                .map_err(|_| Refusal::NotNow("the first call ended without an answer"))?;
            Ok(answer.clone().expect("it was waited for").into_response())
        }
        Ok(tell) => {
            let ours = Ours { api: api.clone(), key };
            if let Some(known) = api.switch.journal.call(&ours.key) {
                let answer = again(&api, known, request).await?;
                tell.send_replace(Some(answer.clone()));
                return Ok(answer.into_response());
            }
            let digest = HeaderValue::try_from(request.to_string()).expect("a digest is text");
            parts.headers.insert(REQUEST_DIGEST, digest);
            // To its end, even if the caller hangs up: who repeats the call waits for it.
            let done = tokio::spawn(async move {
                let _ours = ours;
                let answer = Answer::of(next.run(Request::from_parts(parts, Body::from(body))).await).await;
                if let Ok(answer) = &answer {
                    tell.send_replace(Some(answer.clone()));
                }
                answer
            });
            Ok(done.await.expect("a change does not panic")?.into_response())
        }
    }
}

fn checked(key: &HeaderValue) -> Result<String, ApiError> {
    let text = key.to_str().unwrap_or_default();
    if (1..=KEY_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(ApiError::BadRequest(format!("expected an Idempotency-Key of 1 to {KEY_MAX} visible characters")))
}

/// The answer to a call that was done before, maybe in another life of the host.
async fn again(api: &Api, known: KnownCall, request: Digest) -> Result<Answer, ApiError> {
    if known.request != request {
        return Err(ApiError::KeyReused);
    }
    let receipt = match (known.receipt, known.entry) {
        (Some(receipt), _) => Some(receipt),
        (None, Some(entry)) => {
            let kept = api.switch.journal.entry(entry).await?;
            kept.and_then(|Kept { entry, receipt, .. }| {
                let switched = || serde_json::to_value(Receipt::of_entry(&entry)?).ok();
                // What was only said is answered with its entry.
                let said = || serde_json::to_value(&entry).ok();
                Some(receipt.or_else(|| if entry.kind.switches() { switched() } else { said() })?.to_string())
            })
        }
        (None, None) => None,
    };
    let receipt = receipt.ok_or_else(|| ApiError::NotFound("it was done, and its receipt is no longer kept".into()))?;
    Ok(Answer::receipt(receipt.into()))
}

impl Calls {
    /// Begins a call: answers where its answer is to be told, or where that of the first one comes.
    #[expect(clippy::type_complexity, reason = "either end of the same channel")]
    fn begin(
        &self,
        key: &str,
        request: Digest,
    ) -> Result<Result<watch::Sender<Option<Answer>>, watch::Receiver<Option<Answer>>>, ApiError> {
        let mut calls = self.lock();
        if let Some(first) = calls.get(key) {
            return if first.request == request { Ok(Err(first.answer.clone())) } else { Err(ApiError::KeyReused) };
        }
        if calls.len() >= UNDER_WAY_MAX {
            return Err(Refusal::NotNow("too many calls with a key are under way").into());
        }
        let (tell, answer) = watch::channel(None);
        calls.insert(key.to_owned(), UnderWay { request, answer });
        Ok(Ok(tell))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, UnderWay>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is under way, however it ends. Once it has, the journal knows of it.
struct Ours {
    api: Api,
    key: String,
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.api.calls.lock().remove(&self.key);
    }
}

impl Answer {
    async fn of(response: Response) -> Result<Self, ApiError> {
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, ANSWER_BYTES_MAX).await.map_err(|error| ApiError::BadRequest(error.to_string()))?;
        let mut answer = Self { status: parts.status, headers: parts.headers, body };
        answer.tag();
        Ok(answer)
    }

    fn receipt(body: Bytes) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let mut answer = Self { status: StatusCode::OK, headers, body };
        answer.tag();
        answer
    }

    /// Names the release that is current by a receipt.
    fn tag(&mut self) {
        #[derive(Deserialize)]
        struct To {
            number: u64,
        }
        #[derive(Deserialize)]
        struct Switched {
            to: To,
        }
        if let Ok(Switched { to }) = serde_json::from_slice(&self.body) {
            self.headers.insert(ETAG, etag(to.number));
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        (self.status, self.headers, self.body).into_response()
    }
}
