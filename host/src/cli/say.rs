//! `switchback confirm`, `fence`, `unfence` and `unquarantine`: what is said without a switch.

use clap::Args;

use super::Place;
use super::client::{encoded, read};
use super::text::print_json;
use crate::control::views::SayRequest;
use crate::control::views::way::QuarantineView;
use crate::store::journal::Entry;

#[derive(Args)]
pub(super) struct Confirm {
    /// Why, for the history
    #[arg(long)]
    why: Option<String>,
}

#[derive(Args)]
pub(super) struct Fence {
    /// The release, such as `r42`
    release: String,
    /// Why there is no way back from it, for whoever tries
    #[arg(long)]
    why: String,
}

#[derive(Args)]
pub(super) struct Unfence {
    /// The release, such as `r42`
    release: String,
    /// Why, for the history
    #[arg(long)]
    why: Option<String>,
}

#[derive(Args)]
pub(super) struct Quarantine {}

#[derive(Args)]
pub(super) struct Unquarantine {
    /// The digest, or how it begins; `switchback quarantine` lists them
    digest: String,
    /// Why, for the history
    #[arg(long)]
    why: Option<String>,
}

impl Confirm {
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        let said = place.client().post("/v1/confirm", &SayRequest { why: self.why })?;
        print(&said, place, |entry| format!("confirmed: {} stays", name(entry.to)))
    }
}

impl Fence {
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        let path = format!("/v1/releases/{}/fence", encoded(&self.release));
        let said = place.client().put(&path, serde_json::to_vec(&SayRequest { why: Some(self.why) })?)?;
        print(&said, place, |entry| format!("{} is a point of no return: {}", name(entry.to), entry.why))
    }
}

impl Unfence {
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        let path = format!("/v1/releases/{}/fence", encoded(&self.release));
        let body = serde_json::to_vec(&SayRequest { why: self.why })?;
        let said = place.client().with_admin_token().delete(&path, body)?;
        print(&said, place, |entry| format!("{} is a release like any other", name(entry.to)))
    }
}

impl Quarantine {
    #[allow(clippy::unused_self, reason = "all commands are called alike")]
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        let body = place.client().get("/v1/quarantine")?;
        if place.json {
            print_json(&body);
            return Ok(());
        }
        for QuarantineView { digest, it } in read::<Vec<QuarantineView>>(&body)? {
            let why = if it.mark.why.is_empty() { String::new() } else { format!(" ({})", it.mark.why) };
            say!(
                "{}  {}  r{} was gone back from by {} at {}{why}",
                digest.short(),
                it.name,
                it.release,
                it.mark.who,
                it.mark.at
            );
        }
        Ok(())
    }
}

impl Unquarantine {
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        let path = format!("/v1/quarantine/{}", encoded(&self.digest));
        let said = place.client().delete(&path, serde_json::to_vec(&SayRequest { why: self.why })?)?;
        print(&said, place, |entry| format!("out of quarantine: {}", entry.why))
    }
}

fn print(said: &hyper::body::Bytes, place: &Place, line: impl FnOnce(&Entry) -> String) -> anyhow::Result<()> {
    if place.json {
        print_json(said);
    } else {
        say!("{}", line(&read(said)?));
    }
    Ok(())
}

fn name(release: Option<u64>) -> String {
    release.map_or_else(|| "it".into(), |release| format!("r{release}"))
}
