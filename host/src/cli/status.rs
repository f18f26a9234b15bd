//! `switchback status`

use clap::Args;

use super::Place;
use super::client::read;
use super::text::{decider, entry_line, print_json};
use crate::control::views;

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
        say!("forward   {}", step(status.forward.as_ref()));
        if let Some(watching) = &status.auto_back.watching {
            say!("watching  r{} against r{}, since {}", watching.release, watching.against, watching.since);
        }
        if let Some(latch) = &status.auto_back.latch {
            say!("latched   left r{} at {}, waits for a person: {}", latch.release, latch.at, latch.why);
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
        for entry in &status.recent {
            say!("recent    {}", entry_line(entry));
        }
        Ok(())
    }
}

fn step(step: Option<&views::Step>) -> String {
    match step {
        None => "nowhere to go".into(),
        Some(step) if step.ready => format!("ready -> r{}", step.number),
        Some(step) => format!("r{}, not ready yet", step.number),
    }
}
