//! A case: what is sent, what may come of it, and what the member may have seen.

use super::ledger::Ledger;
use super::outcome::Outcome;
use super::peer::{Dial, Peer};
use super::recorder::Record;
use super::wire::*;

/// One row of a table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The RFC and its section.
    pub(crate) clause: &'static str,
    pub(crate) member: Member,
    settings: Option<Vec<(u16, u32)>>,
    steps: Vec<Step>,
    allowed: Vec<Outcome>,
    pinged: bool,
}

enum Step {
    Send(Vec<u8>),
    /// Bytes that depend on what the other side has said.
    SendFor(fn(&Ledger) -> Vec<u8>),
    Until(&'static str, fn(&Ledger) -> bool),
    Upload(u32, usize),
    Finish,
}

/// What the member may have seen of the case.
pub(crate) enum Member {
    /// Whatever it was, if well-formed.
    Anything,
    /// No request at all.
    Nothing,
    /// No request to its end.
    NothingWhole,
    /// No request with any of these in its lines.
    Never(&'static [&'static str]),
    /// Exactly one request, with all of the first and none of the second in its lines.
    One(&'static [&'static str], &'static [&'static str]),
}

pub(crate) fn case(name: &'static str, clause: &'static str) -> Case {
    Case {
        name,
        clause,
        member: Member::Anything,
        settings: Some(Vec::new()),
        steps: Vec::new(),
        allowed: Vec::new(),
        pinged: true,
    }
}

impl Case {
    /// Nothing has been said when the first step is taken, not even the preface.
    pub(crate) fn ungreeted(mut self) -> Self {
        self.settings = None;
        self.unpinged()
    }

    /// The client's first settings; none without this.
    pub(crate) fn settings(mut self, ours: &[(u16, u32)]) -> Self {
        self.settings = Some(ours.to_vec());
        self
    }

    /// No PING after the last step, where that would be one more error.
    pub(crate) fn unpinged(mut self) -> Self {
        self.pinged = false;
        self
    }

    pub(crate) fn send(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.steps.push(Step::Send(bytes.into()));
        self
    }

    pub(crate) fn send_for(mut self, bytes: fn(&Ledger) -> Vec<u8>) -> Self {
        self.steps.push(Step::SendFor(bytes));
        self
    }

    /// Waits for what must come before the next step.
    pub(crate) fn until(mut self, what: &'static str, holds: fn(&Ledger) -> bool) -> Self {
        self.steps.push(Step::Until(what, holds));
        self
    }

    pub(crate) fn upload(mut self, stream: u32, octets: usize) -> Self {
        self.steps.push(Step::Upload(stream, octets));
        self
    }

    /// The client ends its half of the connection.
    pub(crate) fn finish(mut self) -> Self {
        self.steps.push(Step::Finish);
        self.unpinged()
    }

    pub(crate) fn connection_error(self, codes: &'static [u32]) -> Self {
        self.or(Outcome::ConnectionError(codes))
    }

    pub(crate) fn stream_error(self, stream: u32, codes: &'static [u32]) -> Self {
        self.or(Outcome::StreamError(stream, codes))
    }

    pub(crate) fn answered(self, stream: u32, status: u16) -> Self {
        self.or(Outcome::Answered(stream, status))
    }

    pub(crate) fn holds(self, what: &'static str, holds: fn(&Ledger) -> bool) -> Self {
        self.or(Outcome::Holds(what, holds))
    }

    /// The member must have seen nothing.
    pub(crate) fn unseen(mut self) -> Self {
        self.member = Member::Nothing;
        self
    }

    /// The member must not have seen a request to its end.
    pub(crate) fn unfinished(mut self) -> Self {
        self.member = Member::NothingWhole;
        self
    }

