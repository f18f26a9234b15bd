//! THE SWITCH: the only way what is current changes.
//!
//! A change is made into a release, staged, warmed on every worker, journalled and then swapped in; `back` and `forward`
//! swap in a release that is kept warm, and are journalled after. Changes take turns; going back waits for nobody.

pub mod standing;
pub mod trail;
pub mod change;
pub mod receipt;
pub mod activate;
pub mod back;
pub mod swap;
pub mod step;
pub mod acts;
pub mod share;
pub mod canary;
pub mod warm;
pub mod fitness;
pub mod latch;
pub mod fail_back;
pub mod crash;
pub mod judge;
pub mod hold;
mod moment;
pub mod way_back;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use self::change::ChangeError;
use self::hold::Hold;
use self::receipt::{Origin, Receipt};
use self::share::Share;
use self::standing::{Gist, Quarantined, Standing};
use self::trail::Trail;
use crate::address::Address;
use crate::digest::Digest;
use crate::policy::PolicyId;
use crate::policy::admit::Rejection;
use crate::policy::compile::{Compiled, Compiler};
use crate::proxy::inherited::{Inherited, Passed};
use crate::proxy::keeper;
use crate::proxy::listeners::Listeners;
use crate::proxy::session::Held;
use crate::proxy::worker::{Handle, Order};
use crate::release::{Ground, Release};
use crate::serving::Current;
use crate::store::Store;
use crate::store::journal::{Door, Entry, Journal, JournalError, Kind, Record, Recovered};

/// Releases kept ready on each side of the current one: that many steps back or forward are instant.
pub const KEPT_READY: usize = 8;

/// How often a listener that could not be had is tried again.
const LISTEN_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// Changes what is current.
pub struct Switch {
    /// The release that serves.
    pub current: Arc<Current>,
    /// What releases are made from.
    pub ground: Arc<Ground>,
    /// The state folder.
    pub store: Store,
    /// The record of what is done here.
    pub journal: Journal,
    /// Makes native code of policies.
    pub compiler: Compiler,
    /// Keeps pools true to their members.
    pub keeper: keeper::Handle,
    /// Empty once the host leaves.
    workers: Mutex<Vec<Handle>>,
    listeners: Mutex<Listeners>,
    /// Held while the keeper is told what to watch.
    watching: Mutex<()>,
    /// Held while a change is made into a release. Never held by `back` and `forward` of releases that are ready.
    turn: tokio::sync::Mutex<()>,
    /// What is to be judged.
    pub docket: judge::Docket,
    /// What was last seen of the way back.
    last_seen: way_back::LastSeen,
    /// Told after every switch: what is kept ready is to be looked after.
    switched: tokio::sync::Notify,
    /// Told when a release begins to wait for its confirmation.
    unconfirmed: tokio::sync::Notify,
    /// What the doors show, by name: a policy of the folder, or the configuration file.
    shown: Mutex<BTreeMap<(Door, String), Digest>>,
    /// What a person let out of quarantine, and no door has brought since.
    let_out: Mutex<BTreeSet<Digest>>,
    /// Held for moments only: nothing is waited for, nothing is written.
    state: Mutex<State>,
}

struct State {
    standing: Standing,
    /// Releases that are ready: staged, and warm on every worker.
    ready: BTreeMap<u64, Arc<Release>>,
    /// What the releases of the trail are: known without the disk, however far one goes back.
    gists: BTreeMap<u64, Gist>,
    next_number: u64,
    /// Rises with every swap, so that whoever prepared one sees whether another came first.
    generation: u64,
    /// Native code of the builds that are in use, by digest.
    compiled: HashMap<Digest, Compiled>,
    hold: Hold,
    /// What was turned away for a canary that is under way, and said so: the canary, and the doors with their reasons.
    turned_away: (u64, Vec<(Door, String)>),
}

impl State {
    /// The policies that some ready release may ask.
    fn live(&self) -> BTreeSet<PolicyId> {
        self.ready.values().flat_map(|release| release.live_ids()).collect()
    }
}

