//! `switchback back` and `switchback forward`

use clap::Args;

use super::Place;
use super::terms::Why;
use super::text::print_receipt;
use crate::control::views::StepRequest;

#[derive(Args)]
pub(super) struct Step {
    /// How many releases [default: 1]
    #[arg(conflicts_with = "to")]
    steps: Option<usize>,
    /// To this release, such as `r37`, however far that is
    #[arg(long, value_name = "RELEASE")]
    to: Option<String>,
    /// Only this vip; the rest stays as it is
    #[arg(long)]
    vip: Option<String>,
    #[command(flatten)]
    why: Why,
}

impl Step {
    pub(super) fn run(self, place: &Place, direction: &str) -> anyhow::Result<()> {
        let Self { steps, to, vip, why } = self;
        let client = if why.over_fence { place.client().with_admin_token() } else { place.client() };
        let request = StepRequest { steps, to, vip, terms: why.into() };
        print_receipt(&client.post(&format!("/v1/{direction}"), &request)?, place.json)
    }
}
