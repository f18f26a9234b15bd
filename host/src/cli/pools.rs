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
            say!("{}: {} requests, {} errors", pool.name, pool.totals.requests, pool.totals.errors);
            for member in pool.members {
                say!(
                    "  {:<22} {} in flight, {} requests, {} failures",
                    member.address,
                    member.in_flight,
                    member.requests,
                    member.failures
                );
            }
        }
        Ok(())
    }
}