/// Why nothing was switched. What serves goes on serving.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The policy is not fit.
    #[error("policy `{policy}` {rejection}")]
    Policy {
        /// Its name.
        policy: String,
        /// Why.
        #[source]
        rejection: Rejection,
    },
    /// The change does not make a release.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// A listener cannot be had.
    #[error("{0}")]
    Listen(String),
    /// There is no such release.
    #[error("release r{0} is not kept")]
    NoSuchRelease(u64),
    /// Nothing to go to.
    #[error("{}", nowhere(.word, *.wanted, *.there, .vip.as_deref()))]
    NowhereToGo {
        /// Back or forward.
        word: &'static str,
        /// Steps that were wanted.
        wanted: usize,
        /// Steps that there are.
        there: usize,
        /// The vip that was to go, if not all.
        vip: Option<String>,
    },
    /// The release is not where the step leads.
    #[error("r{release} does not lie {word}: there {}", if ways.is_empty() { "is nothing" } else { ways })]
    NotOnTheWay {
        /// Back or forward.
        word: &'static str,
        /// The release that was wanted.
        release: u64,
        /// Those that lie there, the nearest first.
        ways: String,
    },
    /// A vip is as it is wanted.
    #[error("vip `{vip}` is as it was in r{release}")]
    AlreadySo {
        /// The vip.
        vip: String,
        /// The release.
        release: u64,
    },
    /// A point of no return lies between.
    #[error(
        "r{release} is a point of no return ({why}); hint: `--over-fence` goes over it, with the admin token and a reason"
    )]
    Fence {
        /// The release that cannot be gone back from.
        release: u64,
        /// Why.
        why: String,
    },
    /// The release is no point of no return.
    #[error("r{0} is no point of no return")]
    NoFence(u64),
    /// Nothing waits.
    #[error("no release waits to be confirmed")]
    NothingToConfirm,
    /// No such digest is kept out.
    #[error("no digest in quarantine begins with `{0}`")]
    NotQuarantined(String),
    /// A text that several digests begin with.
    #[error("several digests in quarantine begin so: {}; hint: say more of it", .0.join(", "))]
    Ambiguous(Vec<String>),
    /// What was gone back from came again, and nobody asked for it.
    #[error(
        "{} is in quarantine: r{} was gone back from by {} ({}); hint: `switchback unquarantine {}`, or push it",
        what(.it), .it.release, .it.mark.who, .it.mark.why, .digest.short()
    )]
    Quarantined {
        /// What it is.
        digest: Digest,
        /// Why it is kept out.
        it: Box<Quarantined>,
    },
    /// Somebody went back while this change was being prepared.
    #[error("overtaken: r{0} became current while this change was being prepared; look, and try again")]
    Overtaken(u64),
    /// It is wanted of another release than the one that is current.
    #[error("r{current} is current, not {}", names(expected))]
    Precondition {
        /// The releases it is wanted of.
        expected: Vec<u64>,
        /// The one that is.
        current: u64,
    },
    /// One thing is tried at a time.
    #[error("r{0} is a canary at {1}: step it up, or go back first")]
    CanaryUnderWay(u64, Share),
    /// A share of what?
    #[error("there is no release yet that could decide for the rest")]
    NothingBefore,
    /// Requests would go to members that cannot serve them.
    #[error("no member of pool `{pool}` is fit ({reason}); hint: force it if it is wanted all the same")]
    Sick {
        /// The pool.
        pool: String,
        /// What is wrong with its members.
        reason: String,
    },
    /// Not while the place changes hands.
    #[error("{0}: try again in a moment")]
    NotNow(&'static str),
    /// What is not on the disk is not activated.
    #[error("cannot be recorded")]
    Journal(#[from] JournalError),
}

fn names(releases: &[u64]) -> String {
    releases.iter().map(|number| format!("r{number}")).collect::<Vec<_>>().join(" or ")
}

impl Refusal {
    /// Whether the same change may go well later, as it is.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Journal(_) | Self::NotNow(_) | Self::CanaryUnderWay(..) => true,
            Self::Policy { rejection, .. } => rejection.is_ours(),
            _ => false,
        }
    }
}

impl Switch {
    /// A switch over `workers`, before anything is current but a release of nothing.
    #[expect(clippy::too_many_arguments, reason = "the parts of a host, which are put together in one place")]
    pub fn new(
        current: Arc<Current>,
        ground: Arc<Ground>,
        store: Store,
        journal: Journal,
        compiler: Compiler,
        workers: Vec<Handle>,
        keeper: keeper::Handle,
        recovered: &Recovered,
    ) -> Self {
        let state = State {
            standing: Standing::at(Trail::starting_at(0)),
            ready: BTreeMap::new(),
            gists: recovered.gists.clone(),
            next_number: recovered.last_number + 1,
            generation: 0,
            compiled: HashMap::new(),
            hold: Hold::default(),
            turned_away: (0, Vec::new()),
        };
        Self {
            current,
            ground,
            store,
            journal,
            compiler,
            keeper,
            workers: Mutex::new(workers),
            listeners: Mutex::default(),
            watching: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
            docket: judge::Docket::default(),
            last_seen: way_back::LastSeen::default(),
            switched: tokio::sync::Notify::new(),
            unconfirmed: tokio::sync::Notify::new(),
            shown: Mutex::default(),
            let_out: Mutex::default(),
            state: Mutex::new(state),
        }
    }

