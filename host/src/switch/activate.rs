//! Forward: a change becomes a release, is staged, warmed, journalled, and only then swapped in.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::canary::{Trial, leads_to};
use super::change::Change;
use super::moment::{JOURNALLED, moment};
use super::receipt::{Origin, Receipt};
use super::share::Share;
use super::standing::{Brings, Standing, builds, may_pass};
use super::step::Step;
use super::{Refusal, State, Switch};
use crate::causes::with_causes;
use crate::config::reload::last_seen;
use crate::digest::Digest;
use crate::policy::compile::Compiled;
use crate::release::Release;
use crate::spec::Spec;
use crate::store::journal::{Door, Record, Seen};

impl Switch {
    /// Makes a change current. Answers when every worker has switched. `seen` is what a door read; it is remembered only
    /// with a change that went well, so that what was refused can be tried again as it is.
    ///
    /// # Errors
    /// Why nothing changed. The refusal is journalled.
    pub async fn activate(&self, change: Change, origin: &Origin, seen: Vec<Seen>) -> Result<Receipt, Refusal> {
        self.change(change, None, origin, seen).await
    }

    /// Has a change decide for a share of the keys, see [`canary`](super::canary); for all of them, it is made current.
    ///
    /// # Errors
    /// As [`Switch::activate`].
    pub async fn try_out(&self, change: Change, trial: &Trial, origin: &Origin) -> Result<Receipt, Refusal> {
        self.change(change, Some(trial), origin, Vec::new()).await
    }

    async fn change(
        &self,
        change: Change,
        trial: Option<&Trial>,
        origin: &Origin,
        seen: Vec<Seen>,
    ) -> Result<Receipt, Refusal> {
        let _turn = self.turn.lock().await;
        self.may_change()?;
        let receipt = self.try_change(change, trial, origin, seen).await;
        if let Err(refusal) = &receipt {
            if self.is_news(refusal, origin) {
                self.refuse(origin, &with_causes(refusal));
            }
            // It may have opened some before it was refused, and had members probed that nobody needs.
            self.close_unused_listeners();
            self.keep_watch(None);
        }
        self.switched.notify_one();
        receipt
    }

    /// Makes known that this build can be used in a change.
    pub fn admitted(&self, compiled: Compiled) {
        self.state().compiled.insert(compiled.digest, compiled);
    }

