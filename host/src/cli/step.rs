//! `switchback back` and `switchback forward`

use clap::Args;

use super::Place;
use super::text::print_receipt;
use crate::control::views::StepRequest;

#[derive(Args)]
pub(super) struct Step {
    /// Why, for the history
    #[arg(long)]
    why: Option<String>,
    /// Do it even if no member of a pool is fit
    #[arg(long)]
    force: bool,
}

impl Step {
    pub(super) fn run(self, place: &Place, direction: &str) -> anyhow::Result<()> {
        let body =
            place.client().post(&format!("/v1/{direction}"), &StepRequest { why: self.why, force: self.force })?;
        print_receipt(&body, place.json)
    }
}
