//! `--share` and `--key`, of every command that makes a release current.

use clap::Args;

use crate::spec::key::KeySpec;
use crate::switch::share::Share;

/// Whether a release is tried out first.
#[derive(Args)]
pub(super) struct Trial {
    /// Try it out on a share of the clients first, such as `5%`; the current release decides for the rest
    ///
    /// Called again with more, those who are in stay in. `switchback activate` without a share makes it current;
    /// `switchback back` ends it. With `0%` it gets only requests that ask for it.
    #[arg(long, value_name = "SHARE")]
    pub(super) share: Option<Share>,
    /// What tells clients apart: `cookie:NAME`, `header:NAME` or `client` [default: as before, or `client`]
    #[arg(long, value_name = "KEY", requires = "share", value_parser = key)]
    pub(super) key: Option<KeySpec>,
}

impl Trial {
    /// As the API has them.
    pub(super) fn into_request(self) -> (Option<Share>, Option<String>) {
        (self.share, self.key.map(|key| key.to_string()))
    }
}

fn key(text: &str) -> Result<KeySpec, crate::spec::key::NotAKey> {
    crate::switch::canary::key_of_trial(text)
}
