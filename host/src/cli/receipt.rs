//! `switchback receipt`

use clap::Args;

use super::Place;
use super::client::read;
use super::text::{entry_line, print_json, show_receipt};
use crate::store::journal::{Kept, Kind};
use crate::switch::receipt::Receipt as Given;

/// Show the receipt of a switch again, or what is known of a change that was refused
///
/// By the id that receipts, refusals and `history` give. Works while the disk does not, for what happened last.
///
/// Example: switchback receipt 17
#[derive(Args)]
pub(super) struct Receipt {
    /// The entry's id
    id: u64,
}

impl Receipt {
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        let body = place.client().get(&format!("/v1/receipts/{}", self.id))?;
        if place.json {
            print_json(&body);
            return Ok(());
        }
        let Kept { entry, receipt, durable } = read(&body)?;
        say!("{}", entry_line(&entry));
        match receipt.and_then(|receipt| serde_json::from_value::<Given>(receipt).ok()) {
            Some(receipt) => show_receipt(&Given { durable, ..receipt }),
            None if entry.kind == Kind::Refuse => say!("refused: nothing changed"),
            None if entry.to.is_some() => say!("no receipt: the host ended before it could say how the switch went"),
            None => {}
        }
        Ok(())
    }
}
