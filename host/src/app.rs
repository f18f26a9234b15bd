//! From a configuration to a running host and back: the only place where long-lived tasks and threads start.

mod tellers;
mod threads;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, block_in_place};

use self::tellers::{AllTold, tellers};
use self::threads::{keep_pools, watch_doors};
use crate::causes::with_causes;
use crate::config::Config;
use crate::config::reload::{self, ConfigFile};
use crate::control::readiness::Readiness;
use crate::control::{self, Api, ControlError};
use crate::digest::Digest;
use crate::policy::compile::Compiler;
use crate::policy::intake::folder::{self, PolicyFolder};
use crate::policy::wasm::Engine;
use crate::proxy::inherited::Inherited;
use crate::proxy::keeper::Keeper;
use crate::proxy::leaving::LAST_REQUEST;
use crate::proxy::sticky::StickyKey;
use crate::proxy::tls::certificates::Certificates;
use crate::proxy::worker::{Handle, Shared, Worker};
use crate::release::{Ground, Release};
use crate::serving::Current;
use crate::spec::Spec;
use crate::store::journal::{Door, Journal, JournalError, Opening, Seen};
use crate::store::{Store, StoreError};
use crate::switch::change::{Change, Desired};
use crate::switch::fail_back::{self, FALLS_WAITING_MAX};
use crate::switch::judge;
use crate::switch::receipt::Origin;
use crate::switch::way_back;
use crate::switch::{Refusal, Switch};
use crate::take_over::give::{Asker, Place};
use crate::take_over::take::{Handed, TakeOverError, Taking};

/// A running host.
pub struct App {
    /// Changes what is current, and knows it.
    pub switch: Arc<Switch>,
    /// The control API's address, as it is bound.
    pub control: SocketAddr,
    config: Config,
    place: Place,
    readiness: watch::Sender<Readiness>,
    certificates: Arc<Certificates>,
    reload: mpsc::Sender<oneshot::Sender<()>>,
    drain: watch::Sender<bool>,
    calls: JoinSet<()>,
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
    /// Another process keeps its place.
    #[error(transparent)]
    TakeOver(#[from] TakeOverError),
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
        Self::start_with(config, program, Inherited::default()).await
    }

