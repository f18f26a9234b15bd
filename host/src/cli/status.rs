//! `switchback status`

use clap::Args;

use super::Place;
use super::client::read;
use super::text::{decider, entry_line, print_json};
use crate::control::views;
use crate::control::views::canary::DecidedView;
use crate::control::views::way::{DoorView, FenceView, UnconfirmedView, Way};
use crate::store::journal::word;

/// Show what serves: release, vips, pools, policies, and what happened last
#[derive(Args)]
pub(super) struct Status {}

impl Status {
    #[allow(clippy::unused_self, reason = "all commands are called alike")]
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        let body = place.client().get("/v1/status")?;
        if place.json {
            print_json(&body);
            return Ok(());
        }
        let status: views::Status = read(&body)?;
        say!(
            "release   r{} ({}), {} requests in flight",
            status.current.number,
            status.current.digest.short(),
            status.in_flight
        );
        say!("back      {}", status.way_back.way);
        for line in way(&status.way) {
            say!("          {line}");
        }
        say!("forward   {}", step(status.forward.as_ref()));
        if let Some(watching) = &status.auto_back.watching {
            say!("watching  r{} against r{}, since {}", watching.release, watching.against, watching.since);
        }
        if let Some(latch) = &status.auto_back.latch {
            say!("latched   left r{} at {}, waits for a person: {}", latch.release, latch.at, latch.why);
        }
        if let Some(canary) = &status.canary {
            let digest = canary.name.digest.short();
            say!(
                "canary    r{} ({digest}) at {} by {}",
                canary.name.number,
                canary.share,
                canary.key.replace(':', " ")
            );
            status.decided.iter().for_each(decided);
        }
        for vip in &status.vips {
            let listen = if vip.bound.is_empty() {
                vip.listen.join(", ")
            } else {
                vip.bound.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            };
            let awaited = if vip.decides { "" } else { ", which has not arrived" };
            let fallback = vip.fallback.as_ref().map(|pool| format!(", fallback {pool}")).unwrap_or_default();
            say!("vip       {} on {listen}: {}{awaited}{fallback}", vip.name, decider(&vip.decider));
            let totals = &vip.totals;
            say!(
                "          {} requests; decided by the previous policy {}, by the fallback {}, not at all {}",
                totals.requests,
                totals.by_previous,
                totals.by_fallback,
                totals.undecided
            );
        }
        for pool in &status.pools {
            say!(
                "pool      {}: {} members, {} requests, {} errors",
                pool.name,
                pool.members.len(),
                pool.totals.requests,
                pool.totals.errors
            );
        }
        for policy in &status.policies {
            let digest = policy.digest.map_or_else(|| "not there".into(), |digest| digest.short());
            say!("policy    {} ({digest}) {}", policy.name, policy.description.as_deref().unwrap_or_default());
        }
        let journal = &status.journal;
        say!("journal   {} entries, {} bytes, head {}", journal.entries, journal.bytes, journal.head);
        if let Some(since) = &journal.waiting_since {
            let why = journal.trouble.as_ref().map(|trouble| format!(": {trouble}")).unwrap_or_default();
            say!("          {} records wait for the disk since {since}{why}", journal.waiting);
        }
        if let Some(damage) = &journal.damage {
            say!("          DAMAGED: {damage}");
        }
        for entry in &status.recent {
            say!("recent    {}", entry_line(entry));
        }
        Ok(())
    }
}

/// What is to know of the way back, beside its next step.
fn way(way: &Way) -> Vec<String> {
    let steps = |steps: usize| if steps == 1 { "1 step".into() } else { format!("{steps} steps") };
    let mut lines = Vec::new();
    match &way.fence {
        Some(FenceView { release, mark }) => lines.push(format!(
            "{} back, to the point of no return r{release} ({}; {} at {})",
            steps(way.steps_back),
            mark.why,
            mark.who,
            mark.at
        )),
        None if way.steps_back > 1 => lines.push(format!("{} back in all", steps(way.steps_back))),
        None => {}
    }
    for UnconfirmedView { release, seconds } in &way.unconfirmed {
        let time = humantime::format_duration(std::time::Duration::from_secs(*seconds));
        lines.push(format!("r{release} is gone back from in {time}, unless `switchback confirm` comes before"));
    }
    for DoorView { door, name, digest, serves, quarantined } in &way.doors {
        let serves = serves.map_or_else(|| "nothing".into(), |serves| serves.short());
        let quarantined = if *quarantined { ", quarantined" } else { "" };
        lines.push(format!("{} has {name} {}{quarantined}; {serves} serves", word(door), digest.short()));
    }
    lines
}

fn step(step: Option<&views::Step>) -> String {
    match step {
        None => "nowhere to go".into(),
        Some(step) if step.ready => format!("ready -> r{}", step.number),
        Some(step) => format!("r{}, not ready yet", step.number),
    }
}

/// What came of a release's requests, beside the other's.
fn decided(decided: &DecidedView) {
    let DecidedView { release, requests, in_flight, answers, failed, falls, p50_micros, p99_micros } = decided;
    let answers: Vec<_> = answers.iter().map(|(status, count)| format!("{count} {status}")).collect();
    let answers = if answers.is_empty() { "no answers".into() } else { answers.join(", ") };
    let millis = |micros: &Option<u64>| micros.map_or("-".into(), |micros| format!("{:.1}", micros as f64 / 1000.0));
    let (p50, p99) = (millis(p50_micros), millis(p99_micros));
    say!(
        "          r{release}: {requests} requests, {in_flight} in flight; {answers}; {failed} failed, {falls} falls; \
         half within {p50} ms, 99 % within {p99} ms"
    );
}
