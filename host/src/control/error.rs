//! What the API says when it does not do what it was asked: the one place with its status codes.

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::causes::with_causes;
use crate::store::StoreError;
use crate::store::journal::JournalError;
use crate::switch::Refusal;

/// Why a call was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No token came.
    #[error("this needs the token: `Authorization: Bearer TOKEN`, the token is in `control.token` in the state folder")]
    NoToken,
    /// The request was meant for another host.
    #[error("Host must be an IP address or `localhost`")]
    StrangeHost,
    /// Another token came.
    #[error("that is not the token")]
    WrongToken,
    /// The role is not enough.
    #[error("this needs the admin token, which is in `admin.token` in the state folder")]
    NotAdmin,
    /// The switch says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing serves yet.
    #[error("this host is starting: try again in a moment")]
    Starting,
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The state folder cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What came cannot be understood.
    #[error("{0}")]
    BadRequest(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// A call of another content has the same key.
    #[error("this Idempotency-Key was used for another request: a new request needs a new key")]
    KeyReused,
    /// It is in the journal, under this id.
    #[error("{0}")]
    Journalled(#[source] Box<Self>, u64),
}

/// The body of every answer that is not a success.
#[derive(Debug, Serialize, Deserialize)]
pub struct ErrorBody {
    /// One word for programs.
    pub error: String,
    /// A sentence for people.
    pub message: String,
    /// The refusal's entry in the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
}

/// The word for what is worth trying again in a moment.
pub const NOT_NOW: &str = "not_now";

impl ApiError {
    fn status_and_word(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Journalled(error, _) => error.status_and_word(),
            Self::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "key_reused"),
            Self::Refused(Refusal::Precondition { .. }) => (StatusCode::PRECONDITION_FAILED, "precondition_failed"),
            Self::Journal(JournalError::NoSuchEntry(_)) => (StatusCode::NOT_FOUND, "not_found"),
            Self::Journal(JournalError::TooManyPins(_)) => (StatusCode::CONFLICT, "conflict"),
            Self::NoToken => (StatusCode::UNAUTHORIZED, "no_token"),
            Self::WrongToken => (StatusCode::FORBIDDEN, "wrong_token"),
            Self::NotAdmin => (StatusCode::FORBIDDEN, "not_admin"),
            Self::StrangeHost => (StatusCode::MISDIRECTED_REQUEST, "strange_host"),
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad_request"),
            Self::NotFound(_)
            | Self::Refused(Refusal::NoSuchRelease(_) | Refusal::NoFence(_) | Refusal::NotQuarantined(_)) => {
                (StatusCode::NOT_FOUND, "not_found")
            }
            Self::Refused(
                Refusal::NowhereToGo { .. }
                | Refusal::NotOnTheWay { .. }
                | Refusal::AlreadySo { .. }
                | Refusal::Ambiguous(_)
                | Refusal::NothingToConfirm
                | Refusal::NothingBefore
                | Refusal::Overtaken(_),
            ) => (StatusCode::CONFLICT, "conflict"),
            Self::Refused(Refusal::Fence { .. }) => (StatusCode::CONFLICT, "fence"),
            Self::Refused(Refusal::Quarantined { .. }) => (StatusCode::CONFLICT, "quarantined"),
            Self::Starting | Self::Refused(Refusal::NotNow(_)) => (StatusCode::SERVICE_UNAVAILABLE, NOT_NOW),
            Self::Refused(Refusal::Policy { rejection, .. }) if rejection.is_ours() => {
                (StatusCode::INTERNAL_SERVER_ERROR, "host")
            }
            Self::Refused(Refusal::CanaryUnderWay(..)) => (StatusCode::CONFLICT, "canary"),
            Self::Refused(Refusal::Sick { .. }) => (StatusCode::CONFLICT, "sick"),
            Self::Refused(
                Refusal::Policy { .. } | Refusal::Change(_) | Refusal::Listen(_) | Refusal::NoRoom { .. },
            ) => (StatusCode::UNPROCESSABLE_ENTITY, "refused"),
            Self::Refused(Refusal::Journal(_)) | Self::Journal(_) => (StatusCode::INSUFFICIENT_STORAGE, "journal"),
            Self::Store(_) => (StatusCode::INSUFFICIENT_STORAGE, "store"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, word) = self.status_and_word();
        let entry = if let Self::Journalled(_, entry) = &self { Some(*entry) } else { None };
        let body = Json(ErrorBody { error: word.into(), message: with_causes(&self), entry });
        let mut response = (status, body).into_response();
        if word == NOT_NOW {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
