//! What is said of releases without switching: points of no return, confirmations, the end of a quarantine.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::receipt::Origin;
use super::standing::{Mark, Standing};
use super::step::{Far, Step};
use super::{Refusal, Switch};
use crate::causes::with_causes;
use crate::digest::Digest;
use crate::store::journal::{Door, Entry, Kind, Record};

/// How long to wait before a release is gone back from again, where that was not possible for the moment.
const AGAIN: Duration = Duration::from_secs(1);

impl Switch {
    /// Makes a release of the trail a point of no return.
    ///
    /// # Errors
    /// When it is not on the trail.
    pub fn fence(&self, release: u64, origin: &Origin) -> Result<Entry, Refusal> {
        self.say(Kind::Fence, Some(release), origin, |standing| {
            standing.trail.position_of(release).ok_or(Refusal::NoSuchRelease(release))?;
            standing.fences.insert(release, Mark::by(origin));
            Ok(())
        })
    }

    /// Makes a point of no return a release like any other.
    ///
    /// # Errors
    /// When it is none.
    pub fn unfence(&self, release: u64, origin: &Origin) -> Result<Entry, Refusal> {
        self.say(Kind::Unfence, Some(release), origin, |standing| {
            standing.fences.remove(&release).map(drop).ok_or(Refusal::NoFence(release))
        })
    }

    /// Confirms all releases that wait for it.
    ///
    /// # Errors
    /// When none does.
    pub fn confirm(&self, origin: &Origin) -> Result<Entry, Refusal> {
        let current = self.trail().current();
        self.say(Kind::Confirm, Some(current), origin, |standing| {
            if standing.unconfirmed.is_empty() {
                return Err(Refusal::NothingToConfirm);
            }
            standing.unconfirmed.clear();
            Ok(())
        })
    }

    /// Lets the one digest that begins with this text out of quarantine.
    ///
    /// # Errors
    /// When none begins so, or several do.
    pub fn unquarantine(&self, start: &str, origin: &Origin) -> Result<Entry, Refusal> {
        let said = |it: &str| if origin.why.is_empty() { it.to_owned() } else { format!("{it}: {}", origin.why) };
        let found = {
            let state = self.state();
            let matching: Vec<_> =
                state.standing.quarantine.iter().filter(|(digest, _)| digest.to_string().starts_with(start)).collect();
            match matching[..] {
                [(digest, it)] => (*digest, said(&format!("`{}` {}", it.name, digest.short()))),
                [] => return Err(Refusal::NotQuarantined(crate::policy::text::printable(start).into_owned())),
                [..] => return Err(Refusal::Ambiguous(matching.iter().map(|(digest, _)| digest.short()).collect())),
            }
        };
        let (digest, why) = found;
        let said = self.say(Kind::Unquarantine, None, &Origin { why, ..origin.clone() }, |standing| {
            standing.quarantine.remove(&digest);
            Ok(())
        })?;
        self.let_out.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
        Ok(said)
    }

    /// Whether somebody let this digest out of quarantine, and it has not come since. It has now.
    pub fn was_let_out(&self, digest: Digest) -> bool {
        self.let_out.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest)
    }

    /// Why a door must not bring this digest, if so.
    pub fn refused(&self, digest: Digest) -> Option<Refusal> {
        self.state().standing.refused(digest)
    }

    /// Remembers what a door shows under a name.
    pub fn shows(&self, door: Door, name: &str, digest: Digest) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.insert((door, name.to_owned()), digest);
    }

    /// What the doors show, by door and name.
    pub fn shown(&self) -> Vec<(Door, String, Digest)> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.iter().map(|((door, name), digest)| (*door, name.clone(), *digest)).collect()
    }

    /// Changes where the host stands, and has the journal say so, as soon as it can.
    fn say(
        &self,
        kind: Kind,
        release: Option<u64>,
        origin: &Origin,
        change: impl FnOnce(&mut Standing) -> Result<(), Refusal>,
    ) -> Result<Entry, Refusal> {
        let mut state = self.state();
        state.hold.may_step()?;
        origin.check_current(state.standing.trail.current())?;
        change(&mut state.standing)?;
        let entry = origin.entry(kind, Some(state.standing.trail.current()), release, origin.why.clone());
        let standing = Some(state.standing.clone());
        let id = self.journal.write_after(Record { entry: Some(entry.clone()), standing, ..Record::default() }).id;
        tracing::info!(?kind, release, who = origin.who, why = origin.why, "noted");
        Ok(Entry { id, ..entry })
    }

    /// Goes back from releases that nobody confirms in time, for ever.
    pub async fn keep_confirmed(self: Arc<Self>) {
        loop {
            let waits = self.standing().unconfirmed;
            let Some(first) = waits.iter().min_by_key(|waits| waits.remaining()) else {
                self.unconfirmed.notified().await;
                continue;
            };
            let end = Instant::now() + first.remaining();
            tokio::select! {
                () = self.unconfirmed.notified() => continue,
                () = tokio::time::sleep_until(end) => {}
            }
            let is_waiting = |standing: &Standing| standing.unconfirmed.iter().any(|waits| waits == first);
            if is_waiting(&self.standing()) && !self.go_back_from_unconfirmed(first.release, first.within).await {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    /// Answers whether there is an end of it.
    async fn go_back_from_unconfirmed(&self, release: u64, within: Duration) -> bool {
        let why = format!("r{release} was not confirmed within {}", humantime::format_duration(within));
        let origin = Origin { force: true, ..Origin::host(why) };
        let Some(before) = self.trail().before(release) else {
            return self.give_up(release, &origin, "nothing lies before");
        };
        match self.step(&Step { far: Far::To(before), ..Step::back() }, &origin).await {
            Ok(_) => true,
            Err(refusal @ Refusal::Fence { .. }) => self.give_up(release, &origin, &with_causes(&refusal)),
            Err(refusal) => {
                tracing::warn!(release, refusal = with_causes(&refusal), "did not go back from what nobody confirmed");
                false
            }
        }
    }

    /// It stays, as there is no way back from it.
    fn give_up(&self, release: u64, origin: &Origin, reason: &str) -> bool {
        self.refuse(origin, &format!("{}, and stays: {reason}", origin.why));
        let mut state = self.state();
        state.standing.unconfirmed.retain(|waits| waits.release != release);
        let standing = Some(state.standing.clone());
        drop(self.journal.write_after(Record { standing, ..Record::default() }));
        true
    }
}
