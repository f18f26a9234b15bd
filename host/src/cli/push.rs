//! `switchback push`

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::Place;
use super::client::encoded;
use super::terms::Terms;
use super::text::print_receipt;
use super::trial::Trial;
use crate::control::views;

/// Upload a policy and make it current
///
/// Refused, with the reason, if it is not fit; what serves does not change then. It becomes part of a new release under
/// the name of the file, or of `--name`; a vip uses it if the configuration says `policy = "NAME"` or after
/// `switchback switch VIP --policy NAME`.
///
/// Example: switchback push target/wasm32-unknown-unknown/release/canary.wasm --name shop
#[derive(Args)]
pub(super) struct Push {
    /// A component, or what `cargo build --target wasm32-unknown-unknown` leaves
    file: PathBuf,
    /// The policy's name [default: the file's name without `.wasm`]
    #[arg(long)]
    name: Option<String>,
    /// A file whose text the policy is configured with, instead of what it was told so far
    #[arg(long = "policy-config", value_name = "FILE")]
    policy_config: Option<PathBuf>,
    #[command(flatten)]
    trial: Trial,
    #[command(flatten)]
    terms: Terms,
}

impl Push {
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let bytes = read(&self.file)?;
        let stem = self.file.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
        let name = self.name.or(stem).context("the file has no name; `--name` gives one")?;
        let mut query = Vec::new();
        if let Some(path) = &self.policy_config {
            let text = String::from_utf8(read(path)?).with_context(|| format!("{} is not text", path.display()))?;
            query.push(format!("config={}", encoded(&text)));
        }
        let (share, key) = self.trial.into_request();
        query.extend(share.map(|share| format!("share={}", share.part())));
        query.extend(key.map(|key| format!("key={}", encoded(&key))));
        let views::Terms { why, force, confirm_within, fence, .. } = self.terms.into();
        let told = [("why", why), ("confirm_within", confirm_within), ("fence", fence)];
        query.extend(told.into_iter().filter_map(|(key, text)| Some(format!("{key}={}", encoded(&text?)))));
        if force {
            query.push("force=true".into());
        }
        let body = place.client().put(&format!("/v1/policies/{}?{}", encoded(&name), query.join("&")), bytes)?;
        print_receipt(&body, place.json)
    }
}