    /// The member must not have seen any of these in any request.
    pub(crate) fn never(mut self, lacks: &'static [&'static str]) -> Self {
        self.member = Member::Never(lacks);
        self
    }

    /// The member must have seen one request, with these and without those in its lines.
    pub(crate) fn seen(mut self, has: &'static [&'static str], lacks: &'static [&'static str]) -> Self {
        self.member = Member::One(has, lacks);
        self
    }

    fn or(mut self, outcome: Outcome) -> Self {
        self.allowed.push(outcome);
        self
    }

    /// Opens the connection that the case is played on.
    pub(crate) async fn open(&self, dial: &Dial) -> Peer {
        match &self.settings {
            Some(ours) => Peer::greeted(dial, ours).await,
            None => Peer::silent(dial).await,
        }
    }

    /// Takes every step, and reads until an allowed outcome is reached or none can be any more.
    pub(crate) async fn play(&self, peer: &mut Peer) -> Result<(), String> {
        // What is sent in a row goes out at once, so that no answer can come in between.
        let mut unsent = Vec::new();
        for step in &self.steps {
            match step {
                Step::Send(bytes) => unsent.extend(bytes),
                Step::SendFor(bytes) => unsent.extend(bytes(&peer.seen)),
                Step::Until(what, holds) => {
                    peer.send(&std::mem::take(&mut unsent)).await;
                    if !peer.until(holds).await {
                        return Err(format!("closed before: {what}"));
                    }
                }
                Step::Upload(stream, octets) => {
                    peer.send(&std::mem::take(&mut unsent)).await;
                    if !peer.upload(*stream, *octets).await {
                        return Err("closed during an upload".into());
                    }
                }
                Step::Finish => {
                    peer.send(&std::mem::take(&mut unsent)).await;
                    peer.finish().await;
                }
            }
        }
        if self.pinged {
            unsent.extend(ping(NONE, LAST_PING));
        }
        peer.send(&unsent).await;
        let mut repeated = false;
        loop {
            let alive = !self.pinged || peer.seen.pongs.contains(LAST_PING);
            if self.allowed.iter().any(|outcome| outcome.is_reached(&peer.seen, alive)) {
                return Ok(());
            }
            if self.pinged && alive && self.allowed.iter().all(|outcome| outcome.is_missed(&peer.seen)) {
                // A PING may be answered ahead of a reset; once another is answered, nothing is left to come.
                match peer.seen.pongs.iter().filter(|pong| *pong == LAST_PING).count() {
                    1 if !repeated => peer.send(&ping(NONE, LAST_PING)).await,
                    1 => {}
                    _ => return Err("something else".into()),
                }
                repeated = true;
            }
            // A host that lingers after GOAWAY waits for this.
            if peer.seen.goaways.iter().any(|code| *code != NO_ERROR) {
                peer.finish().await;
            }
            if !peer.next().await && !self.allowed.iter().any(|outcome| outcome.is_reached(&peer.seen, false)) {
                return Err("closed".into());
            }
        }
    }

    /// Whether the member saw what it may see.
    pub(crate) fn judge(&self, records: &[Record]) -> Result<(), String> {
        let has = |record: &Record, texts: &[&str]| texts.iter().any(|text| record.text.contains(text));
        let found = match (&self.member, records) {
            (Member::Nothing, [_, ..]) => "saw a request",
            (Member::NothingWhole, records) if records.iter().any(|record| record.whole) => "saw a whole request",
            (Member::Never(lacks), records) if records.iter().any(|record| has(record, lacks)) => {
                "saw what it must not"
            }
            (Member::One(..), [] | [_, _, ..]) => "did not see one request",
            (Member::One(wanted, lacks), [record])
                if has(record, lacks) || !wanted.iter().all(|text| has(record, &[text])) =>
            {
                "saw another request"
            }
            _ => return Ok(()),
        };
        let texts: Vec<_> = records.iter().take(3).map(|record| record.text.as_str()).collect();
        Err(format!("{found}: {texts:?}"))
    }

    /// Every allowed outcome in words.
    pub(crate) fn expected(&self) -> String {
        self.allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", or ")
    }
}

const LAST_PING: &[u8; 8] = b"the last";
