//! `switchback activate`

use clap::Args;

use super::Place;
use super::client::encoded;
use super::text::print_receipt;
use super::trial::Trial;
use crate::control::views::ActivateRequest;

/// Make the content of an earlier release current, as a new release
///
/// For a release that is further away than `back` and `forward` go, or no longer on the trail. A canary becomes current
/// under its own number.
///
/// Example: switchback activate r42 --share 5% --key cookie:uid
#[derive(Args)]
pub(super) struct Activate {
    /// Its number, such as `r37`
    release: String,
    #[command(flatten)]
    trial: Trial,
    /// Why, for the history
    #[arg(long)]
    why: Option<String>,
    /// Do it even if no member of a pool is fit
    #[arg(long)]
    force: bool,
}

impl Activate {
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        let (share, key) = self.trial.into_request();
        let path = format!("/v1/releases/{}/activate", encoded(&self.release));
        let body = place.client().post(&path, &ActivateRequest { share, key, why: self.why, force: self.force })?;
        print_receipt(&body, place.json)
    }
}
