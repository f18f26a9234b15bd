//! What a case is: bytes, and what may come of them.

use super::script::Script;
use super::turn::Then;

/// One case of the table.
pub(super) struct Case {
    /// What is unusual about it.
    pub(super) name: &'static str,
    /// Where it is written what may come of it.
    pub(super) clause: &'static str,
    /// What the client does.
    pub(super) send: Vec<Piece>,
    /// What the member says to `/case`; where there is none, it says what it says to everything.
    pub(super) member: Option<Script>,
    pub(super) then: Then,
}

/// One step of a client.
#[derive(Clone)]
pub(super) enum Piece {
    /// Writes these bytes at once.
    Bytes(Vec<u8>),
    /// Writes them one by one, at a pace that lets each be read alone.
    Drip(Vec<u8>),
    /// Waits for the head of an answer.
    Await,
    /// Says that no more will come; still reads.
    End,
}

/// Writes a table down: a clause with what it demands, then the cases under it.
pub(super) struct Table {
    clause: &'static str,
    then: Then,
    ask: &'static [u8],
    cases: Vec<Case>,
}

impl Table {
    /// Begins with a first clause.
    pub(super) fn under(clause: &'static str, then: impl Into<Then>) -> Self {
        Self { clause, then: then.into(), ask: b"GET /case HTTP/1.1\r\nHost: a\r\n\r\n", cases: Vec::new() }
    }

    /// Goes on with another clause or demand.
    pub(super) fn and(mut self, clause: &'static str, then: impl Into<Then>) -> Self {
        (self.clause, self.then) = (clause, then.into());
        self
    }

    /// A client that sends these bytes.
    pub(super) fn raw(self, name: &'static str, bytes: impl AsRef<[u8]>) -> Self {
        let then = self.then.clone();
        self.expect(name, bytes, then)
    }

    /// The same, with an outcome of its own.
    pub(super) fn expect(self, name: &'static str, bytes: impl AsRef<[u8]>, then: impl Into<Then>) -> Self {
        self.steps(name, vec![Piece::Bytes(bytes.as_ref().to_vec())], then)
    }

    /// A client that does these things.
    pub(super) fn steps(mut self, name: &'static str, send: Vec<Piece>, then: impl Into<Then>) -> Self {
        self.cases.push(Case { name, clause: self.clause, send, member: None, then: then.into() });
        self
    }

    /// A client that sends `GET /` with these field lines.
    pub(super) fn field(self, name: &'static str, lines: impl AsRef<[u8]>) -> Self {
        self.raw(name, get_with(lines))
    }

    /// What clients ask from here on, where it is the member's answers that are looked at.
    pub(super) fn ask(mut self, bytes: &'static [u8]) -> Self {
        self.ask = bytes;
        self
    }

    /// A member that answers like this.
    pub(super) fn answer(self, name: &'static str, script: impl Into<Script>) -> Self {
        let then = self.then.clone();
        self.answer_expect(name, script, then)
    }

    /// The same, with an outcome of its own.
    pub(super) fn answer_expect(self, name: &'static str, script: impl Into<Script>, then: impl Into<Then>) -> Self {
        let send = vec![Piece::Bytes(self.ask.to_vec())];
        self.exchange(name, send, script, then)
    }

    /// A client and a member that do these things.
    pub(super) fn exchange(
        mut self,
        name: &'static str,
        send: Vec<Piece>,
        script: impl Into<Script>,
        then: impl Into<Then>,
    ) -> Self {
        self.cases.push(Case { name, clause: self.clause, send, member: Some(script.into()), then: then.into() });
        self
    }

    pub(super) fn cases(self) -> Vec<Case> {
        self.cases
    }
}

/// `GET /` with these field lines, the last without its end.
pub(super) fn get_with(lines: impl AsRef<[u8]>) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nHost: a\r\n", lines.as_ref(), b"\r\n\r\n"].concat()
}

/// `POST /` with these field lines and then these bytes.
pub(super) fn post_with(lines: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Vec<u8> {
    [b"POST / HTTP/1.1\r\nHost: a\r\n", lines.as_ref(), b"\r\n\r\n", content.as_ref()].concat()
}

/// `POST /` in chunks, whose bytes these are.
pub(super) fn chunked(content: impl AsRef<[u8]>) -> Vec<u8> {
    post_with(b"Transfer-Encoding: chunked", content)
}

/// These bytes at once.
pub(super) fn bytes(bytes: impl AsRef<[u8]>) -> Piece {
    Piece::Bytes(bytes.as_ref().to_vec())
}