    /// Uses these sockets before it binds any. To be told before anything is listened on.
    pub fn inherit(&self, inherited: Inherited) {
        *self.listeners() = Listeners::new(inherited);
    }

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
            let why = format!("r{number} cannot be resumed: {}", crate::causes::with_causes(&refusal));
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

    /// Lets the workers go; answers when the last has ended.
    pub async fn dismiss(&self) {
        self.listeners().close();
        let workers: Vec<Handle> = self.workers().drain(..).collect();
        let threads: Vec<_> = workers.into_iter().filter_map(Handle::leave).collect();
        let ended = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
        let _ = ended.await;
    }

    /// Lets the workers go, and all sockets, waiting for nobody.
    pub fn abandon(&self) {
        self.listeners().close();
        self.workers().clear();
    }

    /// A release that is ready.
    pub fn ready_release(&self, number: u64) -> Option<Arc<Release>> {
        self.state().ready.get(&number).cloned()
    }

    /// Where the host stands.
    pub fn standing(&self) -> Standing {
        self.state().standing.clone()
    }

    /// The trail as it stands.
    pub fn trail(&self) -> Trail {
        self.state().standing.trail.clone()
    }

    /// The numbers of the releases that are ready to be switched to at once.
    pub fn ready(&self) -> Vec<u64> {
        self.state().ready.keys().copied().collect()
    }

    /// A number for a release that is about to be made.
    fn take_number(&self) -> u64 {
        let mut state = self.state();
        state.next_number += 1;
        state.next_number - 1
    }

    /// The release was not made. Its number is given again, unless a later one was.
    fn give_back(&self, number: u64) {
        let mut state = self.state();
        if state.next_number == number + 1 {
            state.next_number = number;
        }
    }

    /// Records that a change was refused.
    pub fn refuse(&self, origin: &Origin, why: &str) {
        tracing::warn!(door = ?origin.door, who = origin.who, "refused: {why}");
        let entry = origin.entry(Kind::Refuse, Some(self.current.pin().release.number), None, why.to_owned());
        let id = self.journal.write_after(Record { entry: Some(entry), ..Record::default() }).id;
        // For whoever waits in this task, if anybody does.
        let _ = receipt::REFUSED.try_with(|refused| refused.set(Some(id)));
    }

    /// What is listened on: by the listener's id, the address that is bound.
    pub fn listening(&self) -> Vec<(Arc<str>, Address)> {
        self.listeners().bound()
    }

    /// All listening sockets, to be handed on.
    ///
    /// # Errors
    /// When there are no file descriptors for it.
    pub fn to_hand_on(&self) -> std::io::Result<Vec<Passed>> {
        self.listeners().to_hand_on()
    }

    /// Says whether another process accepts from the same sockets.
    pub fn share_listeners(&self, shared: bool) {
        self.listeners().share(shared);
    }

