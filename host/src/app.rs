//! From a configuration to a running host and back: the only place where long-lived tasks and threads start.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::Config;
use crate::config::reload::{self, ConfigFile};
use crate::control::{self, ControlError};
use crate::digest::Digest;
use crate::policy::compile::Compiler;
use crate::policy::intake::folder::{self, PolicyFolder};
use crate::policy::wasm::Engine;
use crate::proxy::keeper::Keeper;
use crate::proxy::sticky::StickyKey;
use crate::proxy::worker::{Handle, Shared, Worker};
use crate::release::{Current, Ground, Release};
use crate::spec::Spec;
use crate::store::journal::{Door, Journal, JournalError, Seen};
use crate::store::{Store, StoreError};
use crate::switch::change::{Change, Desired};
use crate::switch::fail_back::{self, FALLS_WAITING_MAX};
use crate::switch::receipt::Origin;
use crate::switch::{Refusal, Switch};
use crate::telemetry::Telling;
use crate::telemetry::access_log::{self, Reopen};
use crate::telemetry::told::Teller;
use crate::telemetry::traces::{self, Tracer};

/// A running host.
pub struct App {
    /// Changes what is current, and knows it.
    pub switch: Arc<Switch>,
    /// The control API's address, as it is bound.
    pub control: SocketAddr,
    config: Config,
    drain: watch::Sender<bool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    doors_left: oneshot::Receiver<()>,
    told: AllTold,
}

