//! A health check as data: what a member is asked, what it must answer, and how often.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use hyper::Method;
use hyper::http::uri::Authority;
use serde::{Deserialize, Serialize};

use super::pool::Protocol;

mod statuses;

pub use statuses::{NotStatuses, Statuses};

/// Bytes of a body in which its text is looked for. A page that says how it is does so early.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a path, of a host, of a text to look for and of a service's name: each goes into one small write.
const TEXT_BYTES_MAX: usize = 1024;

/// What a member must do to be taken for healthy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckSpec {
    /// What it is asked.
    pub kind: CheckKind,
    /// From the beginning of one probe to that of the next, give or take a tenth.
    pub interval: Duration,
    /// The same while a change is in doubt: from the first result that speaks against what is believed of the member, until
    /// there are enough of them or one speaks for it. No longer than `interval`, whatever it says.
    pub settle_interval: Duration,
    /// Time for one probe whole: connecting, TLS, asking, answering.
    pub timeout: Duration,
    /// Good results in a row that make a sick member healthy.
    pub rise: NonZeroU32,
    /// Bad results in a row that make a healthy member sick.
    pub fall: NonZeroU32,
    /// Where it is asked, if not at the port that serves. Nothing to members that are Unix sockets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<NonZeroU16>,
}

/// What a member is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckKind {
    /// To take a connection, with a TLS handshake where the pool has TLS.
    #[default]
    Tcp,
    /// To answer an HTTP request, in what the pool speaks.
    Http(HttpCheck),
    /// To say that it serves, in `grpc.health.v1`; HTTP/2 in any case.
    Grpc {
        /// The service that is asked about; empty is the member as a whole.
        #[serde(default)]
        service: String,
    },
}

/// An HTTP request, and what must come back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpCheck {
    /// The path, and a query if there is one.
    pub path: String,
    /// The host that is asked for; `None` is the member's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How.
    pub method: CheckMethod,
    /// Statuses that are good.
    pub statuses: Statuses,
    /// Text that the first [`BODY_BYTES_MAX`] bytes of the body must contain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// Methods that change nothing at a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CheckMethod {
    /// The body comes with it.
    #[default]
    #[serde(rename = "GET")]
    Get,
    /// No body comes.
    #[serde(rename = "HEAD")]
    Head,
}

/// Why a check cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCheck {
    /// Not a path that a request can have.
    #[error("expected a path such as `/healthz`, of visible ASCII up to {TEXT_BYTES_MAX} bytes, got `{0}`")]
    Path(String),
    /// Not a host that a request can have.
    #[error("expected a host such as `app.example` or `app.example:8080`, got `{0}`")]
    Host(String),
    /// A text that is found everywhere, or nowhere.
    #[error("expected 1 to {TEXT_BYTES_MAX} bytes of text to look for, got {0}")]
    Body(usize),
    /// Text is looked for where none comes.
    #[error("expected `GET` beside a text to look for, got `HEAD`, which has no body")]
    HeadWithBody,
    /// Not the name of a service.
    #[error("expected the name of a gRPC service up to {TEXT_BYTES_MAX} bytes, got {0} bytes")]
    Service(usize),
    /// A time that is none.
    #[error("expected a time above zero as `{0}`")]
    Time(&'static str),
}

impl Default for CheckSpec {
    fn default() -> Self {
        const TWO: NonZeroU32 = NonZeroU32::new(2).expect("two is not zero");
        const THREE: NonZeroU32 = NonZeroU32::new(3).expect("three is not zero");
        Self {
            kind: CheckKind::default(),
            interval: Duration::from_secs(10),
            settle_interval: Duration::from_secs(1),
            // Two SYNs: a lost one is sent again after a second.
            timeout: Duration::from_secs(2),
            rise: TWO,
            fall: THREE,
            port: None,
        }
    }
}

impl Default for HttpCheck {
    fn default() -> Self {
        Self { path: "/".into(), host: None, method: CheckMethod::default(), statuses: Statuses::default(), body: None }
    }
}

impl CheckSpec {
    /// What a member is to speak that is put to this check. Over TLS it is what is to be offered (ALPN).
    pub fn protocol(&self, of_pool: Protocol) -> Protocol {
        match self.kind {
            CheckKind::Grpc { .. } => Protocol::Http2,
            CheckKind::Tcp | CheckKind::Http(_) => of_pool,
        }
    }

