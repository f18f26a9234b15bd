//! `switchback pools`

use clap::Args;

use super::Place;
use super::client::read;
use super::text::print_json;
use crate::control::views;

/// Show the pools and their members as they stand
#[derive(Args)]
pub(super) struct Pools {}

impl Pools {
    #[allow(clippy::unused_self, reason = "all commands are called alike")]
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        let body = place.client().get("/v1/pools")?;
        if place.json {
            print_json(&body);
            return Ok(());
        }
        for pool in read::<Vec<views::PoolView>>(&body)? {
            let panics = if pool.panics { ", too few members are fit: all are used" } else { "" };
            let totals = pool.totals;
            say!(
                "{}: {} requests, {} errors, {} retries, {} waiting{panics}",
                pool.name,
                totals.requests,
                totals.errors,
                totals.retries,
                pool.waiting
            );
            for member in pool.members {
                say!(
                    "  {:<22} {:<10} {} in flight, {} connections, {} requests, {} failures{}{}",
                    member.address,
                    member.state,
                    member.in_flight,
                    member.connections,
                    member.requests,
                    member.failures,
                    if member.reason.is_empty() { "" } else { ": " },
                    member.reason
                );
            }
        }
        Ok(())
    }
}
