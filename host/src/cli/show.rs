//! `switchback show`

use clap::Args;

use super::Place;
use super::client::encoded;
use super::text::print_json;

/// Show one release whole: its vips, pools, policies and their configuration
///
/// Always JSON: this is what can be kept, compared and read by programs.
///
/// Example: diff <(switchback show r41) <(switchback show r42)
#[derive(Args)]
pub(super) struct Show {
    /// Its number, such as `r42`
    #[arg(default_value = "current")]
    release: String,
}

impl Show {
    #[allow(clippy::needless_pass_by_value, reason = "all commands are called alike")]
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        let body = place.client().get(&format!("/v1/releases/{}", encoded(&self.release)))?;
        if place.json {
            print_json(&body);
        } else {
            let value: serde_json::Value = serde_json::from_slice(&body)?;
            say!("{}", serde_json::to_string_pretty(&value)?);
        }
        Ok(())
    }
}
