//! `switchback history`

use clap::Args;

use super::Place;
use super::client::read;
use super::text::{entry_line, print_json};
use crate::control::views;

/// Show what happened: switches, refusals, policies that failed; newest first
#[derive(Args)]
pub(super) struct History {
    /// How many entries, at most 1000
    #[arg(short = 'n', long, default_value_t = 20)]
    limit: usize,
}

impl History {
    #[allow(clippy::needless_pass_by_value, reason = "all commands are called alike")]
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        let body = place.client().get(&format!("/v1/history?limit={}", self.limit))?;
        if place.json {
            print_json(&body);
            return Ok(());
        }
        let history: views::History = read(&body)?;
        let steps = history
            .trail
            .iter()
            .enumerate()
            .map(|(at, step)| if at == history.position { format!("[r{step}]") } else { format!("r{step}") });
        say!("trail  {}", steps.collect::<Vec<_>>().join(" "));
        history.entries.iter().for_each(|entry| say!("{}", entry_line(entry)));
        Ok(())
    }
}
