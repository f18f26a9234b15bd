//! `switchback run`

use std::pin::pin;

use anyhow::{Context, bail};
use clap::Args;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Place;
use crate::app::{App, StartError};
use crate::config::Config;
use crate::proxy::inherited::Inherited;
use crate::take_over::take::{self, TakeOverError};

/// How often to ask for a running host's place when somebody goes back meanwhile.
const ASK_TIMES: usize = 5;

/// Run the proxy
///
/// Serves until SIGTERM or SIGINT. Then `/ready` of the control API fails, and after the configured `grace` (default none)
/// the host takes no more connections and lets requests in flight end, for the configured `drain` time at most (default
/// 30s); it exits with 0. A second signal ends it at once, with 1. SIGHUP reads the configuration file and certificates
/// again.
///
/// Sockets that a service manager passes (LISTEN_FDS) are used where a listener has their address. How the host stands is
/// told to NOTIFY_SOCKET. Logs go to standard error; SWITCHBACK_LOG sets what is logged, such as `debug` or
/// `switchback=info,policy=debug`.
///
/// Example: switchback --config /etc/switchback/switchback.toml run
#[derive(Args)]
pub(super) struct Run {
    /// Take the place of the host that runs on the same state folder, if there is one
    ///
    /// It serves until this one does, hands over its sockets, and drains. If this one cannot start, it goes on. No request
    /// is lost either way.
    #[arg(long)]
    take_over: bool,
}

impl Run {
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        // First: it changes the environment, which only a process of one thread may do.
        let inherited = Inherited::from_environment()?;
        super::log_to_stderr("info");
        let mut config = Config::read(&place.config)?;
        if let Some(state) = &place.state {
            config.state.clone_from(state);
        }
        let runtime = runtime()?;
        let served = runtime.block_on(serve(config, inherited, self.take_over));
        // Not to be waited for: a request beyond the drain limit keeps its worker, and the runtime a thread that joins it.
        runtime.shutdown_background();
        served
    }
}

/// The runtime of everything but the request line. Two threads, so that one busy change does not hold up a `back`.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("control").enable_all().build()?)
}

async fn serve(config: Config, inherited: Inherited, take_over: bool) -> anyhow::Result<()> {
    let mut leave = Leave { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
    let hangup = signal(SignalKind::hangup())?;
    let drain = humantime::format_duration(config.drain);
    let grace = humantime::format_duration(config.grace);
    let app = tokio::select! {
        started = start(config, inherited, take_over) => started?,
        () = leave.asked() => {
            tracing::info!("asked to leave before anything was served");
            return Ok(());
        }
    };
    for (_, bound) in app.switch.listening() {
        tracing::info!(address = %bound, "listening");
    }
    tracing::info!(address = %app.control, "control API");
    tell(&[NotifyState::Ready]);
    let replaced = serve_until_told(&app, &mut leave, hangup).await;
    if !replaced {
        tell(&[NotifyState::Stopping]);
        tracing::info!(%grace, %drain, "leaving: no new connections after the grace; a second signal ends at once");
    }
    let mut left = pin!(app.leave());
    let mut may_be_told = replaced;
    loop {
        tokio::select! {
            all_left = &mut left => {
                if !all_left {
                    tracing::warn!("some requests did not end within the drain limit");
                }
                return Ok(());
            }
            () = leave.asked() => {
                // Whoever upgrades may end the old process by habit: it does what it is asked to already.
                if !std::mem::take(&mut may_be_told) {
                    bail!("ended at once by a second signal: what was in flight is cut off");
                }
                tracing::info!(%drain, "leaving already; a second signal ends at once");
            }
        }
    }
}

/// Starts, in the place of a running host if need be.
async fn start(config: Config, inherited: Inherited, take_over: bool) -> anyhow::Result<App> {
    for _ in 0..ASK_TIMES {
        let state = config.state.clone();
        let asked = if take_over { tokio::task::spawn_blocking(move || take::ask(&state)).await? } else { Ok(None) };
        let started = match asked {
            Ok(Some((taking, handed))) => {
                App::take_over(config.clone(), own_program()?, inherited.try_clone()?, taking, handed).await
            }
            Ok(None) => return Ok(App::start_with(config, own_program()?, inherited).await?),
            Err(error) => Err(error.into()),
        };
        match started {
            Err(StartError::TakeOver(error)) if error.is_passing() => tracing::info!("{error}: asking again"),
            started => return Ok(started?),
        }
    }
    Err(TakeOverError::Overtaken.into())
}

/// Serves until asked to leave, or until a new process has the place; answers whether it is the latter.
async fn serve_until_told(app: &App, leave: &mut Leave, mut hangup: Signal) -> bool {
    let mut replaced = pin!(app.replaced());
    loop {
        tokio::select! {
            asker = &mut replaced => {
                tracing::info!(%asker, "a new process has taken over; leaving");
                tell(&[NotifyState::MainPid(asker.pid)]);
                return true;
            }
            () = leave.asked() => return false,
            _ = hangup.recv() => {
                tracing::info!("reading the configuration file and certificates again");
                let reload = app.reload();
                // Beside the rest: a signal to leave is not to wait for a policy that is compiled.
                tokio::spawn(async move {
                    let mut reloading = vec![NotifyState::Reloading];
                    reloading.extend(NotifyState::monotonic_usec_now());
                    tell(&reloading);
                    reload.await;
                    tell(&[NotifyState::Ready]);
                });
            }
        }
    }
}

/// Tells whoever started us how we stand (sd_notify(3)), if they want to know.
fn tell(state: &[NotifyState<'_>]) {
    if std::env::var_os("NOTIFY_SOCKET").is_some()
        && let Err(error) = sd_notify::notify(state)
    {
        tracing::warn!(%error, "the service manager cannot be told how we stand");
    }
}

/// The signals that ask us to leave.
struct Leave {
    terminate: Signal,
    interrupt: Signal,
}

impl Leave {
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Our own binary, for the child that compiles. By way of the kernel's link: the file may have been replaced by an
/// upgrade, and the child must be what we are.
pub(super) fn own_program() -> anyhow::Result<std::path::PathBuf> {
    let link = std::path::Path::new("/proc/self/exe");
    if link.exists() { Ok(link.to_owned()) } else { std::env::current_exe().context("cannot find our own program") }
}
