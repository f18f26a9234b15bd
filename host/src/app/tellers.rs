//! Who tells of exchanges, beside the traffic: the access log's writer, and the exporter of traces.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::StartError;
use crate::config::Config;
use crate::telemetry::Telling;
use crate::telemetry::access_log::{self, Reopen};
use crate::telemetry::told::Teller;
use crate::telemetry::traces::{self, Tracer};

/// How long to wait, at the end, for the last lines of the access log, and then for the last spans.
const LAST_TOLD: Duration = Duration::from_secs(2);

/// Those who tell of exchanges, until they have told of the last one.
pub(super) struct AllTold {
    written: oneshot::Receiver<()>,
    exported: oneshot::Receiver<()>,
}

impl AllTold {
    /// Waits for both, but not for long.
    pub(super) async fn wait(self) {
        let _ = tokio::time::timeout(LAST_TOLD, self.written).await;
        let _ = tokio::time::timeout(LAST_TOLD, self.exported).await;
    }
}

/// Starts the access log's writer and the exporter of traces, as far as they are wanted. What comes back third opens the
/// log anew, at each signal.
pub(super) async fn tellers(
    config: &Config,
    telling: Arc<Telling>,
) -> Result<(Teller, AllTold, impl Future<Output = ()> + use<>), StartError> {
    let mut teller = Teller { telling: telling.clone(), ..Teller::default() };
    // Without a log as well: the signal would end the host.
    let signals = signal(SignalKind::user_defined1()).map_err(StartError::AccessLog)?;
    let (mut written, exported, mut reopen) = (oneshot::channel().1, oneshot::channel(), None);
    if let Some(spec) = config.access_log.clone() {
        let log = access_log::start(spec, telling.clone()).await.map_err(StartError::AccessLog)?;
        (teller.log, written, reopen) = (Some(log.lines), log.written, Some(log.reopen));
    }
    let (done, exported) = exported;
    if let Some(spec) = config.tracing.clone() {
        let (spans, recorded) = mpsc::channel(traces::WAITING_MAX);
        teller.tracer = Some(Tracer::new(spans, spec.sample));
        tokio::spawn(async move {
            traces::export::run(spec.collector, recorded, telling).await;
            let _ = done.send(());
        });
    }
    Ok((teller, AllTold { written, exported }, reopen_at(signals, reopen)))
}

async fn reopen_at(mut signals: Signal, log: Option<Reopen>) {
    while signals.recv().await.is_some() {
        if let Some(log) = &log {
            log.reopen();
        }
    }
}