    /// Whether the check can be made: what is in it goes into requests as it is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(&self) -> Result<(), BadCheck> {
        let times = [("interval", self.interval), ("settle_interval", self.settle_interval), ("timeout", self.timeout)];
        if let Some((name, _)) = times.into_iter().find(|(_, time)| time.is_zero()) {
            return Err(BadCheck::Time(name));
        }
        match &self.kind {
            CheckKind::Tcp => Ok(()),
            CheckKind::Http(http) => http.verify(),
            CheckKind::Grpc { service } if service.len() > TEXT_BYTES_MAX => Err(BadCheck::Service(service.len())),
            CheckKind::Grpc { .. } => Ok(()),
        }
    }
}

impl HttpCheck {
    fn verify(&self) -> Result<(), BadCheck> {
        if !is_path(&self.path) {
            return Err(BadCheck::Path(self.path.clone()));
        }
        if let Some(host) = self.host.as_ref().filter(|host| !is_host(host)) {
            return Err(BadCheck::Host(host.clone()));
        }
        match &self.body {
            Some(text) if !(1..=TEXT_BYTES_MAX).contains(&text.len()) => Err(BadCheck::Body(text.len())),
            Some(_) if self.method == CheckMethod::Head => Err(BadCheck::HeadWithBody),
            _ => Ok(()),
        }
    }
}

impl CheckMethod {
    /// As it is sent.
    pub fn as_method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Head => Method::HEAD,
        }
    }
}

/// As the request line takes targets of clients (`h1::head`).
fn is_path(text: &str) -> bool {
    let is_of_target = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>');
    text.starts_with('/') && text.len() <= TEXT_BYTES_MAX && text.bytes().all(is_of_target)
}

fn is_host(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX
        && !text.contains('@')
        && text.parse::<Authority>().is_ok_and(|authority| !authority.host().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(http: HttpCheck) -> CheckSpec {
        CheckSpec { kind: CheckKind::Http(http), ..CheckSpec::default() }
    }

    fn check(spec: &CheckSpec, expected: &str) {
        assert_eq!(spec.verify().unwrap_err().to_string(), expected);
    }

    #[test]
    fn what_could_become_another_request_is_refused() {
        assert_eq!(http(HttpCheck::default()).verify(), Ok(()));
        for path in ["", "healthz", "*", "/a b", "/a\r\nX: 1", "/ä", "/a#b"] {
            let expected =
                format!("expected a path such as `/healthz`, of visible ASCII up to 1024 bytes, got `{path}`");
            check(&http(HttpCheck { path: path.into(), ..HttpCheck::default() }), &expected);
        }
        for host in ["", "a b", "a\r\nX: 1", "me@a", ":80", "a/b"] {
            let expected = format!("expected a host such as `app.example` or `app.example:8080`, got `{host}`");
            check(&http(HttpCheck { host: Some(host.into()), ..HttpCheck::default() }), &expected);
        }
        for host in ["app.example", "app.example:8080", "[::1]:80", "10.0.0.1"] {
            assert_eq!(http(HttpCheck { host: Some(host.into()), ..HttpCheck::default() }).verify(), Ok(()));
        }
    }

    #[test]
    fn what_can_never_be_found_is_refused() {
        let text = |text: &str| HttpCheck { body: Some(text.into()), ..HttpCheck::default() };
        check(&http(text("")), "expected 1 to 1024 bytes of text to look for, got 0");
        check(&http(text(&"a".repeat(1025))), "expected 1 to 1024 bytes of text to look for, got 1025");
        check(
            &http(HttpCheck { method: CheckMethod::Head, ..text("ok") }),
            "expected `GET` beside a text to look for, got `HEAD`, which has no body",
        );
        let kind = CheckKind::Grpc { service: "a".repeat(1025) };
        check(
            &CheckSpec { kind, ..CheckSpec::default() },
            "expected the name of a gRPC service up to 1024 bytes, got 1025 bytes",
        );
    }

    #[test]
    fn times_that_are_none_are_refused() {
        let zero = Duration::ZERO;
        check(&CheckSpec { interval: zero, ..CheckSpec::default() }, "expected a time above zero as `interval`");
        check(&CheckSpec { timeout: zero, ..CheckSpec::default() }, "expected a time above zero as `timeout`");
        check(
            &CheckSpec { settle_interval: zero, ..CheckSpec::default() },
            "expected a time above zero as `settle_interval`",
        );
    }

    #[test]
    fn a_check_is_read_as_it_is_written() {
        let text = r#"{"kind": {"http": {"path": "/up", "method": "HEAD", "statuses": "200-299, 304"}}, "fall": 5}"#;
        let spec: CheckSpec = serde_json::from_str(text).unwrap();
        assert_eq!((spec.fall.get(), spec.rise.get(), spec.interval), (5, 2, Duration::from_secs(10)));
        let again: CheckSpec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
        assert_eq!(again, spec);
        assert!(serde_json::from_str::<CheckSpec>(r#"{"rise": 0}"#).is_err());
    }
}
