//! The request a policy is asked about, read by lookups.
//!
//! A lookup crosses from the policy into the proxy and copies one answer, so a policy pays for what it looks at and
//! nothing else. The two that an instance makes first come with the next decisions and cross no more: look at what every
//! request is asked before what only some are. Look a value up once and keep it, rather than twice.

use crate::{Value, answerer};

/// What a client has proven to be, by a certificate that the proxy has verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The subject, such as `CN=alice,O=Example` (RFC 4514).
    pub subject: String,
    /// The subject's alternative names: DNS names in lower case, URIs, e-mail addresses and IP addresses.
    pub names: Vec<String>,
    /// SHA-256 of the certificate, as 64 hex digits in lower case.
    pub fingerprint: String,
}

/// The request to decide on.
pub struct Request<'a>(&'a answerer::Request);

impl<'a> Request<'a> {
    pub(crate) fn new(request: &'a answerer::Request) -> Self {
        Self(request)
    }

    /// The method, such as `GET`.
    pub fn method(&self) -> String {
        self.0.method()
    }

    /// `http` or `https`: how the client reached the proxy.
    pub fn scheme(&self) -> String {
        self.0.scheme()
    }

    /// Host and, where the client named one, port; lower-case.
    pub fn authority(&self) -> String {
        self.0.authority()
    }

    /// The path as it is sent to the member; begins with `/`, percent-encodings are kept.
    pub fn path(&self) -> String {
        self.0.path()
    }

    /// What follows the `?`, undecoded.
    pub fn query(&self) -> Option<String> {
        self.0.query()
    }

    /// The first value of a query parameter, decoded.
    pub fn query_parameter(&self, name: &str) -> Option<String> {
        self.0.query_parameter(name)
    }

    /// The first value of a header field; its name in any case.
    pub fn header(&self, name: &str) -> Option<Value> {
        self.0.header(name).map(Value::from)
    }

    /// All values of a header field, in the order they came.
    pub fn header_values(&self, name: &str) -> Vec<Value> {
        self.0.header_values(name).into_iter().map(Value::from).collect()
    }

    /// The names of all header fields, lower-case, each once.
    pub fn header_names(&self) -> Vec<String> {
        self.0.header_names()
    }

    /// All header fields, names lower-case. Copies everything: prefer [`header`](Self::header).
    pub fn headers(&self) -> Vec<(String, Value)> {
        self.0.headers().into_iter().map(|field| (field.name, Value::from(field.value))).collect()
    }

    /// The value of the first cookie of that name.
    pub fn cookie(&self, name: &str) -> Option<Value> {
        self.0.cookie(name).map(Value::from)
    }

    /// The client's IP address, such as `192.0.2.7` or `2001:db8::1`.
    pub fn client_address(&self) -> String {
        self.0.client_address()
    }

    /// The protocol version the client speaks, such as `HTTP/1.1`.
    pub fn version(&self) -> String {
        self.0.version()
    }

    /// The name of the vip that asks.
    pub fn vip(&self) -> String {
        self.0.vip()
    }

    /// The client's certificate; none where it showed none, or where the listener does not ask for one.
    pub fn client_certificate(&self) -> Option<Certificate> {
        let certificate = self.0.client_certificate()?;
        Some(Certificate {
            subject: certificate.subject,
            names: certificate.names,
            fingerprint: certificate.fingerprint,
        })
    }
}
