//! What a switch answers: what was done, how fast, and whether the disk knows.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Refusal;
use crate::digest::Digest;
use crate::release::Release;
use crate::store::journal::{Call, Door, Entry, Kind};

tokio::task_local! {
    /// The entry of a refusal, for whoever asked for the change that this task makes. Here, as it is the journal's to give
    /// and the API's to tell, and nothing in between has a use for it.
    pub static REFUSED: std::cell::Cell<Option<u64>>;
}

/// Who wants a change, through which door, and why.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The door.
    pub door: Door,
    /// A person's or program's name, as it was given.
    pub who: String,
    /// The reason, as it was given.
    pub why: String,
    /// Whether it is wanted even if all members of a pool are sick.
    pub force: bool,
    /// The releases that it is wanted of, where it matters: it is refused when none of them is current.
    pub expects: Option<Vec<u64>>,
    /// The call it came with, where that may be repeated.
    pub call: Option<Call>,
    /// Whether it may go back over a point of no return.
    pub over_fence: bool,
    /// Goes back by itself unless it is confirmed within this time.
    pub confirm_within: Option<Duration>,
    /// Why the release that it makes is a point of no return, if it is.
    pub fence: Option<String>,
}

impl Origin {
    /// The host itself.
    pub fn host(why: impl Into<String>) -> Self {
        Self::through(Door::Host, "switchback", why)
    }

    /// Through a door, and as usual in everything else.
    pub fn through(door: Door, who: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            door,
            who: who.into(),
            why: why.into(),
            force: false,
            expects: None,
            call: None,
            over_fence: false,
            confirm_within: None,
            fence: None,
        }
    }

    /// Whether this release is one that the change is wanted of.
    ///
    /// # Errors
    /// When it is wanted of others only.
    pub(super) fn check_current(&self, current: u64) -> Result<(), Refusal> {
        match &self.expects {
            Some(expected) if !expected.contains(&current) => {
                Err(Refusal::Precondition { expected: expected.clone(), current })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn entry(&self, kind: Kind, from: Option<u64>, to: Option<u64>, why: String) -> Entry {
        Entry {
            id: 0,
            at: crate::time::rfc3339_now(),
            kind,
            door: self.door,
            who: self.who.clone(),
            why,
            from,
            to,
            from_digest: None,
            to_digest: None,
            // What was refused may be asked for again.
            call: self.call.clone().filter(|_| kind != Kind::Refuse),
        }
    }
}

/// Names a release to people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseName {
    /// Its number.
    pub number: u64,
    /// The digest of its content.
    pub digest: Digest,
}

impl From<&Release> for ReleaseName {
    fn from(release: &Release) -> Self {
        Self { number: release.number, digest: release.digest }
    }
}

/// The receipt of a switch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// The journal's entry; none where nothing changed.
    pub id: Option<u64>,
    /// What was done.
    pub action: Kind,
    /// The release that was current.
    pub from: ReleaseName,
    /// The release that is.
    pub to: ReleaseName,
    /// Whether anything changed: a change to what is there already makes no release.
    pub changed: bool,
    /// The door it came through.
    pub door: Door,
    /// Who asked.
    pub who: String,
    /// Why.
    pub why: String,
    /// Wall time of the receipt, RFC 3339.
    pub at: String,
    /// How it went.
    #[serde(flatten)]
    pub timing: Timing,
    /// Whether it would have survived a crash when this was given.
    pub durable: bool,
    /// What went wrong half way, where something did: the switch is made all the same.
    #[serde(default)]
    pub troubles: Vec<String>,
}

/// How a switch went, counted from the swap.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Timing {
    /// Microseconds until every worker had switched.
    pub switched_in_micros: u64,
    /// Microseconds until the last decision by the old release; zero when none came after the swap.
    pub last_old_decision_micros: u64,
    /// Requests the old release decided that were still in flight then.
    pub in_flight_on_old: u32,
    /// Worker threads.
    #[serde(default)]
    pub workers: u32,
    /// Of these, those that had switched when this was given: one may be stuck.
    #[serde(default)]
    pub workers_switched: u32,
}

/// How long a receipt waits for the workers. One that takes longer is stuck in a guest, or has no processor.
const SETTLE_PATIENCE: Duration = Duration::from_secs(2);

/// What the workers answer, without those that do not do so in time.
pub(super) async fn in_time<T>(answers: Vec<oneshot::Receiver<T>>) -> Vec<T> {
    let until = Instant::now() + SETTLE_PATIENCE;
    let mut answered = Vec::with_capacity(answers.len());
    for answer in answers {
        // Also those after one that is stuck: what has come by then is there at once.
        answered.extend(timeout_at(until, answer).await.ok().and_then(Result::ok));
    }
    answered
}

impl Timing {
    /// What is wrong where not every worker has switched.
    fn trouble(&self) -> Option<String> {
        let Self { workers, workers_switched, .. } = self;
        let wrong =
            || format!("{workers_switched} of {workers} workers had switched after 2 s; the others do when they can");
        (workers_switched < workers).then(wrong)
    }
}

impl Receipt {
    pub(super) fn new(action: Kind, origin: &Origin, from: &Release, to: &Release, timing: Timing, entry: u64) -> Self {
        Self {
            id: Some(entry).filter(|entry| *entry > 0),
            action,
            changed: from.number != to.number,
            from: from.into(),
            to: to.into(),
            door: origin.door,
            who: origin.who.clone(),
            why: origin.why.clone(),
            at: crate::time::rfc3339_now(),
            timing,
            durable: true,
            troubles: timing.trouble().into_iter().collect(),
        }
    }

    /// What is known of a switch whose receipt was lost with its host.
    pub fn of_entry(entry: &Entry) -> Option<Self> {
        let name = |number: Option<u64>, digest: Option<Digest>| Some(ReleaseName { number: number?, digest: digest? });
        Some(Self {
            id: Some(entry.id),
            action: entry.kind,
            from: name(entry.from, entry.from_digest.or(Some(Digest::ZERO)))?,
            to: name(entry.to, entry.to_digest)?,
            changed: true,
            door: entry.door,
            who: entry.who.clone(),
            why: entry.why.clone(),
            at: entry.at.clone(),
            timing: Timing::default(),
            durable: true,
            troubles: vec!["the host ended before it could say how the switch went".to_owned()],
        })
    }

    /// The receipt of a change that found everything as it wanted.
    pub(super) fn unchanged(origin: &Origin, current: &Release) -> Self {
        Self::new(Kind::Activate, origin, current, current, Timing::default(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_is_stuck_is_not_waited_for_and_those_after_it_count() {
        let (stuck, silent) = oneshot::channel();
        let (well, answer) = oneshot::channel();
        let (ended, gone) = oneshot::channel();
        well.send(2).unwrap();
        drop(ended);
        let begun = Instant::now();
        assert_eq!(in_time(vec![silent, answer, gone]).await, [2]);
        assert_eq!(begun.elapsed(), SETTLE_PATIENCE);
        assert!(stuck.send(1).is_err());
    }

    #[test]
    fn a_receipt_says_how_many_workers_had_switched() {
        let timing = |workers_switched| Timing { workers: 4, workers_switched, ..Timing::default() };
        assert!(timing(3).trouble().unwrap().starts_with("3 of 4 workers had switched"));
        assert_eq!(timing(4).trouble(), None);
    }
}
