//! Who may change what is current: this process, or the one that takes its place.
//!
//! While a new process gets ready, nothing new is made current here, as it would not know. Going back waits for nobody:
//! it is done at once, and the new process begins again with what serves then. Only in the moment in which the place
//! changes hands is it refused, and can be asked for again of whoever has the place then.

use super::{Refusal, Switch};
use crate::store::journal::Record;
use crate::switch::receipt::Origin;

/// How long a change that is under way may hold up a new process.
const TURN_PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// Whose changes count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Hold {
    /// Ours.
    #[default]
    Ours,
    /// Ours, but only steps back and forward: a new process gets ready with what serves.
    Steps,
    /// No longer ours: the new process serves at any moment.
    Given,
    /// Nobody's here: the host leaves.
    Ended,
}

/// What serves when a new process begins to get ready.
#[derive(Clone, Copy, Debug)]
pub struct Stand {
    /// The number of the release.
    pub release: u64,
    generation: u64,
}

impl Switch {
    /// Makes nothing new current until [`Switch::keep`]. Everything that was done until now is on the disk.
    ///
    /// # Errors
    /// When that cannot be had, and everything is as before.
    pub async fn hold_still(&self) -> Result<Stand, Refusal> {
        // A change that is under way is made to its end.
        let turn = tokio::time::timeout(TURN_PATIENCE, self.turn.lock()).await;
        let turn = turn.map_err(|_| Refusal::NotNow("a change is under way"))?;
        let stand = {
            let mut state = self.state();
            state.hold.may_change()?;
            state.hold = Hold::Steps;
            Stand { release: state.standing.trail.current(), generation: state.generation }
        };
        drop(turn);
        if self.journal.catch_up().await > 0 {
            self.keep();
            return Err(Refusal::NotNow("the journal cannot be written"));
        }
        Ok(stand)
    }

    /// Gives the right to change anything away, if what serves is what the new process got ready with.
    ///
    /// # Errors
    /// When it is not, and the right stays here.
    pub fn give(&self, stand: &Stand) -> Result<(), Refusal> {
        let mut state = self.state();
        if state.hold != Hold::Steps {
            return Err(Refusal::NotNow(LEAVING));
        }
        if state.generation != stand.generation {
            return Err(Refusal::Overtaken(state.standing.trail.current()));
        }
        state.hold = Hold::Given;
        Ok(())
    }

    /// Everything can be changed here again, unless the host leaves.
    pub fn keep(&self) {
        let mut state = self.state();
        if state.hold != Hold::Ended {
            state.hold = Hold::Ours;
        }
    }

    /// Whether a new process has the place.
    pub fn is_given(&self) -> bool {
        self.state().hold == Hold::Given
    }

    /// Nothing is changed here any more. Answers whether a new process has the place.
    pub fn let_go(&self) -> bool {
        std::mem::replace(&mut self.state().hold, Hold::Ended) == Hold::Given
    }

    /// Records that a new process did not take over.
    pub fn not_replaced(&self, who: &str, why: &str) {
        tracing::error!(who, "a new process did not take over: {why}; this one goes on");
        let origin = Origin { who: who.to_owned(), ..Origin::host("") };
        let why = format!("did not take over: {why}");
        let entry =
            origin.entry(crate::store::journal::Kind::Refuse, Some(self.current.pin().release.number), None, why);
        drop(self.journal.write_after(Record { entry: Some(entry), ..Record::default() }));
    }

    /// Whether anything but a step may be made current here.
    ///
    /// # Errors
    /// When it may not, for now.
    pub(super) fn may_change(&self) -> Result<(), Refusal> {
        self.state().hold.may_change()
    }
}

/// Why nothing is changed by a host that leaves.
const LEAVING: &str = "this process leaves";

impl Hold {
    fn may_change(self) -> Result<(), Refusal> {
        match self {
            Self::Ours => Ok(()),
            Self::Steps | Self::Given => Err(Refusal::NotNow("a new process is taking over")),
            Self::Ended => Err(Refusal::NotNow(LEAVING)),
        }
    }

    /// Whether a step may be made.
    pub(super) fn may_step(self) -> Result<(), Refusal> {
        if self == Self::Steps { Ok(()) } else { self.may_change() }
    }
}