    /// Lets go of inherited sockets that nobody wants; answers where those are that are kept open for us all the same.
    pub fn settle_listeners(&self) -> Vec<Address> {
        self.listeners().settle()
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn workers(&self) -> MutexGuard<'_, Vec<Handle>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives every worker an order.
    fn order_workers<T>(&self, mut order: impl FnMut(oneshot::Sender<T>) -> Order) -> Vec<oneshot::Receiver<T>> {
        let give = |worker: &Handle| {
            let (answer, answered) = oneshot::channel();
            worker.order(order(answer));
            answered
        };
        self.workers().iter().map(give).collect()
    }

    /// Gives every worker an order, and waits until all have answered.
    async fn tell_workers<T>(&self, order: impl FnMut(oneshot::Sender<T>) -> Order) -> Vec<T> {
        let mut answered = Vec::new();
        for answer in self.order_workers(order) {
            // A worker that has ended has nothing to say.
            answered.extend(answer.await.ok());
        }
        answered
    }

    /// Follows a swap to its end: when has every worker switched, and what is left of the old release. A worker that is
    /// stuck is not waited for: it switches with its next request, whatever it does now.
    async fn settle(&self, swapped: &Swapped) -> receipt::Timing {
        let ordered = self.order_workers(Order::Barrier);
        let workers = ordered.len();
        let passed = receipt::in_time(ordered).await;
        let workers_switched = passed.len();
        if workers_switched == workers {
            swapped.held.iter().for_each(|held| held.fenced());
        }
        let switched = passed.into_iter().fold(swapped.at, Instant::max);
        let flights = &swapped.old.flights;
        let last = flights.last_decided_nanos().saturating_sub(crate::time::since_start(swapped.at));
        let last = if swapped.old_goes_on { 0 } else { last };
        receipt::Timing {
            switched_in_micros: micros(switched - swapped.at),
            last_old_decision_micros: last.div_ceil(1000),
            in_flight_on_old: flights.in_flight(),
            workers: u32::try_from(workers).unwrap_or(u32::MAX),
            workers_switched: u32::try_from(workers_switched).unwrap_or(u32::MAX),
        }
    }

    /// Brings sockets in line with the current release: opens what is missing, closes what it does not name. What
    /// cannot be had now is tried again, see [`Switch::keep_listening`]; answers what.
    fn reconcile_listeners(&self) -> Option<String> {
        let mut refused = None;
        for release in self.current.serving().releases() {
            if let Err(refusal) = self.open_listeners(release) {
                tracing::error!(release = release.number, %refusal, "a listener of what serves is not available");
                refused = Some(refusal);
            }
        }
        self.listen();
        self.close_unused_listeners();
        refused.map(|refusal| format!("{refusal}; it is tried again each second"))
    }

    /// Tries again, for ever, to listen where the current release wants to and could not.
    pub async fn keep_listening(&self) {
        let mut every = tokio::time::interval(LISTEN_AGAIN);
        loop {
            every.tick().await;
            // What a change is about to bring is not unused, and looks as if it were.
            if self.turn.try_lock().is_ok() {
                self.reconcile_listeners();
            }
        }
    }

    fn close_unused_listeners(&self) {
        let mut listeners = self.listeners();
        // Under the lock: what another switch opens is of a release that is current by then.
        for id in listeners.unused(&self.current.serving()) {
            self.workers().iter().for_each(|worker| worker.order(Order::StopListening(id.clone())));
        }
    }

    /// Binds what a release listens on. What connects there waits until it serves, see [`Switch::listen`]: the release
    /// before does not know the listener.
    fn open_listeners(&self, release: &Release) -> Result<(), Refusal> {
        let mut listeners = self.listeners();
        listeners.open(release, self.ground.workers).map_err(|error| Refusal::Listen(error.to_string()))
    }

    /// Has the workers accept connections wherever the current release listens.
    pub fn listen(&self) {
        let mut listeners = self.listeners();
        for (listener, sockets) in listeners.take_waiting(&self.current.serving()) {
            for (worker, sockets) in self.workers().iter().zip(sockets) {
                sockets.into_iter().for_each(|socket| worker.order(Order::Listen(listener.clone(), socket)));
            }
        }
    }

    /// Waits until all orders that were given are carried out.
    pub async fn barrier(&self) {
        self.tell_workers(Order::Barrier).await;
    }
}

/// A swap that has just happened.
struct Swapped {
    old: Arc<Release>,
    new: Arc<Release>,
    at: Instant,
    /// Whether the old one decides as before, beside the new one.
    old_goes_on: bool,
    /// What waits for requests of the old one.
    held: Vec<Arc<Held>>,
    /// Whether the standing says something else of sessions since.
    has_left: bool,
}

impl Swapped {
    fn entry(&self, kind: Kind, origin: &Origin) -> Entry {
        origin.entry(kind, Some(self.old.number), Some(self.new.number), origin.why.clone())
    }

    fn receipt(&self, kind: Kind, origin: &Origin, timing: receipt::Timing, entry: u64) -> Receipt {
        Receipt::new(kind, origin, &self.old, &self.new, timing, entry)
    }
}

fn nowhere(word: &str, wanted: usize, there: usize, vip: Option<&str>) -> String {
    let whose = vip.map(|vip| format!(" for vip `{vip}`")).unwrap_or_default();
    match there {
        0 => format!("there is no release to go {word} to{whose}"),
        _ => format!("expected 1 to {there} steps {word}{whose}, got {wanted}"),
    }
}

fn what(it: &Quarantined) -> String {
    if it.name == standing::CONFIG_FILE { "this text".into() } else { format!("this build of policy `{}`", it.name) }
}

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
