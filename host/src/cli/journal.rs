//! `switchback journal`

use anyhow::bail;
use clap::{Args, Subcommand};

use super::Place;
use super::client::{encoded, read};
use super::text::print_json;
use crate::store::journal::chain::Verified;

/// Lines that are asked for at a time.
const EXPORT_AT_ONCE: usize = 1_000;

/// Check, export and pin what the journal holds
///
/// Every entry and receipt is a link of a chain of hashes. `switchback status` and `verify` show the head, which is the
/// last hash: noted elsewhere, it proves all that is before it.
///
/// Example: switchback journal verify --head 4f1c...
#[derive(Args)]
pub(super) struct Journal {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Hash the whole chain again, and name the first link that does not hold; exits with 1 then
    ///
    /// The chain has no key. Without `--head` it shows accidents and careless hands: whoever can write the file can
    /// write a whole new chain, but none that leads to a head that was noted elsewhere before.
    Verify {
        /// A head that was noted: it must be there
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
    },
    /// Print entries with their receipts and hashes, a line of JSON each
    Export {
        /// Only entries after this one
        #[arg(long, value_name = "ID", default_value_t = 0)]
        since: u64,
    },
    /// Keep an entry, its receipt and its releases, whatever the journal's bounds
    Pin {
        /// The entry's id
        id: u64,
    },
    /// Keep an entry no longer than others
    Unpin {
        /// The entry's id
        id: u64,
    },
}

impl Journal {
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        match self.command {
            Command::Verify { head } => verify(place, head.as_deref()),
            Command::Export { since } => export(place, since),
            Command::Pin { id } => {
                let body = place.client().put(&format!("/v1/journal/{id}/pin"), "")?;
                tell(place, &body, &format!("entry {id} is pinned"));
                Ok(())
            }
            Command::Unpin { id } => {
                let body = place.client().delete(&format!("/v1/journal/{id}/pin"), "")?;
                tell(place, &body, &format!("entry {id} is not pinned"));
                Ok(())
            }
        }
    }
}

fn tell(place: &Place, body: &hyper::body::Bytes, text: &str) {
    if place.json {
        print_json(body);
    } else {
        say!("{text}");
    }
}

fn verify(place: &Place, head: Option<&str>) -> anyhow::Result<()> {
    let query = head.map(|head| format!("?head={}", encoded(head))).unwrap_or_default();
    let body = place.client().get(&format!("/v1/journal/verify{query}"))?;
    let verified: Verified = read(&body)?;
    if place.json {
        print_json(&body);
    } else {
        describe(&verified);
    }
    match verified.broken {
        Some(broken) => bail!("the journal is not whole: {}", broken.message),
        None => Ok(()),
    }
}

fn describe(verified: &Verified) {
    let Verified { whole, links, head, checked, dropped_up_to, late, releases, noted, waiting, .. } = verified;
    if *whole {
        say!("whole: {checked} links hold, and the contents of {releases} releases");
    }
    if let Some(noted) = noted {
        say!("  the head that was noted is that of link {noted} of {links}: all up to it is as it was then");
    }
    if *dropped_up_to > 0 {
        say!("  links up to {dropped_up_to} were dropped by the journal's bounds, but for what is pinned");
    }
    if *late > 0 {
        say!(
            "  {late} links are of an earlier version, and were chained later: what was before that, they do not show"
        );
    }
    if *waiting > 0 {
        say!("  {waiting} records wait for the disk, and are in no link yet");
    }
    say!("head {head}");
}

/// Asks for some at a time: the whole may be larger than what one wants to hold.
fn export(place: &Place, mut since: u64) -> anyhow::Result<()> {
    #[derive(serde::Deserialize)]
    struct Line {
        entry: Id,
    }
    #[derive(serde::Deserialize)]
    struct Id {
        id: u64,
    }
    loop {
        let body = place.client().get(&format!("/v1/journal?since={since}&limit={EXPORT_AT_ONCE}"))?;
        let text = String::from_utf8_lossy(&body);
        let Some(last) = text.lines().last() else { return Ok(()) };
        say!("{}", text.trim_end());
        since = serde_json::from_str::<Line>(last)?.entry.id;
    }
}
