//! Back and forward: a release that is ready is swapped in, and the journal told after.
//!
//! Nothing here can be held up: no disk, no guest, no other change under way. Only when the release is not ready, far
//! back on the trail or just after a start, is it made ready first; and where one vip goes alone, what serves after it is
//! made of two releases that are.

use std::sync::Arc;
use std::time::Duration;

use super::activate::closed;
use super::moment::{SWAPPED, moment};
use super::receipt::{Origin, Receipt};
use super::standing::may_pass;
use super::step::{Far, Half, Step};
use super::trail::Trail;
use super::{Refusal, State, Swapped, Switch};
use crate::causes::with_causes;
use crate::release::Release;
use crate::store::journal::{Door, JournalError, Kind, Record, Written};

/// How long the answer waits for the disk. After that the receipt says `durable: false`, and the journal catches up.
const DISK_PATIENCE: Duration = Duration::from_millis(500);

/// How long one vip's step waits for a change that is under way. Then it goes ahead, and the change is overtaken.
const TURN_PATIENCE: Duration = Duration::from_secs(1);

impl Switch {
    /// Makes the release before the current one current again.
    ///
    /// # Errors
    /// When there is none, or it cannot be made ready.
    pub async fn back(&self, origin: &Origin) -> Result<Receipt, Refusal> {
        self.step(&Step::back(), origin).await
    }

    /// Makes an earlier or later release of the trail current again, or one vip of it.
    ///
    /// # Errors
    /// When there is none, a point of no return lies between, its pools are sick, or it cannot be made ready.
    pub async fn step(&self, step: &Step, origin: &Origin) -> Result<Receipt, Refusal> {
        let receipt = match &step.vip {
            None => self.whole_step(step, origin, None).await,
            Some(vip) => self.step_of(vip, step, origin).await,
        };
        match &receipt {
            // Whose place it is, may be another's by now: the journal as well.
            Err(Refusal::NotNow(_)) | Ok(_) => {}
            // The host itself tries again, and says so where it does not.
            Err(refusal) if origin.door == Door::Api => self.refuse(origin, &with_causes(refusal)),
            Err(_) => {}
        }
        receipt
    }

    /// Goes back only if `from` is still current: for those who judged by it.
    ///
    /// # Errors
    /// As [`Switch::back`]; [`Refusal::Overtaken`] when another release is current.
    pub async fn back_from(&self, from: u64, origin: &Origin) -> Result<Receipt, Refusal> {
        self.whole_step(&Step::back(), origin, Some(from)).await
    }

    async fn whole_step(&self, step: &Step, origin: &Origin, expected: Option<u64>) -> Result<Receipt, Refusal> {
        let (swapped, written) = loop {
            let missing = {
                let mut state = self.state();
                state.hold.may_step()?;
                let current = state.standing.trail.current();
                origin.check_current(current)?;
                if let Some(ended) = self.end_canary(&mut state, step, origin, expected)? {
                    break ended;
                }
                if expected.is_some_and(|expected| expected != current) {
                    return Err(Refusal::Overtaken(current));
                }
                let trail = step.on(&state.standing.trail)?;
                may_pass(state.standing.fence_before(trail.position()), origin)?;
                match state.ready.get(&trail.current()).cloned() {
                    Some(release) => {
                        self.check_known(&release, origin)?;
                        break self.take_step(&mut state, step, trail, release, origin);
                    }
                    None => trail.current(),
                }
            };
            let _turn = self.turn.lock().await;
            self.make_ready(missing).await?;
        };
        Ok(self.follow(step.kind, origin, swapped, written).await)
    }

