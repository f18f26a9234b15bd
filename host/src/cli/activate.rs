//! `switchback activate`

use clap::Args;

use super::Place;
use super::client::encoded;
use super::terms::Terms;
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
    #[command(flatten)]
    terms: Terms,
}

impl Activate {
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        let (share, key) = self.trial.into_request();
        let path = format!("/v1/releases/{}/activate", encoded(&self.release));
        let client = if self.terms.why.over_fence { place.client().with_admin_token() } else { place.client() };
        let body = client.post(&path, &ActivateRequest { share, key, terms: self.terms.into() })?;
        print_receipt(&body, place.json)
    }
}
