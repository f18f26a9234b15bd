//! Why nothing was switched.

use super::change::ChangeError;
use super::share::Share;
use super::standing::{CONFIG_FILE, Quarantined};
use crate::digest::Digest;
use crate::policy::admit::Rejection;
use crate::store::journal::JournalError;

/// Why nothing was switched. What serves goes on serving.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The policy is not fit.
    #[error("policy `{policy}` {rejection}")]
    Policy {
        /// Its name.
        policy: String,
        /// Why.
        #[source]
        rejection: Rejection,
    },
    /// The change does not make a release.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// Requests would find no room to ask their policies in.
    #[error(
        "{policies} policies would be asked, each in an instance for each of {workers} workers: {} instances, and there is \
         room for {room}",
        policies * workers
    )]
    NoRoom {
        /// Those of what serves and of what is to serve, together.
        policies: usize,
        /// Each has its own instances.
        workers: usize,
        /// Instances that there can be.
        room: u32,
    },
    /// A listener cannot be had.
    #[error("{0}")]
    Listen(String),
    /// There is no such release.
    #[error("release r{0} is not kept")]
    NoSuchRelease(u64),
    /// Nothing to go to.
    #[error("{}", nowhere(.word, *.wanted, *.there, .vip.as_deref()))]
    NowhereToGo {
        /// Back or forward.
        word: &'static str,
        /// Steps that were wanted.
        wanted: usize,
        /// Steps that there are.
        there: usize,
        /// The vip that was to go, if not all.
        vip: Option<String>,
    },
    /// The release is not where the step leads.
    #[error("r{release} does not lie {word}: there {}", if ways.is_empty() { "is nothing" } else { ways })]
    NotOnTheWay {
        /// Back or forward.
        word: &'static str,
        /// The release that was wanted.
        release: u64,
        /// Those that lie there, the nearest first.
        ways: String,
    },
    /// A vip is as it is wanted.
    #[error("vip `{vip}` is as it was in r{release}")]
    AlreadySo {
        /// The vip.
        vip: String,
        /// The release.
        release: u64,
    },
    /// A point of no return lies between.
    #[error(
        "r{release} is a point of no return ({why}); hint: `--over-fence` goes over it, with the admin token and a reason"
    )]
    Fence {
        /// The release that cannot be gone back from.
        release: u64,
        /// Why.
        why: String,
    },
    /// The release is no point of no return.
    #[error("r{0} is no point of no return")]
    NoFence(u64),
    /// Nothing waits.
    #[error("no release waits to be confirmed")]
    NothingToConfirm,
    /// No such digest is kept out.
    #[error("no digest in quarantine begins with `{0}`")]
    NotQuarantined(String),
    /// A text that several digests begin with.
    #[error("several digests in quarantine begin so: {}; hint: say more of it", .0.join(", "))]
    Ambiguous(Vec<String>),
    /// What was gone back from came again, and nobody asked for it.
    #[error(
        "{} is in quarantine: r{} was gone back from by {} ({}); hint: `switchback unquarantine {}`, or push it",
        what(.it), .it.release, .it.mark.who, .it.mark.why, .digest.short()
    )]
    Quarantined {
        /// What it is.
        digest: Digest,
        /// Why it is kept out.
        it: Box<Quarantined>,
    },
    /// Somebody went back while this change was being prepared.
    #[error("overtaken: r{0} became current while this change was being prepared; look, and try again")]
    Overtaken(u64),
    /// It is wanted of another release than the one that is current.
    #[error("r{current} is current, not {}", names(expected))]
    Precondition {
        /// The releases it is wanted of.
        expected: Vec<u64>,
        /// The one that is.
        current: u64,
    },
    /// One thing is tried at a time.
    #[error("r{0} is a canary at {1}: step it up, or go back first")]
    CanaryUnderWay(u64, Share),
    /// A share of what?
    #[error("there is no release yet that could decide for the rest")]
    NothingBefore,
    /// Requests would go to members that cannot serve them.
    #[error("no member of pool `{pool}` is fit ({reason}); hint: force it if it is wanted all the same")]
    Sick {
        /// The pool.
        pool: String,
        /// What is wrong with its members.
        reason: String,
    },
    /// Not while the place changes hands.
    #[error("{0}: try again in a moment")]
    NotNow(&'static str),
    /// What is not on the disk is not activated.
    #[error("cannot be recorded")]
    Journal(#[from] JournalError),
}

impl Refusal {
    /// Whether the same change may go well later, as it is.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Journal(_) | Self::NotNow(_) | Self::CanaryUnderWay(..) => true,
            Self::Policy { rejection, .. } => rejection.is_ours(),
            _ => false,
        }
    }
}

fn names(releases: &[u64]) -> String {
    releases.iter().map(|number| format!("r{number}")).collect::<Vec<_>>().join(" or ")
}

fn nowhere(word: &str, wanted: usize, there: usize, vip: Option<&str>) -> String {
    let whose = vip.map(|vip| format!(" for vip `{vip}`")).unwrap_or_default();
    match there {
        0 => format!("there is no release to go {word} to{whose}"),
        _ => format!("expected 1 to {there} steps {word}{whose}, got {wanted}"),
    }
}

fn what(it: &Quarantined) -> String {
    if it.name == CONFIG_FILE { "this text".into() } else { format!("this build of policy `{}`", it.name) }
}
