//! `switchback switch`

use anyhow::bail;
use clap::Args;

use super::Place;
use super::client::encoded;
use super::terms::Terms;
use super::text::print_receipt;
use super::trial::Trial;
use crate::control::views::AssignRequest;

/// Assign a vip's pool: all its requests go there from now on, no policy involved
///
/// The way by configuration. It outlives edits of the configuration file that say nothing new about this vip, and is
/// taken back by `switchback back`.
///
/// Example: switchback switch shop green
#[derive(Args)]
pub(super) struct Switch {
    /// The vip
    vip: String,
    /// The pool that is to serve it
    #[arg(required_unless_present = "policy", conflicts_with = "policy")]
    pool: Option<String>,
    /// Let this policy decide instead
    #[arg(long)]
    policy: Option<String>,
    #[command(flatten)]
    trial: Trial,
    #[command(flatten)]
    terms: Terms,
}

impl Switch {
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        let Self { vip, pool, policy, trial, terms } = self;
        if vip.is_empty() {
            bail!("the vip's name is empty");
        }
        let (share, key) = trial.into_request();
        let request = AssignRequest { pool, policy, share, key, terms: terms.into() };
        let body = place.client().put(&format!("/v1/vips/{}", encoded(&vip)), serde_json::to_vec(&request)?)?;
        print_receipt(&body, place.json)
    }
}
