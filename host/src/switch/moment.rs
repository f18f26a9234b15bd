//! Moments of a switch at which tests hold it up, so that a kill falls there. Nothing of it is in a release build.

/// Between the disk and the swap: a change is recorded, and does not serve yet.
pub(super) const JOURNALLED: &str = "journalled";

/// After the swap: a release serves, and nobody was answered yet.
pub(super) const SWAPPED: &str = "swapped";

/// Waits if `SWITCHBACK_HOLD_UP` names this moment, as in `journalled=50ms`, and says when it begins and ends.
#[cfg(debug_assertions)]
pub(super) async fn moment(name: &str) {
    let wanted = std::env::var("SWITCHBACK_HOLD_UP").unwrap_or_default();
    let Some(time) = wanted.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) else { return };
    let Ok(time) = humantime::parse_duration(time) else { return };
    tracing::info!("held up: {name}");
    tokio::time::sleep(time).await;
    tracing::info!("goes on: {name}");
}

/// Does nothing.
#[cfg(not(debug_assertions))]
pub(super) async fn moment(_: &str) {}
