//! The answer to one request, built by naming what differs from the plain case.
//!
//! The types mirror the contract's. Nothing is checked here: the proxy checks every decision, whoever wrote it.

use std::time::Duration;

use crate::Pool;

/// What becomes of a request: a pool serves it, or the policy answers it.
///
/// ```
/// # use switchback_policy::prelude::*;
/// # fn example(pool: Pool) -> [Decision; 3] {
/// [
///     pool.into(),
///     Decision::to(pool).affinity("user-17").set_request_header("x-group", "beta").because("beta user"),
///     Decision::respond(Response::new(403).header("content-type", "text/plain").body("not from here\n")),
/// ]
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Send the request to a pool.
    Route(Route),
    /// Answer it here; no member is asked.
    Respond(Response),
}

/// Which pool, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub pool: Pool,
    /// Requests with equal keys go to the same member, where the pool's balancer heeds keys.
    pub affinity: Option<Vec<u8>>,
    /// Request header fields to set, replacing all earlier values of the name.
    pub set_request_headers: Vec<Field>,
    /// Request header fields to remove.
    pub remove_request_headers: Vec<String>,
    /// Response header fields to add.
    pub add_response_headers: Vec<Field>,
    /// How long members may take.
    pub timeouts: Timeouts,
    /// Why, for the log.
    pub reason: Option<String>,
}

/// How long members may take for one request; what is `None` is as the vip or the pool says. The proxy keeps milliseconds,
/// and cuts what is longer than the vip allows (`policy_timeout_max`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Until an answer begins.
    pub response: Option<Duration>,
    /// For which a member may fall silent in the middle of its answer.
    pub between_bytes: Option<Duration>,
    /// For the whole exchange, waiting and tries included.
    pub whole: Option<Duration>,
}

/// An answer made by the policy itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// Header fields, in order.
    pub headers: Vec<Field>,
    /// The body; its length is the proxy's to say.
    pub body: Vec<u8>,
    /// Why, for the log.
    pub reason: Option<String>,
}

/// A header field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value: any bytes a header may carry.
    pub value: Vec<u8>,
}

impl Decision {
    /// Sends the request to a pool: a handle, or the name of a declared pool.
    ///
    /// # Panics
    ///
    /// If it is a name and no such pool was declared; see [`Pool::named`].
    pub fn to(pool: impl Into<Pool>) -> Self {
        Self::Route(Route {
            pool: pool.into(),
            affinity: None,
            set_request_headers: Vec::new(),
            remove_request_headers: Vec::new(),
            add_response_headers: Vec::new(),
            timeouts: Timeouts::default(),
            reason: None,
        })
    }

    /// Answers the request here: a [`Response`], or just a status.
    pub fn respond(response: impl Into<Response>) -> Self {
        Self::Respond(response.into())
    }

    /// Sends requests with equal keys to the same member, where the pool's balancer heeds keys.
    #[must_use]
    pub fn affinity(self, key: impl Into<Vec<u8>>) -> Self {
        self.route(|route| route.affinity = Some(key.into()))
    }

    /// Sets a header field of the request before it goes to the member.
    #[must_use]
    pub fn set_request_header(self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.route(|route| route.set_request_headers.push(Field::new(name, value)))
    }

    /// Removes a header field from the request before it goes to the member.
    #[must_use]
    pub fn remove_request_header(self, name: impl Into<String>) -> Self {
        self.route(|route| route.remove_request_headers.push(name.into()))
    }

    /// Adds a header field to the response, such as a sticky cookie.
    #[must_use]
    pub fn add_response_header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        let headers = match &mut self {
            Self::Route(route) => &mut route.add_response_headers,
            Self::Respond(response) => &mut response.headers,
        };
        headers.push(Field::new(name, value));
        self
    }

    /// Gives members so long until their answer begins. Zero is refused, here and in the next two.
    #[must_use]
    pub fn response_timeout(self, time: Duration) -> Self {
        self.route(|route| route.timeouts.response = Some(time))
    }

    /// Lets a member fall silent for so long in the middle of its answer.
    #[must_use]
    pub fn between_bytes_timeout(self, time: Duration) -> Self {
        self.route(|route| route.timeouts.between_bytes = Some(time))
    }

    /// Gives the whole exchange so long, waiting and tries included.
    #[must_use]
    pub fn whole_timeout(self, time: Duration) -> Self {
        self.route(|route| route.timeouts.whole = Some(time))
    }

    /// Says why, in a few words, for the log.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        let slot = match &mut self {
            Self::Route(route) => &mut route.reason,
            Self::Respond(response) => &mut response.reason,
        };
        *slot = Some(reason.into());
        self
    }

    /// Changes the route. A response has none: no member sees the request, so there is nothing to change.
    fn route(mut self, change: impl FnOnce(&mut Route)) -> Self {
        if let Self::Route(route) = &mut self {
            change(route);
        }
        self
    }
}

impl Route {
    /// Whether there is nothing to it but a pool, perhaps a reason, and timeouts.
    #[cfg(target_family = "wasm")]
    pub(crate) fn is_plain(&self) -> bool {
        self.affinity.is_none()
            && self.set_request_headers.is_empty()
            && self.remove_request_headers.is_empty()
            && self.add_response_headers.is_empty()
    }
}

impl Response {
    /// An empty response.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), reason: None }
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push(Field::new(name, value));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

impl Field {
    fn new(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

impl From<Pool> for Decision {
    fn from(pool: Pool) -> Self {
        Self::to(pool)
    }
}

impl From<Response> for Decision {
    fn from(response: Response) -> Self {
        Self::Respond(response)
    }
}

impl From<u16> for Response {
    fn from(status: u16) -> Self {
        Self::new(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_takes_headers_and_a_reason_and_no_word_about_members() {
        let decision = Decision::respond(403)
            .affinity("key")
            .set_request_header("a", "1")
            .remove_request_header("b")
            .response_timeout(Duration::from_secs(1))
            .add_response_header("c", "3")
            .because("closed");
        let expect = Response { reason: Some("closed".to_owned()), ..Response::new(403).header("c", "3") };
        assert_eq!(decision, Decision::Respond(expect));
    }
}
