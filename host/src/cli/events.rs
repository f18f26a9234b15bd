//! `switchback events`

use clap::Args;

use super::Place;
use super::client::read;
use super::text::print_json;
use crate::proxy::events::Event;

/// Show what became of members, pools and releases, newest first
///
/// Who got sick or well, who was left alone for its failures and came back, which release did worse than the one before,
/// with the reasons. The last thousand events
/// are kept in memory; the host's log has them all.
///
/// Example: switchback events --limit 20
#[derive(Args)]
pub(super) struct Events {
    /// How many
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

impl Events {
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        let body = place.client().get(&format!("/v1/events?limit={}", self.limit))?;
        if place.json {
            print_json(&body);
            return Ok(());
        }
        for event in read::<Vec<Event>>(&body)? {
            let pool = event.pool.map(|pool| format!(" pool {pool}")).unwrap_or_default();
            let member = event.member.map(|member| format!(" member {member}")).unwrap_or_default();
            say!("{} {}{pool}{member}: {}", event.at, event.kind, event.reason);
        }
        Ok(())
    }
}
