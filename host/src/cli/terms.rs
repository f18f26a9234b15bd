//! On what terms a command switches: options that many have.

use clap::Args;

use crate::control::views;

/// What every switch can be told.
#[derive(Args, Clone)]
pub(super) struct Why {
    /// Why, for the history
    #[arg(long)]
    why: Option<String>,
    /// Do it even if no member of a pool is fit
    #[arg(long)]
    force: bool,
    /// Do it even over a point of no return: needs the admin token, and `--why`
    #[arg(long, requires = "why")]
    pub(super) over_fence: bool,
}

/// What a switch to something new can be told.
#[derive(Args, Clone)]
pub(super) struct Terms {
    #[command(flatten)]
    pub(super) why: Why,
    /// Go back by itself, unless `switchback confirm` comes within this time, such as `5m`
    #[arg(long, value_name = "TIME")]
    confirm_within: Option<String>,
    /// Make it a point of no return, for this reason: `back` stops there
    #[arg(long, value_name = "REASON")]
    fence: Option<String>,
}

impl From<Why> for views::Terms {
    fn from(Why { why, force, over_fence }: Why) -> Self {
        Self { why, force, over_fence, confirm_within: None, fence: None }
    }
}

impl From<Terms> for views::Terms {
    fn from(Terms { why, confirm_within, fence }: Terms) -> Self {
        Self { confirm_within, fence, ..why.into() }
    }
}