/// Why a host does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal in it.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// This machine cannot run policies.
    #[error("cannot run WebAssembly on this machine: {0}")]
    Engine(String),
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Worker(#[source] std::io::Error),
    /// The access log.
    #[error("cannot open the access log")]
    AccessLog(#[source] std::io::Error),
    /// The policy folder.
    #[error("cannot watch {0}")]
    Watch(PathBuf, #[source] notify::Error),
    /// The control API.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// What the configuration asks for cannot be made.
    #[error("the configuration cannot be served")]
    First(#[source] Refusal),
}

impl App {
    /// Starts a host: resumes what the journal says was current, takes in what the doors have to say, listens.
    ///
    /// `program` is our own binary, started again to compile policies. Runs on the runtime that polls it; the workers
    /// have threads of their own.
    ///
    /// # Errors
    /// Why it does not start. Nothing is left running.
    pub async fn start(config: Config, program: PathBuf) -> Result<Self, StartError> {
        let store = Store::open(&config.state)?;
        let (journal, recovered) = Journal::open(&store.journal_path())?;
        let engine = Engine::new(config.workers).map_err(|error| StartError::Engine(format!("{error:#}")))?;
        engine.tick();
        let compiler = Compiler::new(engine, program, store.clone());
        let requests_max = u32::try_from(config.requests_max).unwrap_or(u32::MAX);
        let sticky_key = StickyKey::new(store.sticky_key()?.as_bytes());
        let (ground, news) = Ground::new(config.workers, requests_max, config.zone.as_deref(), sticky_key);
        let ground = Arc::new(ground);

        let (teller, told, reopen) = tellers(&config, ground.counts.telling.clone()).await?;
        // Workers start with a release of nothing, and without a listener: nobody can ask yet.
        let nothing = Release::new(0, Arc::new(Spec::default()), BTreeMap::new(), &BTreeMap::new(), &ground);
        let current = Arc::new(Current::new(Arc::new(nothing.expect("no vips do not overlap"))));
        let (falls, fallen) = mpsc::channel(FALLS_WAITING_MAX);
        let (drain, draining) = watch::channel(false);
        let (keeper, handle) = Keeper::new(ground.clone(), news, config.names.clone());
        keep_pools(keeper, draining.clone()).map_err(StartError::Worker)?;
        let shared = Shared { current: current.clone(), ground: ground.clone(), falls, teller };
        let workers: Vec<Handle> = (0..config.workers)
            .map(|id| Worker::start(id, shared.clone()))
            .collect::<Result<_, _>>()
            .map_err(StartError::Worker)?;
        drop(shared);
        let certificates = ground.certificates.clone();
        let switch =
            Arc::new(Switch::new(current, ground, store.clone(), journal, compiler, workers, handle, &recovered));

        let doors = Doors::new(&recovered.seen);
        if let Some(trail) = recovered.trail {
            switch.resume(trail).await.map_err(StartError::First)?;
        }
        std::fs::create_dir_all(&config.policy_folder)
            .map_err(|error| StoreError::Io(error, config.policy_folder.clone()))?;
        let mut folder = PolicyFolder::new(config.policy_folder.clone(), switch.clone(), doors.folder);
        let mut file = ConfigFile::new(config.clone(), switch.clone(), doors.file);
        if switch.current.pin().number == 0 {
            // The first start: the file and the folder together make the first release, as neither can be served alone.
            first(&switch, &mut folder, &mut file, &config).await.map_err(StartError::First)?;
        }

        let control = control::start(config.control_listen, switch.clone(), store.token()?, draining).await?;
        let folder = folder.watch().map_err(|error| StartError::Watch(config.policy_folder.clone(), error))?;
        let file = file.watch().map_err(|error| StartError::Watch(config.file.clone(), error))?;
        let doors_left = watch_doors(folder, file, drain.subscribe())?;
        switch.ground.descriptors.settle(switch.listening().len() * config.workers);
        let (tended, listening) = (switch.clone(), switch.clone());
        let tasks = vec![
            tokio::spawn(fail_back::watch(switch.clone(), fallen, config.fail_back)),
            tokio::spawn(async move { tended.keep_tended().await }),
            tokio::spawn(async move { listening.keep_listening().await }),
            tokio::spawn(keep_journal(switch.clone())),
            tokio::spawn(certificates.keep_fresh()),
            tokio::spawn(reopen),
        ];
        Ok(Self { switch, control, config, drain, tasks, doors_left, told })
    }

    /// The IP address and port a vip is reached at, at the first of its listeners.
    pub fn address(&self, vip: &str) -> Option<SocketAddr> {
        let id = {
            let release = self.switch.current.pin();
            let name = release.spec.vips.get(vip)?.listen.first()?;
            release.spec.listener(name)?.id(name)
        };
        self.switch.listening().into_iter().find(|(listening, _)| **listening == *id)?.1.tcp()
    }

    /// Leaves: takes no more connections and no more changes, lets requests in flight end, up to the drain limit.
    /// Answers whether all of them did.
    pub async fn leave(self) -> bool {
        let Self { switch, config, drain, tasks, doors_left, told, .. } = self;
        let _ = drain.send(true);
        // They hold the switch, and with it the state folder, which another host may be waiting for.
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
        let _ = tokio::time::timeout(LAST_WRITE, doors_left).await;
        let all_left = tokio::time::timeout(config.drain, switch.dismiss()).await.is_ok();
        let _ = tokio::time::timeout(LAST_WRITE, switch.journal.catch_up()).await;
        let _ = std::fs::remove_file(switch.store.socket_path());
        // Workers that have ended hand nothing over any more.
        let _ = tokio::time::timeout(LAST_TOLD, told.written).await;
        let _ = tokio::time::timeout(LAST_TOLD, told.exported).await;
        all_left
    }
}

/// How long to wait, at the end, for the journal's last writes.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// How long to wait, at the end, for the last lines of the access log, and then for the last spans.
const LAST_TOLD: Duration = Duration::from_secs(2);

/// Those who tell of exchanges, until they have told of the last one.
struct AllTold {
    written: oneshot::Receiver<()>,
    exported: oneshot::Receiver<()>,
}

/// Starts the access log's writer and the exporter of traces, as far as they are wanted. What comes back third opens the
/// log anew, at each signal.
async fn tellers(
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

/// Watches the doors on a thread of its own until the host leaves: a disk that hangs there must not hold up the control
/// API, and `back` with it.
fn watch_doors(
    folder: impl Future<Output = ()> + Send + 'static,
    file: impl Future<Output = ()> + Send + 'static,
    mut draining: watch::Receiver<bool>,
) -> Result<oneshot::Receiver<()>, StartError> {
    let (leaves, left) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Worker)?;
    let watching = move || {
        runtime.block_on(async {
            tokio::select! {
                ((), ()) = async { tokio::join!(folder, file) } => {}
                _ = draining.wait_for(|draining| *draining) => {}
            }
        });
        runtime.shutdown_background();
        let _ = leaves.send(());
    };
    std::thread::Builder::new().name("doors".into()).spawn(watching).map_err(StartError::Worker)?;
    Ok(left)
}

/// Keeps the pools true on a thread of its own until the host leaves: probing thousands of members must not hold up the
/// control API.
fn keep_pools(keeper: Keeper, mut draining: watch::Receiver<bool>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let keep = move || {
        runtime.block_on(async {
            tokio::select! {
                () = keeper.keep() => {}
                _ = draining.wait_for(|draining| *draining) => {}
            }
        });
        runtime.shutdown_background();
    };
    std::thread::Builder::new().name("keeper".into()).spawn(keep).map(drop)
}

/// What the doors had taken in before this start.
struct Doors {
    folder: BTreeMap<String, Digest>,
    file: Option<(Digest, Desired)>,
}

impl Doors {
    fn new(seen: &[Seen]) -> Self {
        let folder = seen.iter().filter(|seen| seen.door == Door::Folder);
        let folder = folder.filter_map(|seen| Some((seen.name.clone(), seen.content.parse().ok()?))).collect();
        let file = seen.iter().find(|seen| seen.door == Door::File).and_then(|seen| reload::last_seen(&seen.content));
        Self { folder, file }
    }
}

/// Writes what a full or absent disk did not take, once it does.
async fn keep_journal(switch: Arc<Switch>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    let mut waiting = 0;
    loop {
        every.tick().await;
        let now = switch.journal.catch_up().await;
        if waiting > 0 && now == 0 {
            tracing::info!(records = waiting, "the journal has caught up");
        }
        waiting = now;
    }
}

/// Makes the first release of all that is there. A policy that is not fit is left out, if the rest can do without it.
async fn first(
    switch: &Switch,
    folder: &mut PolicyFolder,
    file: &mut ConfigFile,
    config: &Config,
) -> Result<(), Refusal> {
    let origin = Origin {
        door: Door::File,
        who: "configuration file".into(),
        why: format!("first start with {}", config.file.display()),
        // Somebody has to begin: members may come after their proxy.
        force: true,
    };
    let mut builds = folder.admit_all().await;
    loop {
        let mut seen: Vec<Seen> = builds.iter().map(|(name, digest)| folder::seen(name, *digest)).collect();
        seen.extend(file.taken_in(config));
        let change = Change::First { file: config.desired.clone(), builds: builds.clone() };
        match switch.activate(change, &origin, seen).await {
            Ok(_) => break,
            Err(Refusal::Policy { policy, .. }) if builds.iter().any(|(name, _)| *name == policy) => {
                builds.retain(|(name, _)| *name != policy);
            }
            Err(refusal) => return Err(refusal),
        }
    }
    folder.taken_in(&builds);
    Ok(())
}
