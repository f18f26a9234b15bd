//! The story of the demo, told by itself and checked: `demo --tour`.
//!
//! Does what a user would: copies files into the policy folder, and asks the control API as the commands do. Each step
//! waits for what it expects, up to a limit; the first that does not hold ends the tour.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::time::Instant;

use super::folder::{CANARY, GARBAGE, Sample, TRAP};
use super::{Stage, folder, say};
use crate::cli::client::{Client, read};
use crate::cli::text::{describe, entry_line};
use crate::control::views::{History, Status, StepRequest, Terms};
use crate::store::journal::{Door, Entry, Kind, word};
use crate::switch::receipt::Receipt;

/// How long a step waits for what it expects. A second does at home; where tests share a busy machine, policies are
/// compiled last, as the child that does it has the lowest priority.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(50);

/// Answers from which a share is told: with these, a fifth comes out as 16 to 24 % nineteen times out of twenty.
const ANSWERS: u64 = 300;

/// What green gets of all users, in percent.
const NOBODY: RangeInclusive<f64> = 0.0..=0.0;
/// A fifth, give or take more than chance does.
const A_FIFTH: RangeInclusive<f64> = 8.0..=32.0;

/// A step did not hold.
#[derive(Debug, thiserror::Error)]
#[error("expected {expected}\n   saw {seen}")]
struct Missed {
    expected: String,
    seen: String,
}

/// Whether a step held.
type Held = Result<(), Missed>;

/// Plays it.
pub(super) async fn play(stage: &Stage<'_>) -> anyhow::Result<()> {
    let tour = Tour { stage, began: Instant::now() };
    tour.step("no policy yet: everybody is sent to the fallback pool, blue", tour.all_on_blue()).await?;
    tour.step("drop in a canary policy: a fifth of the users goes to green", tour.canary()).await?;
    tour.step("drop in a policy that traps: the one before answers, then the host goes back", tour.trap()).await?;
    tour.step("drop in a file that is no policy: refused, and nothing changes", tour.garbage()).await?;
    tour.step("back: everybody is on blue again", tour.go("back", NOBODY)).await?;
    tour.step("forward: the canary again", tour.go("forward", A_FIFTH)).await?;
    say(&format!("\nthe tour held: {:.1} s, and no client saw an error", tour.began.elapsed().as_secs_f64()))
}

struct Tour<'a> {
    stage: &'a Stage<'a>,
    began: Instant,
}

/// The steps.
impl Tour<'_> {
    async fn all_on_blue(&self) -> Held {
        self.green_has(NOBODY).await
    }

    async fn canary(&self) -> Held {
        let before = self.status().await?;
        self.drop_in(&CANARY, &[Kind::Activate]).await?;
        self.serves(before.current.number + 1).await?;
        self.green_has(A_FIFTH).await
    }

    async fn trap(&self) -> Held {
        let before = self.status().await?;
        let happened = self.drop_in(&TRAP, &[Kind::Activate, Kind::Fall, Kind::Back]).await?;
        let back = happened.last().expect("three were waited for");
        if (back.door, back.to) != (Door::Host, Some(before.current.number)) {
            return missed(format!("the host to go back to r{} by itself", before.current.number), entry_line(back));
        }
        let after = self.serves(before.current.number).await?;
        let by_previous = |status: &Status| status.vips.iter().map(|vip| vip.totals.by_previous).sum::<u64>();
        let rescued = by_previous(&after) - by_previous(&before);
        if rescued == 0 {
            return missed("requests to be decided by the policy before", "none");
        }
        tell(&format!("{rescued} requests on which it trapped were decided by the policy before"));
        self.green_has(A_FIFTH).await
    }

    async fn garbage(&self) -> Held {
        let before = self.status().await?;
        self.drop_in(&GARBAGE, &[Kind::Refuse]).await?;
        self.serves(before.current.number).await?;
        self.green_has(A_FIFTH).await
    }

    /// `back` or `forward`.
    async fn go(&self, direction: &str, green: RangeInclusive<f64>) -> Held {
        let before = self.status().await?;
        let step = if direction == "back" { before.back } else { before.forward };
        let Some(step) = step else { return missed(format!("a release to go {direction} to"), "none") };
        tell(&format!("$ ./switchback {direction} --why 'the tour'"));
        let path = format!("/v1/{direction}");
        let terms = Terms { why: Some("the tour".into()), ..Terms::default() };
        let request = StepRequest { terms, ..StepRequest::default() };
        let receipt: Receipt = self.ask(move |client| client.post(&path, &request)).await?;
        describe(&receipt).lines().for_each(|line| tell(line.trim()));
        if (receipt.changed, receipt.to.number) != (true, step.number) {
            return missed(format!("a switch from r{} to r{}", before.current.number, step.number), describe(&receipt));
        }
        self.green_has(green).await
    }
}

