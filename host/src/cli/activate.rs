//! `switchback activate`

use clap::Args;

use super::Place;
use super::client::encoded;
use super::text::print_receipt;
use crate::control::views::ActivateRequest;

/// Make the content of an earlier release current, as a new release
///
/// For a release that is further away than `back` and `forward` go, or no longer on the trail.
///
/// Example: switchback activate r37
#[derive(Args)]
pub(super) struct Activate {
    /// Its number, such as `r37`
    release: String,
    /// Why, for the history
    #[arg(long)]
    why: Option<String>,
    /// Do it even if no member of a pool is fit
    #[arg(long)]
    force: bool,
}

impl Activate {
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        let path = format!("/v1/releases/{}/activate", encoded(&self.release));
        let body = place.client().post(&path, &ActivateRequest { why: self.why, force: self.force })?;
        print_receipt(&body, place.json)
    }
}
