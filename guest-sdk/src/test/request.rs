//! Requests for tests: plain ones, changed where it matters.

use super::facts::Facts;
use crate::{Certificate, Field};

/// A `GET` for a path and, after a `?`, a query.
pub fn get(target: &str) -> TestRequest {
    TestRequest::new("GET", target)
}

/// A request to ask a policy about.
///
/// Unless changed it came over `http` and HTTP/1.1, for `www.example.com`, from 192.0.2.7, to the vip `test`, without
/// headers and without a client certificate.
#[derive(Debug, Clone)]
pub struct TestRequest(Facts);

impl TestRequest {
    /// A request of any method.
    pub fn new(method: &str, target: &str) -> Self {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        Self(Facts {
            method: method.to_owned(),
            scheme: "http".to_owned(),
            authority: "www.example.com".to_owned(),
            path: path.to_owned(),
            query,
            headers: Vec::new(),
            client_address: "192.0.2.7".to_owned(),
            version: "HTTP/1.1".to_owned(),
            vip: "test".to_owned(),
            client_certificate: None,
        })
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.0.headers.push(Field { name: name.to_ascii_lowercase(), value: value.into() });
        self
    }

    /// Adds a cookie.
    #[must_use]
    pub fn cookie(self, name: &str, value: &str) -> Self {
        self.header("cookie", format!("{name}={value}"))
    }

    /// Sets the scheme: `http` or `https`.
    #[must_use]
    pub fn scheme(mut self, scheme: &str) -> Self {
        scheme.clone_into(&mut self.0.scheme);
        self
    }

    /// Sets host and port.
    #[must_use]
    pub fn authority(mut self, authority: &str) -> Self {
        self.0.authority = authority.to_ascii_lowercase();
        self
    }

    /// Sets the client's address.
    #[must_use]
    pub fn client_address(mut self, address: &str) -> Self {
        address.clone_into(&mut self.0.client_address);
        self
    }

    /// Sets the client's protocol version, such as `HTTP/2.0`.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.0.version);
        self
    }

    /// Sets the name of the vip that asks.
    #[must_use]
    pub fn vip(mut self, vip: &str) -> Self {
        vip.clone_into(&mut self.0.vip);
        self
    }

    /// Has the client show a certificate, over `https`. Its fingerprint is 64 zeros.
    #[must_use]
    pub fn client_certificate(mut self, subject: &str, names: &[&str]) -> Self {
        self.0.client_certificate = Some(Certificate {
            subject: subject.to_owned(),
            names: names.iter().map(|&name| name.to_owned()).collect(),
            fingerprint: "0".repeat(64),
        });
        self.scheme("https")
    }

    /// Sets the fingerprint of the certificate that the client shows.
    ///
    /// # Panics
    ///
    /// If it shows none.
    #[must_use]
    pub fn fingerprint(mut self, fingerprint: &str) -> Self {
        let certificate = self.0.client_certificate.as_mut().expect("the client shows a certificate");
        fingerprint.clone_into(&mut certificate.fingerprint);
        self
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.0
    }
}
