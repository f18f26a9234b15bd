//! `switchback crashes`

use clap::Args;

use super::Place;
use super::client::{encoded, read};
use super::text::print_json;
use crate::switch::crash::CrashLine;

/// Show why policies failed: what they were asked, told and wrote when they did
///
/// Without an ID, the bundles that are kept, newest first; the last 20 are. With one, all of it as JSON: request, clock, seed,
/// loads, configuration, fault, backtrace and the policy's log. It holds the request's cookies and tokens as they came.
///
/// Example: switchback crashes 01764000000000-000001 > crash.json
#[derive(Args)]
pub(super) struct Crashes {
    /// Which one
    id: Option<String>,
}

impl Crashes {
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        let path = self.id.as_ref().map_or_else(|| "/v1/crashes".into(), |id| format!("/v1/crashes/{}", encoded(id)));
        let body = place.client().get_secret(&path)?;
        if place.json {
            print_json(&body);
            return Ok(());
        }
        if self.id.is_some() {
            let value: serde_json::Value = serde_json::from_slice(&body)?;
            say!("{}", serde_json::to_string_pretty(&value)?);
            return Ok(());
        }
        for crash in read::<Vec<CrashLine>>(&body)? {
            let CrashLine { id, at, release, vip, policy, digest, fault, .. } = crash;
            say!("{id}  {at}  r{release}  policy {policy} ({}) for vip {vip}: {fault}", digest.short());
        }
        Ok(())
    }
}
