//! Back and forward: a release that is ready is swapped in, and the journal told after.
//!
//! Nothing here can be held up: no disk, no guest, no other change under way. Only when the release is not ready, far
//! back on the trail or just after a start, is it made ready first.

use super::activate::closed;
use super::receipt::{Origin, Receipt};
use super::trail::Trail;
use super::{Refusal, Swapped, Switch};
use crate::store::journal::{Kind, Record};

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
        let (swapped, written) = loop {
            let missing = {
                let mut state = self.state();
                state.hold.may_step()?;
                let current = state.standing.trail.current();
                if expected.is_some_and(|expected| expected != current) {
                    return Err(Refusal::Overtaken(current));
                }
                let (target, trail) = next(&state.standing.trail, kind)?;
                match state.ready.get(&target).cloned() {
                    Some(release) => {
                        self.check_known(&release, origin)?;
                        state.standing = state.standing.on(trail);
                        state.standing.switched_by(origin);
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

    async fn follow(
        &self,
        kind: Kind,
        origin: &Origin,
        swapped: Swapped,
        written: tokio::sync::oneshot::Receiver<Result<u64, crate::store::journal::JournalError>>,
    ) -> Receipt {
        let timing = self.settle(&swapped).await;
        self.reconcile_listeners();
        self.keep_watch(None);
        self.switched.notify_one();
        let written = tokio::time::timeout(DISK_PATIENCE, written).await;
        let written = written.map_err(closed).and_then(|written| written.map_err(closed)).and_then(|entry| Ok(entry?));
        if let Err(refusal) = &written {
            tracing::error!(%refusal, "the switch is done but not on the disk yet");
        }
        let receipt = swapped.receipt(kind, origin, timing, written.ok());
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
