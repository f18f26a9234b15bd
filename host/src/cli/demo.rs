//! `switchback demo`: a host and all that it needs to be seen at work, in one process.
//!
//! What is started here is what `run` starts; the deployments behind it, the clients in front of it and the folder under
//! it are the demo's own. It knows nothing that a user could not know.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::Poll;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::folder::Folder;
use self::members::Deployment;
use self::traffic::Traffic;
use crate::app::App;
use crate::config::Config;

mod folder;
mod members;
mod moment;
mod tour;
mod traffic;
mod view;

/// Where the proxy listens, if nobody else does.
const PROXY: SocketAddr = loopback(8080);

/// Where the control API listens, if nobody else does.
const CONTROL: SocketAddr = loopback(9876);

/// What may still be under way after the proxy has left, such as a call of the control API, gets this long.
const LAST_CALLS: Duration = Duration::from_secs(1);

/// See it work: two deployments, the proxy in front of them, light traffic, and a live view
///
/// One process, with everything it writes in a temporary folder, which is removed at the end (Ctrl-C). The view shows
/// what to try from another terminal. Listens on 127.0.0.1:8080 and 127.0.0.1:9876 (control API), or on free ports where
/// these are taken. Prints plain lines where standard output is no terminal. Logs only if SWITCHBACK_LOG is set.
///
/// Example: switchback demo --tour
#[derive(Args)]
pub(super) struct Demo {
    /// Play the story instead: a canary, a policy that traps, a file that is none, back, forward
    ///
    /// Takes less than 30 s. Exits with 1 if a step did not hold, and says what was expected and what was seen.
    #[arg(long)]
    tour: bool,
}

/// All that the demo starts.
struct Stage<'a> {
    folder: &'a Folder,
    app: App,
    proxy: SocketAddr,
    traffic: Traffic,
    /// Answer as long as they are kept.
    _deployments: [Deployment; 2],
}

impl Demo {
    pub(super) fn run(self) -> anyhow::Result<()> {
        if std::env::var_os("SWITCHBACK_LOG").is_some() {
            super::log_to_stderr("info");
        }
        let runtime = super::run::runtime()?;
        // Before there is a folder to leave behind.
        let leave = runtime.block_on(async { Leave::watch() })?;
        let folder = Folder::make()?;
        let done = runtime.block_on(play(self.tour, &folder, leave));
        // The folder goes last, when nobody is left who writes there.
        runtime.shutdown_timeout(LAST_CALLS);
        let path = folder.path().display().to_string();
        let removed = folder.remove();
        done.and(removed)?;
        if self.tour { Ok(()) } else { say(&format!("\nleft, and removed {path}")) }
    }
}

async fn play(tour: bool, folder: &Folder, mut leave: Leave) -> anyhow::Result<()> {
    let stage = Stage::set(folder).await?;
    let played = tokio::select! {
        played = stage.play(tour) => played,
        () = leave.asked() => if tour { Err(anyhow::anyhow!("the tour was interrupted")) } else { Ok(()) },
    };
    let left = stage.leave().await;
    played.and(left)
}

impl<'a> Stage<'a> {
    async fn set(folder: &'a Folder) -> anyhow::Result<Self> {
        let deployments = [Deployment::start("blue", 41).await?, Deployment::start("green", 42).await?];
        folder.write_config(or_free(PROXY), or_free(CONTROL), &deployments)?;
        let app = App::start(Config::read(&folder.config())?, super::run::own_program()?).await?;
        let proxy = app.address(folder::VIP).context("the vip has no listener")?;
        let traffic = Traffic::start(proxy);
        Ok(Self { folder, app, proxy, traffic, _deployments: deployments })
    }

    async fn play(&self, tour: bool) -> anyhow::Result<()> {
        for (what, wanted, got) in [("proxy", PROXY, self.proxy), ("control API", CONTROL, self.app.control)] {
            if wanted != got {
                say(&format!("{wanted} is taken; the {what} listens on {got} instead"))?;
            }
        }
        if tour { tour::play(self).await } else { view::show(self).await }
    }

    /// Clients first, so that none of them sees the proxy go.
    async fn leave(self) -> anyhow::Result<()> {
        drop(self.traffic);
        if self.app.leave().await { Ok(()) } else { say("some requests did not end within the drain limit") }
    }
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// The address itself, or one with a port of the kernel's choice where another program has it.
fn or_free(wanted: SocketAddr) -> SocketAddr {
    match std::net::TcpListener::bind(wanted) {
        Ok(_) => wanted,
        Err(_) => SocketAddr::new(wanted.ip(), 0),
    }
}

/// Prints a line. Unlike `println!`, no panic when nobody reads any more (`demo | head`): there is a folder to remove.
fn say(line: &str) -> anyhow::Result<()> {
    use std::io::Write;
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// The signals that ask us to leave. That of a terminal which is closed is one: the folder must not stay behind.
struct Leave([Signal; 3]);

impl Leave {
    fn watch() -> anyhow::Result<Self> {
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    async fn asked(&mut self) {
        poll_fn(|context| {
            let came = self.0.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if came { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