    /// A step of one vip. What serves after it may never have served before: it is a release of its own.
    async fn step_of(&self, vip: &str, step: &Step, origin: &Origin) -> Result<Receipt, Refusal> {
        // A disk that hangs holds up a change, and with it the turn; not this.
        let turn = tokio::time::timeout(TURN_PATIENCE, self.turn.lock()).await;
        let (swapped, written) = loop {
            let (generation, trail) = {
                let state = self.state();
                state.hold.may_step()?;
                origin.check_current(state.standing.trail.current())?;
                if let Some(canary) = &state.standing.canary {
                    return Err(canary.refusal());
                }
                (state.generation, state.standing.trail.clone())
            };
            let current = self.made_ready(trail.current()).await?;
            let (content, source, source_position) = match self.half(step, vip, &current, &trail).await? {
                Half::Whole(release) => {
                    // It takes the turn itself, where that release is not ready.
                    drop(turn);
                    let whole = Step { far: Far::To(release), vip: None, ..step.clone() };
                    return self.whole_step(&whole, &of_vip(origin, vip, release), Some(current.number)).await;
                }
                Half::Made { content, source, source_position } => (Arc::new(*content), source, source_position),
            };
            let mut taken = self.take_number();
            let number = taken.number;
            let made = async {
                let policies = self.stage(&content, None).await?;
                let release = self.make(number, content, policies, current.policies.clone()).await?;
                self.make_room_and_warm(&release).await?;
                Ok::<_, Refusal>(release)
            };
            let release = made.await?;
            let mut state = self.state();
            if state.generation != generation {
                continue;
            }
            state.hold.may_step()?;
            may_pass(state.standing.fence_before(source_position), origin)?;
            self.check_known(&release, origin)?;
            taken.is_used();
            // Right after the one that the vip goes back to, or right before the one that it goes forward to.
            let position = if step.kind == Kind::Forward { source_position } else { source_position + 1 };
            let trail = trail.with(number, position);
            state.ready.insert(number, release.clone());
            break self.take_step(&mut state, step, trail, release, &of_vip(origin, vip, source));
        };
        Ok(self.follow(step.kind, origin, swapped, written).await)
    }

    /// Swaps. Under the state's lock, so that the journal's order is the order of the swaps.
    fn take_step(
        &self,
        state: &mut State,
        step: &Step,
        trail: Trail,
        release: Arc<Release>,
        origin: &Origin,
    ) -> (Swapped, Written) {
        let before = &state.standing.trail;
        let is_new = before.position_of(release.number).is_none();
        let passed = match before.steps().get(trail.position() + 1..=before.position()) {
            Some(passed) if !is_new => passed,
            _ => &[before.current()],
        };
        let from: Vec<_> = passed.iter().filter_map(|number| Some((*number, state.gists.get(number)?))).collect();
        let mut standing = state.standing.on(trail);
        if step.kind == Kind::Back {
            standing.quarantine(&from, &release.spec, !is_new, origin);
        }
        if origin.door == Door::Api {
            standing.let_out(release.number, &release.spec);
        }
        standing.switched_by(origin);
        state.standing = standing;
        let content = is_new.then(|| (release.number, (*release.spec).clone()));
        let swapped = self.swap_as(state, release, step.kind == Kind::Back);
        let entry = Some(swapped.entry(step.kind, origin));
        let record = Record { entry, release: content, standing: Some(state.standing.clone()), ..Record::default() };
        let written = self.journal.write_after(record);
        (swapped, written)
    }

    pub(super) async fn follow(&self, kind: Kind, origin: &Origin, swapped: Swapped, written: Written) -> Receipt {
        moment(SWAPPED).await;
        let timing = self.settle(&swapped).await;
        let not_listening = self.reconcile_listeners();
        self.keep_watch(None);
        self.switched.notify_one();
        self.unconfirmed.notify_one();
        let id = written.id;
        let written = match tokio::time::timeout(DISK_PATIENCE, written).await {
            Ok(written) => written.map_err(closed).and_then(|entry| Ok(entry?)),
            Err(_) => Err(JournalError::Slow(DISK_PATIENCE).into()),
        };
        let mut receipt = swapped.receipt(kind, origin, timing, *written.as_ref().unwrap_or(&id));
        receipt.troubles.extend(not_listening);
        if let Err(refusal) = &written {
            tracing::error!(refusal = with_causes(refusal), "the switch is done but not on the disk yet");
            receipt.durable = false;
            receipt.troubles.push(with_causes(refusal));
        }
        self.attach(&receipt);
        let (release, from) = (receipt.to.number, receipt.from.number);
        match kind {
            Kind::Back => tracing::info!(release, from, why = origin.why, "went back"),
            Kind::Forward => tracing::info!(release, from, why = origin.why, "went forward"),
            Kind::Canary => tracing::info!(release, current = from, why = origin.why, "canary has another share"),
            _ => tracing::info!(release, from, why = origin.why, "canary is current"),
        }
        receipt
    }
}

/// The origin of one vip's step, which says so in the history.
fn of_vip(origin: &Origin, vip: &str, release: u64) -> Origin {
    let what = format!("vip `{vip}` as in r{release}");
    let why = if origin.why.is_empty() { what } else { format!("{what}: {}", origin.why) };
    Origin { why, ..origin.clone() }
}
