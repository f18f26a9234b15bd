//! Taking up where the journal says that the host stood.

use super::receipt::Origin;
use super::standing::Standing;
use super::{Refusal, Switch};
use crate::causes::with_causes;
use crate::store::journal::{Kind, Record};

impl Switch {
    /// Takes up where the journal says that the host stood. A release that cannot be made again, as something of it is
    /// lost or this version does not take it, is passed over for the one before: some release is better than none.
    ///
    /// # Errors
    /// When none of the trail can be made again, or the listeners are taken.
    pub async fn resume(&self, standing: Standing) -> Result<(), Refusal> {
        self.take_up(standing).await?;
        self.listen();
        Ok(())
    }

    /// As [`Switch::resume`], but nothing is passed over, as another process still serves that release, and nobody accepts
    /// connections until [`Switch::listen`].
    ///
    /// # Errors
    /// When the release cannot be made again, or a listener cannot be had.
    pub async fn get_ready(&self, standing: Standing) -> Result<(), Refusal> {
        let _turn = self.turn.lock().await;
        let number = standing.trail.current();
        self.state().standing = standing;
        self.make_ready(number).await?;
        let release = self.ready_release(number).ok_or(Refusal::NoSuchRelease(number))?;
        self.open_listeners(&release)?;
        if let Some(canary) = self.canary() {
            self.make_ready(canary.release).await?;
            let canary = self.ready_release(canary.release).ok_or(Refusal::NoSuchRelease(canary.release))?;
            self.open_listeners(&canary)?;
        }
        // Whatever becomes of it: it serves there.
        let origin = Origin { force: true, ..Origin::host("") };
        self.prepare(&release, &origin).await?;
        self.swap(&mut self.state(), release);
        Ok(())
    }

    async fn take_up(&self, standing: Standing) -> Result<(), Refusal> {
        let _turn = self.turn.lock().await;
        let wanted = standing.trail.current();
        self.state().standing = standing;
        let number = loop {
            let trail = self.trail();
            let number = trail.current();
            let Err(refusal) = self.make_ready(number).await else { break number };
            let why = format!("r{number} cannot be resumed: {}", with_causes(&refusal));
            self.refuse(&Origin::host(""), &why);
            let Some(before) = trail.back(1) else { return Err(refusal) };
            let mut state = self.state();
            state.standing = state.standing.on(before);
        };
        self.resume_canary().await;
        let release = self.ready_release(number).ok_or(Refusal::NoSuchRelease(number))?;
        self.open_listeners(&release)?;
        // Whatever becomes of it: what served before the start serves after it.
        let origin = Origin { force: true, ..Origin::host("") };
        self.prepare(&release, &origin).await?;
        let swapped = self.swap(&mut self.state(), release);
        if number != wanted {
            let origin = Origin::host(format!("r{wanted} cannot be resumed"));
            let entry = origin.entry(Kind::Back, Some(wanted), Some(number), origin.why.clone());
            let record = Record { entry: Some(entry), standing: Some(self.standing()), ..Record::default() };
            drop(self.journal.write_after(record));
        }
        tracing::info!(release = number, digest = %swapped.new.digest.short(), "release resumed");
        Ok(())
    }
}