    /// As [`App::start`], with sockets that were open before.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn start_with(config: Config, program: PathBuf, inherited: Inherited) -> Result<Self, StartError> {
        let store = Store::open(&config.state)?;
        let begun = Self::begin(config, program, store.clone(), inherited, None).await;
        if begun.is_err() {
            remove_sockets(&store);
        }
        begun
    }

    /// Takes the place of a running process, which goes on if this does not end well. What a service manager passed comes
    /// first, then what that process handed over.
    ///
    /// # Errors
    /// As [`App::start`], and when the other process keeps its place.
    pub async fn take_over(
        config: Config,
        program: PathBuf,
        mut inherited: Inherited,
        mut taking: Taking,
        handed: Handed,
    ) -> Result<Self, StartError> {
        let Handed { listening, control, door, lock } = handed;
        inherited.handed(listening);
        let taken = Taken { taking: &mut taking, control, door };
        let begun = match Store::share(&config.state, lock) {
            Ok(store) => {
                let begun = Self::begin(config, program, store.clone(), inherited, Some(taken)).await;
                if begun.is_err() {
                    // Whatever of this attempt still winds down: the next one may be ours.
                    store.let_go();
                }
                begun
            }
            Err(error) => Err(error.into()),
        };
        if let Err(error) = &begun {
            taking.give_up(with_causes(error));
        }
        begun
    }

    async fn begin(
        config: Config,
        program: PathBuf,
        store: Store,
        inherited: Inherited,
        taken: Option<Taken<'_>>,
    ) -> Result<Self, StartError> {
        let opening = Opening { bounds: config.journal, shared: taken.is_some() };
        let (journal, recovered) = Journal::open_as(&store.journal_path(), opening)?;
        let engine = Engine::new(config.workers).map_err(|error| StartError::Engine(format!("{error:#}")))?;
        engine.tick();
        let compiler = Compiler::new(engine, program, store.clone());
        let requests_max = u32::try_from(config.requests_max).unwrap_or(u32::MAX);
        let sticky_key = StickyKey::new(store.sticky_key()?.as_bytes());
        let (mut ground, news) = Ground::new(config.workers, requests_max, config.zone.as_deref(), sticky_key);
        // A host that waited for idle clients until the limit would look as if it had left requests.
        ground.last_request = LAST_REQUEST.min(config.drain / 2);
        ground.release_header_from.clone_from(&config.release_header_from);
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
        switch.inherit(inherited);
        let undo = Undo(Some(switch.clone()));

        // Before anything serves, to say so. Where we take over, the other process answers meanwhile.
        let (readiness, is_ready) = watch::channel(Readiness::Starting);
        let api = Api {
            switch: switch.clone(),
            readiness: is_ready,
            token: store.token()?.into(),
            admin_token: store.admin_token()?.into(),
            calls: Arc::default(),
        };
        let (mut taking, control, door) = match taken {
            Some(Taken { taking, control, door }) => {
                (Some(taking), control::Sockets::taken(config.control_listen, control)?, door)
            }
            None => {
                let control = control::Sockets::bind(config.control_listen, &store.socket_path())?;
                let door = control::bind_take_over(&store.take_over_path())?;
                (None, control, door)
            }
        };
        let cannot_listen = |error| ControlError::Listen(config.control_listen, error);
        let address = control.address().map_err(cannot_listen)?;
        let mut calls = Some(control.listen().map_err(cannot_listen)?);
        let mut serve_control = || calls.take().map(|listening| control::serve(listening, api.clone(), &draining));
        let mut calls = if taking.is_none() { serve_control() } else { None };

        let doors = Doors::new(&recovered.seen);
        match (&taking, recovered.standing) {
            (Some(taking), Some(standing)) if standing.trail.current() == taking.release => {
                switch.get_ready(standing).await.map_err(StartError::First)?;
            }
            (Some(taking), _) => return Err(TakeOverError::OtherRelease(taking.release).into()),
            (None, Some(standing)) => switch.resume(standing).await.map_err(StartError::First)?,
            (None, None) => {}
        }
        std::fs::create_dir_all(&config.policy_folder)
            .map_err(|error| StoreError::Io(error, config.policy_folder.clone()))?;
        let mut folder = PolicyFolder::new(config.policy_folder.clone(), switch.clone(), doors.folder);
        let mut file = ConfigFile::new(config.clone(), switch.clone(), doors.file);
        if switch.current.pin().release.number == 0 {
            // The first start: the file and the folder together make the first release, as neither can be served alone.
            first(&switch, &mut folder, &mut file, &config).await.map_err(StartError::First)?;
        }
        let (reload, asked) = mpsc::channel(1);
        let folder = folder.watch().map_err(|error| StartError::Watch(config.policy_folder.clone(), error))?;
        let file = file.watch(asked).map_err(|error| StartError::Watch(config.file.clone(), error))?;

        let (begin, begins) = oneshot::channel();
        let doors_left = watch_doors(folder, file, begins, drain.subscribe())?;
        switch.ground.descriptors.settle(switch.listening().len() * config.workers);

        // All that can fail is done.
        if let Some(taking) = &mut taking {
            serve_instead(&switch, taking, config.drain).await?;
            if let Err(error) = switch.journal.take_over().await {
                tracing::error!(%error, "what the process before wrote last cannot be read");
            }
        }
        readiness.send_replace(Readiness::Ready);
        calls = calls.or_else(serve_control);
        let _ = begin.send(());
        undo.forget();
        for address in switch.settle_listeners() {
            tracing::warn!(%address, "a socket was passed that no listener wants");
        }
        let (tended, listening) = (switch.clone(), switch.clone());
        let tasks = vec![
            tokio::spawn(fail_back::watch(switch.clone(), fallen, config.fail_back)),
            tokio::spawn(judge::watch(switch.clone(), config.auto_back.clone())),
            tokio::spawn(way_back::watch(switch.clone())),
            tokio::spawn(async move { tended.keep_tended().await }),
            tokio::spawn(switch.clone().keep_confirmed()),
            tokio::spawn(async move { listening.keep_listening().await }),
            tokio::spawn(keep_journal(switch.clone())),
            tokio::spawn(certificates.clone().keep_fresh()),
            tokio::spawn(reopen),
        ];
        let (control, door) = (Arc::new(control), Arc::new(door));
        let place = Place { switch: switch.clone(), control, door, timeout: config.take_over_timeout };
        let (control, calls) = (address, calls.unwrap_or_default());
        Ok(Self {
            switch,
            control,
            config,
            place,
            readiness,
            certificates,
            reload,
            drain,
            calls,
            tasks,
            doors_left,
            told,
        })
    }

    /// The IP address and port a vip is reached at, at the first of its listeners.
    pub fn address(&self, vip: &str) -> Option<SocketAddr> {
        let id = {
            let serving = self.switch.current.pin();
            let release = &serving.release;
            let name = release.spec.vips.get(vip)?.listen.first()?;
            release.spec.listener(name)?.id(name)
        };
        self.switch.listening().into_iter().find(|(listening, _)| **listening == *id)?.1.tcp()
    }

    /// Resolves when a new process has taken our place. Then it is time to leave.
    pub async fn replaced(&self) -> Asker {
        match self.place.give_way().await {
            Ok(asker) => asker,
            Err(error) => {
                tracing::warn!(%error, "no new process will be able to take over");
                std::future::pending().await
            }
        }
    }

    /// Reads the configuration file and all certificates again; resolves when what they say serves or was refused.
    pub fn reload(&self) -> impl Future<Output = ()> + use<> {
        let (certificates, reload) = (self.certificates.clone(), self.reload.clone());
        async move {
            let _ = tokio::task::spawn_blocking(move || certificates.refresh()).await;
            let (done, is_done) = oneshot::channel();
            if reload.send(done).await.is_ok() {
                let _ = is_done.await;
            }
        }
    }

    /// Leaves: says so, and after the grace takes no more connections and no more changes, lets requests in flight end, up
    /// to the drain limit. Answers whether all of them did.
    ///
    /// Where a new process has taken the place, there is no grace: it serves.
    pub async fn leave(self) -> bool {
        let Self { switch, config, place, readiness, drain, mut calls, tasks, doors_left, told, .. } = self;
        if !switch.is_given() {
            readiness.send_replace(Readiness::Leaving);
            tokio::time::sleep(config.grace).await;
        }
        let replaced = switch.let_go();
        let _ = drain.send(true);
        // They hold the switch, and with it the state folder, which another host may be waiting for.
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
        drop(place);
        let _ = tokio::time::timeout(LAST_WRITE, doors_left).await;
        if replaced {
            switch.store.let_go();
        } else {
            remove_sockets(&switch.store);
        }
        let all_left = tokio::time::timeout(config.drain, switch.dismiss()).await.is_ok();
        let ended = async { while calls.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_WRITE, async { tokio::join!(ended, switch.journal.catch_up()) }).await;
        // Workers that have ended hand nothing over any more.
        told.wait().await;
        all_left
    }
}