/// What steps are made of.
impl Tour<'_> {
    async fn step(&self, title: &str, held: impl Future<Output = Held>) -> anyhow::Result<()> {
        say(&format!("\n{title}"))?;
        let held = held.await.and_then(|()| self.nobody_saw_an_error());
        held.map_err(|missed| anyhow::anyhow!("the tour did not hold at: {title}\n   {missed}"))?;
        say("   ok")
    }

    fn nobody_saw_an_error(&self) -> Result<(), Missed> {
        match self.stage.traffic.errors() {
            (0, _) => Ok(()),
            (errors, last) => {
                missed("no client to see an error", format!("{errors}, the last: {}", last.unwrap_or_default()))
            }
        }
    }

    /// Copies a sample into the policy folder, and waits until these things have happened, in this order. Answers the
    /// history's entries of them.
    async fn drop_in(&self, sample: &Sample, kinds: &[Kind]) -> Result<Vec<Entry>, Missed> {
        let last = self.history().await?.first().map_or(0, |entry| entry.id);
        tell(&format!("$ {}", folder::copy_command(sample)));
        if let Err(error) = self.stage.folder.drop_in(sample) {
            return missed(format!("{} to be copied", sample.file), error.to_string());
        }
        let words = kinds.iter().map(word).collect::<Vec<_>>().join(", ");
        let happened = eventually(&format!("the history to go on with: {words}"), async || {
            let mut new = self.history().await.map_err(|missed| missed.seen)?;
            new.retain(|entry| entry.id > last);
            new.reverse();
            // More may follow: a fall that was on its way when the host went back.
            if new.iter().map(|entry| entry.kind).take(kinds.len()).eq(kinds.iter().copied()) {
                new.truncate(kinds.len());
                return Ok(new);
            }
            Err(or_nothing(&new.iter().map(entry_line).collect::<Vec<_>>().join("\n   ")))
        })
        .await?;
        happened.iter().for_each(|entry| tell(&entry_line(entry)));
        Ok(happened)
    }

    async fn serves(&self, release: u64) -> Result<Status, Missed> {
        eventually(&format!("r{release} to serve"), async || {
            let status = self.status().await.map_err(|missed| missed.seen)?;
            if status.current.number == release { Ok(status) } else { Err(format!("r{}", status.current.number)) }
        })
        .await
    }

    /// Waits for enough answers to requests that are sent from now on, and compares green's share of them.
    async fn green_has(&self, expected: RangeInclusive<f64>) -> Held {
        let mark = Instant::now();
        let answers = eventually(&format!("{ANSWERS} answers"), async || {
            let answers = self.stage.traffic.answers_since(mark);
            if answers.values().sum::<u64>() >= ANSWERS { Ok(answers) } else { Err(shares(&answers)) }
        })
        .await?;
        let all = answers.values().sum::<u64>();
        let green = percent(answers.get("green").copied().unwrap_or(0), all);
        if !expected.contains(&green) {
            let (low, high) = expected.into_inner();
            return missed(format!("green to have {low} to {high} % of {all} answers"), shares(&answers));
        }
        tell(&format!("{all} answers: {}", shares(&answers)));
        Ok(())
    }

    async fn status(&self) -> Result<Status, Missed> {
        self.ask(|client| client.get("/v1/status")).await
    }

    /// Newest first.
    async fn history(&self) -> Result<Vec<Entry>, Missed> {
        let history: History = self.ask(|client| client.get("/v1/history?limit=10")).await?;
        Ok(history.entries)
    }

    /// Asks the control API, the way commands do.
    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        call: impl FnOnce(&Client) -> anyhow::Result<Bytes> + Send + 'static,
    ) -> Result<T, Missed> {
        let client = Client::of(self.stage.folder.state());
        // Commands wait for their answer where they stand; the traffic goes on.
        let answer = tokio::task::spawn_blocking(move || call(&client)).await.expect("a call does not panic");
        answer
            .and_then(|body| read(&body))
            .or_else(|error| missed("an answer of the control API", format!("{error:#}")))
    }
}

/// Prints what a step does and sees. That nobody reads any more is noticed at its end.
fn tell(line: &str) {
    let _ = say(&format!("   {line}"));
}

/// Looks until what is expected is there; `look` answers what it saw instead.
async fn eventually<T>(expected: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> Result<T, Missed> {
    let began = Instant::now();
    loop {
        match look().await {
            Ok(there) => return Ok(there),
            Err(seen) if began.elapsed() > PATIENCE => {
                return missed(format!("{expected} within {PATIENCE:?}"), seen);
            }
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

fn missed<T>(expected: impl Into<String>, seen: impl Into<String>) -> Result<T, Missed> {
    Err(Missed { expected: expected.into(), seen: seen.into() })
}

fn shares(answers: &BTreeMap<String, u64>) -> String {
    let all = answers.values().sum::<u64>();
    let shares = answers.iter().map(|(pool, count)| format!("{pool} {:.0} %", percent(*count, all)));
    or_nothing(&shares.collect::<Vec<_>>().join(", "))
}

fn percent(part: u64, all: u64) -> f64 {
    100.0 * part as f64 / all.max(1) as f64
}

fn or_nothing(text: &str) -> String {
    if text.is_empty() { "nothing".into() } else { text.to_owned() }
}
