//! What must arrive: a request at the member, an answer at the client.

use super::turn::Then;

/// The one form in which the member gets a request.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) target: String,
    /// Any of these; nothing is said about it where there are none.
    pub(super) hosts: &'static [&'static str],
    pub(super) body: Vec<u8>,
    /// Each with its values as one list.
    pub(super) with: Vec<(&'static str, &'static [u8])>,
    pub(super) without: Vec<&'static str>,
    /// The interim answers that the client gets: any of these rows.
    pub(super) interim: &'static [&'static [u16]],
    /// Whether the client's connection ends with this answer; nothing is said about it where there is none.
    pub(super) closes: Option<bool>,
}

/// The form in which the client gets a member's answer.
#[derive(Clone)]
pub(super) struct Gets {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    pub(super) with: Vec<(&'static str, &'static [u8])>,
    pub(super) without: Vec<&'static str>,
    pub(super) trailers: Vec<(&'static str, &'static [u8])>,
    pub(super) interim: &'static [&'static [u16]],
    /// Whether the member's connection must not be used again.
    pub(super) spent: bool,
}

/// A request as the member gets it from a client that said `Host: a`.
pub(super) fn seen(method: impl Into<String>, target: impl Into<String>) -> Seen {
    Seen {
        method: method.into(),
        target: target.into(),
        hosts: &["a"],
        body: Vec::new(),
        with: Vec::new(),
        without: Vec::new(),
        interim: &[&[]],
        closes: None,
    }
}

pub(super) fn get(target: impl Into<String>) -> Seen {
    seen("GET", target)
}

pub(super) fn post(body: impl AsRef<[u8]>) -> Seen {
    seen("POST", "/").body(body)
}

impl Seen {
    pub(super) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    pub(super) fn hosts(mut self, hosts: &'static [&'static str]) -> Self {
        self.hosts = hosts;
        self
    }

    pub(super) fn with(mut self, name: &'static str, value: &'static [u8]) -> Self {
        self.with.push((name, value));
        self
    }

    pub(super) fn without(mut self, name: &'static str) -> Self {
        self.without.push(name);
        self
    }

    pub(super) fn interim(mut self, rows: &'static [&'static [u16]]) -> Self {
        self.interim = rows;
        self
    }

    pub(super) fn closing(mut self) -> Self {
        self.closes = Some(true);
        self
    }

    pub(super) fn staying(mut self) -> Self {
        self.closes = Some(false);
        self
    }

    pub(super) fn or(self, other: impl Into<Then>) -> Then {
        Then::from(self).or(other)
    }

    pub(super) fn next(self, other: impl Into<Then>) -> Then {
        Then::from(self).next(other)
    }
}

pub(super) fn gets(status: u16, body: impl AsRef<[u8]>) -> Gets {
    Gets {
        status,
        body: body.as_ref().to_vec(),
        with: Vec::new(),
        without: Vec::new(),
        trailers: Vec::new(),
        interim: &[&[]],
        spent: false,
    }
}

impl Gets {
    pub(super) fn with(mut self, name: &'static str, value: &'static [u8]) -> Self {
        self.with.push((name, value));
        self
    }

    pub(super) fn without(mut self, name: &'static str) -> Self {
        self.without.push(name);
        self
    }

    pub(super) fn trailer(mut self, name: &'static str, value: &'static [u8]) -> Self {
        self.trailers.push((name, value));
        self
    }

    pub(super) fn interim(mut self, rows: &'static [&'static [u16]]) -> Self {
        self.interim = rows;
        self
    }

    pub(super) fn spent(mut self) -> Self {
        self.spent = true;
        self
    }

    pub(super) fn or(self, other: impl Into<Then>) -> Then {
        Then::from(self).or(other)
    }
}
