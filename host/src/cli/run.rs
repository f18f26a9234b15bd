//! `switchback run`

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::Place;
use crate::app::App;
use crate::config::Config;

/// Run the proxy
///
/// Serves until SIGTERM or SIGINT, then takes no more connections and lets requests in flight end, for the configured
/// `drain` time at most (default 30s). A second signal ends it at once. Logs go to standard error; SWITCHBACK_LOG sets
/// what is logged, such as `debug` or `switchback=info,policy=debug`.
///
/// Example: switchback --config /etc/switchback/switchback.toml run
#[derive(Args)]
pub(super) struct Run {}

impl Run {
    #[allow(clippy::unused_self, reason = "all commands are called alike")]
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        super::log_to_stderr("info");
        let mut config = Config::read(&place.config)?;
        if let Some(state) = &place.state {
            config.state.clone_from(state);
        }
        let runtime = runtime()?;
        let served = runtime.block_on(serve(config));
        // Not to be waited for: a request beyond the drain limit keeps its worker, and the runtime a thread that joins it.
        runtime.shutdown_background();
        served
    }
}

/// The runtime of everything but the request line. Two threads, so that one busy change does not hold up a `back`.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("control").enable_all().build()?)
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let drain = humantime::format_duration(config.drain);
    let app = App::start(config, own_program()?).await?;
    for (_, bound) in app.switch.listening() {
        tracing::info!(address = %bound, "listening");
    }
    tracing::info!(address = %app.control, "control API");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!(%drain, "leaving: no new connections; a second signal ends at once");
    tokio::select! {
        all_left = app.leave() => if !all_left {
            tracing::warn!("some requests did not end within the drain limit");
        },
        _ = terminate.recv() => tracing::warn!("ended at once"),
        _ = interrupt.recv() => tracing::warn!("ended at once"),
    }
    Ok(())
}

/// Our own binary, for the child that compiles. By way of the kernel's link: the file may have been replaced by an
/// upgrade, and the child must be what we are.
pub(super) fn own_program() -> anyhow::Result<std::path::PathBuf> {
    let link = std::path::Path::new("/proc/self/exe");
    if link.exists() { Ok(link.to_owned()) } else { std::env::current_exe().context("cannot find our own program") }
}
