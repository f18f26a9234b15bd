//! Heads of requests and answers, whatever protocol they came in.

use bytes::Bytes;
use h2::ext::Protocol;
use hyper::{Method, StatusCode, Uri, Version};

use super::fields::Fields;

/// The head of a request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// Any token.
    pub method: Method,
    /// In any of the four forms (RFC 9112, 3.2).
    pub target: Uri,
    /// What the client speaks.
    pub version: Version,
    /// In the order they came.
    pub fields: Fields,
    /// What a CONNECT of HTTP/2 wants to switch to (RFC 8441, 4).
    pub protocol: Option<Protocol>,
}

/// An answer: its head, and its content if that is there.
#[derive(Debug)]
pub struct Response<B> {
    /// 100 to 999.
    pub status: StatusCode,
    /// What the member speaks.
    pub version: Version,
    /// What HTTP/1 says beside the status, where that is not what everybody says.
    pub reason: Option<Bytes>,
    /// In the order they came.
    pub fields: Fields,
    /// What follows.
    pub body: B,
}

impl<B> Response<B> {
    /// An answer of ours: 200, without fields.
    pub fn new(body: B) -> Self {
        let (status, version) = (StatusCode::OK, Version::HTTP_11);
        Self { status, version, reason: None, fields: Fields::default(), body }
    }

    /// The same with other content.
    pub fn with_body<C>(self, body: C) -> Response<C> {
        let Self { status, version, reason, fields, body: _ } = self;
        Response { status, version, reason, fields, body }
    }
}
