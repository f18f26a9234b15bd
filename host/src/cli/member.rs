//! `switchback member`

use clap::{Args, Subcommand};

use super::Place;
use super::client::encoded;
use super::terms::Why;
use super::text::print_receipt;
use crate::control::views::{self, MemberRequest};

/// Add, change, drain or remove a member of a pool
///
/// Each is a release of its own: it is journalled, and `switchback back` takes it back. What is known of the pool's other
/// members stays as it is.
///
/// Example: switchback member drain blue 10.0.0.1:8080
#[derive(Args)]
pub(super) struct Member {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Add a member; it is probed before it gets requests, if the pool has a check
    Add {
        #[command(flatten)]
        which: Which,
        /// Its part of the pool's requests, 1 to 1000
        #[arg(long)]
        weight: Option<u32>,
        /// Where it stands
        #[arg(long)]
        zone: Option<String>,
    },
    /// Remove a member; requests in flight to it end as they would
    Remove {
        #[command(flatten)]
        which: Which,
    },
    /// Send a member no new requests but those of clients that are bound to it
    Drain {
        #[command(flatten)]
        which: Which,
    },
    /// Send a drained member new requests again
    Undrain {
        #[command(flatten)]
        which: Which,
    },
    /// Change a member's part of the pool's requests
    Weight {
        #[command(flatten)]
        which: Which,
        /// 1 to 1000
        weight: u32,
    },
}

#[derive(Args)]
struct Which {
    /// The pool
    pool: String,
    /// The member, as the pool names it: `10.0.0.1:8080`, `app.internal:8080`, `srv:...` or `unix:/path`
    member: String,
    #[command(flatten)]
    why: Why,
}

impl Member {
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        let usual = MemberRequest::default();
        let (which, request) = match self.command {
            Command::Add { which, weight, zone } => (which, MemberRequest { weight, zone, ..usual }),
            Command::Drain { which } => (which, MemberRequest { drain: Some(true), ..usual }),
            Command::Undrain { which } => (which, MemberRequest { drain: Some(false), ..usual }),
            Command::Weight { which, weight } => (which, MemberRequest { weight: Some(weight), ..usual }),
            Command::Remove { which } => {
                let body = serde_json::to_vec(&views::Terms::from(which.why.clone()))?;
                return print_receipt(&place.client().delete(&which.path(), body)?, place.json);
            }
        };
        let request = MemberRequest { terms: which.why.clone().into(), ..request };
        print_receipt(&place.client().put(&which.path(), serde_json::to_vec(&request)?)?, place.json)
    }
}

impl Which {
    fn path(&self) -> String {
        format!("/v1/pools/{}/members/{}", encoded(&self.pool), encoded(&self.member))
    }
}