    async fn try_change(
        &self,
        change: Change,
        trial: Option<&Trial>,
        origin: &Origin,
        seen: Vec<Seen>,
    ) -> Result<Receipt, Refusal> {
        let mut taken = self.take_number();
        let number = taken.number;
        let (generation, standing) = {
            let state = self.state();
            (state.generation, state.standing.clone())
        };
        let current = self.current.get();
        origin.check_current(current.number)?;
        if let Change::Kept(release, _) = &change {
            may_pass(standing.fence_before_release(*release), origin)?;
        }
        if origin.confirm_within.is_some() && current.number == 0 {
            return Err(Step::back().on(&standing.trail).expect_err("there is nothing before the first"));
        }
        let spec = Arc::new(change.apply((*current.spec).clone())?);
        check_quarantine(&standing, &current.spec, &spec, origin)?;
        if *spec == *current.spec {
            return self.unchanged(origin, &current, seen).await;
        }
        if let (Some(canary), Some(trial)) = (self.may_change_to(&spec, trial)?, trial) {
            return self.step_to(canary, trial, origin).await;
        }
        let trial = trial.filter(|trial| trial.share < Share::ALL);
        let text = seen.iter().find(|seen| seen.door == Door::File).and_then(|seen| last_seen(&seen.content));
        let brings = Brings::new(number, spec.clone(), text.map(|(text, _)| text), origin);
        let (standing, kind, told) = leads_to(&standing, trial, &brings, origin);
        let origin = &told;

        let policies = self.stage(&spec, Some(&current.spec)).await?;
        let release = self.make(number, spec.clone(), policies, current.policies.clone()).await?;
        self.open_listeners(&release)?;
        self.make_room_and_warm(&release).await?;
        let prepared = self.prepare(&release, origin).await;

        // First: a step that came between has its members watched, not those of this change.
        if self.state().generation != generation {
            origin.check_current(self.trail().current())?;
            return Err(Refusal::Overtaken(self.trail().current()));
        }
        prepared?;
        // On the disk before it serves: what was acknowledged is there after a crash.
        let entry = origin.entry(kind, Some(current.number), Some(number), origin.why.clone());
        let release_of_record = Some((number, (*spec).clone()));
        let standing_of_record = Some(standing.clone());
        let record = Record {
            entry: Some(entry),
            release: release_of_record,
            standing: standing_of_record,
            seen,
            ..Record::default()
        };
        let entry = self.journal.write(record).await.map_err(closed)??;
        taken.is_used();
        moment(JOURNALLED).await;

        let swapped = {
            let mut state = self.state();
            if state.generation != generation {
                // Somebody went back in the meantime, and that is newer than what this change was made from.
                let undone = origin.call.clone();
                let standing = Some(state.standing.clone());
                drop(self.journal.write_after(Record { standing, undone, ..Record::default() }));
                origin.check_current(state.standing.trail.current())?;
                return Err(Refusal::Overtaken(state.standing.trail.current()));
            }
            (state.standing, ..) = leads_to(&state.standing, trial, &brings, origin);
            if state.standing != standing {
                // Something else of it was changed in the meantime, and the journal says otherwise by now.
                self.rewrite(&state);
            }
            state.ready.insert(number, release.clone());
            if trial.is_some() {
                self.swap_beside(&mut state, release)
            } else {
                let swapped = self.swap(&mut state, release);
                self.docket.put(&swapped, origin);
                if swapped.has_left {
                    self.rewrite(&state);
                }
                swapped
            }
        };
        self.listen();
        self.unconfirmed.notify_one();
        // The workers are asked first: with thousands of pools, the other takes longer than they do.
        let (timing, ()) = tokio::join!(self.settle(&swapped), async { self.keep_watch(None) });
        // Once more: a step that ended meanwhile may have closed what this release listens on.
        let not_listening = self.reconcile_listeners();
        let mut receipt = swapped.receipt(kind, origin, timing, entry);
        receipt.troubles.extend(not_listening);
        self.attach(&receipt);
        let (digest, from) = (swapped.new.digest.short(), current.number);
        match trial {
            None => tracing::info!(release = number, digest, from, "release activated"),
            Some(_) => tracing::info!(release = number, digest, beside = from, why = origin.why, "release tried out"),
        }
        Ok(receipt)
    }

    /// Answers a change that found everything as it wanted. What the door read is remembered all the same.
    async fn unchanged(&self, origin: &Origin, current: &Release, seen: Vec<Seen>) -> Result<Receipt, Refusal> {
        let receipt = Receipt::unchanged(origin, current);
        let unchanged = origin.call.clone().map(|call| (call, to_json(&receipt)));
        if !seen.is_empty() {
            self.journal.write(Record { seen, unchanged, ..Record::default() }).await.map_err(closed)??;
        } else if unchanged.is_some() {
            // Nothing changed, and no disk is needed to say so.
            drop(self.journal.write_after(Record { unchanged, ..Record::default() }));
        }
        Ok(receipt)
    }

    /// Has the journal say where the host stands. Told under the state's lock, it has the last word right.
    pub(super) fn rewrite(&self, state: &State) {
        let standing = Some(state.standing.clone());
        drop(self.journal.write_after(Record { standing, ..Record::default() }));
    }

    pub(super) fn attach(&self, receipt: &Receipt) {
        if let Some(entry) = receipt.id {
            self.journal.attach(entry, to_json(receipt));
        }
    }
}

fn to_json(receipt: &Receipt) -> String {
    serde_json::to_string(receipt).expect("a receipt is plain data")
}

/// What was gone back from comes back only through the API.
fn check_quarantine(standing: &Standing, current: &Spec, new: &Spec, origin: &Origin) -> Result<(), Refusal> {
    if origin.door == Door::Api {
        return Ok(());
    }
    let serves: BTreeSet<Digest> = builds(current).map(|(_, digest)| digest).collect();
    let mut brought = builds(new).map(|(_, digest)| digest).filter(|digest| !serves.contains(digest));
    brought.find_map(|digest| standing.refused(digest)).map_or(Ok(()), Err)
}

pub(super) fn closed<E>(_: E) -> Refusal {
    Refusal::Journal(crate::store::journal::JournalError::Closed)
}
