//! Back and forward: a release that is ready is swapped in, and the journal told after.
//!
//! Nothing here can be held up: no disk, no guest, no other change under way. Only when the release is not ready, far
//! back on the trail or just after a start, is it made ready first.

use super::activate::closed;
use super::moment::{SWAPPED, moment};
use super::receipt::{Origin, Receipt};
use super::trail::Trail;
use super::{Refusal, Swapped, Switch};
use crate::causes::with_causes;
use crate::store::journal::{JournalError, Kind, Record, Written};

/// How long the answer waits for the disk. After that the receipt says `durable: false`, and the journal catches up.
const DISK_PATIENCE: std::time::Duration = std::time::Duration::from_millis(500);

impl Switch {
    /// Makes the release before the current one current again.
    ///
    /// # Errors
    /// When there is none, or it cannot be made ready.
    pub async fn back(&self, origin: &Origin) -> Result<Receipt, Refusal> {
        self.step(Kind::Back, origin, None).await
    }

    /// Makes the release after the current one current again.
    ///
    /// # Errors
    /// When there is none, or it cannot be made ready.
    pub async fn forward(&self, origin: &Origin) -> Result<Receipt, Refusal> {
        self.step(Kind::Forward, origin, None).await
    }

    /// Goes back only if `from` is still current: for those who judged by it.
    ///
    /// # Errors
    /// As [`Switch::back`]; [`Refusal::Overtaken`] when another release is current.
    pub async fn back_from(&self, from: u64, origin: &Origin) -> Result<Receipt, Refusal> {
        self.step(Kind::Back, origin, Some(from)).await
    }

    async fn step(&self, kind: Kind, origin: &Origin, expected: Option<u64>) -> Result<Receipt, Refusal> {
        let receipt = self.try_step(kind, origin, expected).await;
        match &receipt {
            // Whose place it is, may be another's by now: the journal as well.
            Err(Refusal::NotNow(_)) | Ok(_) => {}
            Err(refusal) => self.refuse(origin, &with_causes(refusal)),
        }
        receipt
    }

    async fn try_step(&self, kind: Kind, origin: &Origin, expected: Option<u64>) -> Result<Receipt, Refusal> {
        let (swapped, written) = loop {
            let missing = {
                let mut state = self.state();
                state.hold.may_step()?;
                let current = state.standing.trail.current();
                if expected.is_some_and(|expected| expected != current) {
                    return Err(Refusal::Overtaken(current));
                }
                origin.check_current(current)?;
                let (target, trail) = next(&state.standing.trail, kind)?;
                match state.ready.get(&target).cloned() {
                    Some(release) => {
                        self.check_known(&release, origin)?;
                        state.standing = state.standing.on(trail);
                        let swapped = self.swap(&mut state, release);
                        // Told under the lock: the journal's order is the order of the swaps.
                        let entry = Some(swapped.entry(kind, origin));
                        let record = Record { entry, standing: Some(state.standing.clone()), ..Record::default() };
                        break (swapped, self.journal.write_after(record));
                    }
                    None => target,
                }
            };
            let _turn = self.turn.lock().await;
            self.make_ready(missing).await?;
        };
        let receipt = self.follow(kind, origin, swapped, written).await;
        Ok(receipt)
    }

    async fn follow(&self, kind: Kind, origin: &Origin, swapped: Swapped, written: Written) -> Receipt {
        moment(SWAPPED).await;
        let timing = self.settle(&swapped).await;
        let not_listening = self.reconcile_listeners();
        self.keep_watch(None);
        self.switched.notify_one();
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
        tracing::info!(
            release = receipt.to.number,
            from = receipt.from.number,
            why = origin.why,
            "went {}",
            word(kind)
        );
        receipt
    }
}

fn next(trail: &Trail, kind: Kind) -> Result<(u64, Trail), Refusal> {
    let (target, after) = match kind {
        Kind::Forward => (trail.ahead(), trail.step_forward()),
        _ => (trail.behind(), trail.step_back()),
    };
    Ok((target.ok_or(Refusal::NowhereToGo(word(kind)))?, after))
}

fn word(kind: Kind) -> &'static str {
    if kind == Kind::Forward { "forward" } else { "back" }
}
