//! A new process takes the place of a running one: upgrading the binary loses nothing.
//!
//! The two talk over a Unix socket in the state folder. What was opened once stays open: listening sockets, the control
//! API's, the lock on the folder and this socket itself go over as file descriptors. The running process serves all the
//! time, and may change its mind until the last step.
//!
//! ```text
//! new                                    running
//! Ask: protocol, version, pid     ->
//!                                        makes nothing new current (back and forward go on); flushes the journal
//!                                 <-     Here: what serves, which sockets; then the descriptors
//! opens the journal, resumes what
//! serves, compiles, warms
//! Ready                           ->
//!                                        somebody went back meanwhile: Again, and the new one begins anew
//!                                 <-     Go: from here on nothing is changed in this process
//! accepts connections
//! Serving                         ->
//!                                 <-     Left: from here on everything is the new one's
//! control API, doors                     drains, and ends
//! ```
//!
//! When the new process ends, says `GiveUp`, or takes too long before `Left`, the running one says `Withdrawn`, takes its
//! rights back, and journals what happened. Nothing was written by the new one until then. A new process that hears
//! `Withdrawn` ends; one that hears nothing more, as the running process has died, goes on if it serves already.

pub mod line;
pub mod give;
pub mod take;

use serde::{Deserialize, Serialize};

use crate::address::Address;

/// Rises when one side would misunderstand the other. A host refuses any but its own: then it is the stopping and
/// starting that is left.
pub const PROTOCOL: u32 = 1;

/// What the two say. Later versions may add to a message what earlier ones can do without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "says")]
pub enum Message {
    /// New: may I have your place?
    Ask {
        /// The version of this protocol.
        protocol: u32,
        /// The version of the program.
        version: String,
        /// The process.
        pid: u32,
    },
    /// Running: no.
    Refuse {
        /// Why.
        why: String,
    },
    /// Running: here is what you need. As many descriptors follow.
    Here {
        /// The version of the program.
        version: String,
        /// The release that serves.
        release: u64,
        /// What the descriptors are, in their order.
        descriptors: Vec<Descriptor>,
    },
    /// New: I can serve.
    Ready,
    /// New: I cannot.
    GiveUp {
        /// Why.
        why: String,
    },
    /// Running: serve.
    Go,
    /// Running: another release serves now; ask again.
    Again,
    /// New: I serve.
    Serving,
    /// Running: the place is yours.
    Left,
    /// Running: I keep my place.
    Withdrawn {
        /// Why.
        why: String,
    },
}

/// What a file descriptor is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Descriptor {
    /// A listening socket.
    Listener {
        /// The listener whose it is; none for one that is kept for a later release.
        id: Option<String>,
        /// Where it is bound.
        address: Address,
        /// Whether a service manager keeps it open.
        lasts: bool,
    },
    /// The control API's at an IP address.
    Control,
    /// The control API's in the state folder.
    ControlSocket,
    /// Where the next process will ask.
    TakeOver,
    /// The lock on the state folder.
    Lock,
}