fn remove_sockets(store: &Store) {
    for path in [store.take_over_path(), store.socket_path()] {
        let _ = std::fs::remove_file(path);
    }
}

/// Lets go of workers and sockets of a start that does not come to its end.
struct Undo(Option<Arc<Switch>>);

impl Undo {
    fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(switch) = &self.0 {
            switch.abandon();
        }
    }
}

/// What a running process has handed over, and the line to it.
struct Taken<'a> {
    taking: &'a mut Taking,
    control: control::Sockets,
    door: std::os::unix::net::UnixListener,
}

/// Serves in the place of another process. Its sockets are ours alone once it has left.
async fn serve_instead(switch: &Switch, taking: &mut Taking, drain: Duration) -> Result<(), StartError> {
    block_in_place(|| taking.ready())?;
    switch.listen();
    switch.barrier().await;
    if let Err(error) = block_in_place(|| taking.serving()) {
        // Some may have come in already.
        let _ = tokio::time::timeout(drain, switch.dismiss()).await;
        return Err(error.into());
    }
    switch.share_listeners(false);
    Ok(())
}

/// How long to wait, at the end, for the journal's last writes.
const LAST_WRITE: Duration = Duration::from_secs(2);

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
    let why = format!("first start with {}", config.file.display());
    // Somebody has to begin: members may come after their proxy.
    let origin = Origin { force: true, ..Origin::through(Door::File, "configuration file", why) };
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
