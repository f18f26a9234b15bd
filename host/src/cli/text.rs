//! How commands show things to people.

use hyper::body::Bytes;

use super::client::read;
use crate::spec::DeciderSpec;
use crate::store::journal::{Entry, Kind, word};
use crate::switch::receipt::Receipt;

/// Prints the API's answer as it came.
pub(super) fn print_json(body: &Bytes) {
    say!("{}", String::from_utf8_lossy(body));
}

/// Prints a receipt.
pub(super) fn print_receipt(body: &Bytes, json: bool) -> anyhow::Result<()> {
    if json {
        print_json(body);
        return Ok(());
    }
    show_receipt(&read(body)?);
    Ok(())
}

/// Shows a receipt, be it new or shown again.
pub(super) fn show_receipt(receipt: &Receipt) {
    say!("{}", describe(receipt));
    for trouble in &receipt.troubles {
        say!("  trouble: {trouble}");
    }
    if !receipt.durable {
        say!("  durable: no, it would not survive a crash; the journal catches up when the disk does");
    }
}

/// A receipt in one or two lines.
pub(super) fn describe(receipt: &Receipt) -> String {
    let Receipt { action, from, to, changed, timing, .. } = receipt;
    if !changed {
        return format!("r{} serves already; nothing to change", to.number);
    }
    let did = match action {
        Kind::Back => "back",
        Kind::Forward => "forward",
        Kind::Canary => {
            return format!(
                "canary: r{} beside r{} ({}), {}\n  every worker switched in {} us",
                to.number,
                from.number,
                to.digest.short(),
                receipt.why,
                timing.switched_in_micros,
            );
        }
        _ => "activated",
    };
    let id = receipt.id.map(|id| format!(", entry {id}")).unwrap_or_default();
    let workers = if timing.workers_switched < timing.workers {
        format!("{} of {} workers", timing.workers_switched, timing.workers)
    } else {
        "every worker".to_owned()
    };
    format!(
        "{did}: r{} -> r{} ({}){id}\n  {workers} switched in {} us, last decision by r{} after {} us, {} of its requests in flight",
        from.number,
        to.number,
        to.digest.short(),
        timing.switched_in_micros,
        from.number,
        timing.last_old_decision_micros,
        timing.in_flight_on_old,
    )
}

/// A line of the history.
pub(super) fn entry_line(entry: &Entry) -> String {
    let Entry { at, kind, door, who, why, from, to, .. } = entry;
    let releases = match (from, to) {
        (Some(from), Some(to)) => format!("r{from} -> r{to}"),
        (Some(from), None) => format!("r{from} stays"),
        (None, Some(to)) => format!("r{to}"),
        (None, None) => String::new(),
    };
    format!("{at}  {:<8}  {releases:<12}  {} ({})  {why}", word(kind), who, word(door))
}

/// What decides for a vip.
pub(super) fn decider(decider: &DeciderSpec) -> String {
    match decider {
        DeciderSpec::Pool(pool) => format!("pool {pool}"),
        DeciderSpec::Policy(policy) => format!("policy {policy}"),
    }
}
