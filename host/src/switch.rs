//! THE SWITCH: the only way what is current changes.
//!
//! A change is made into a release, staged, warmed on every worker, journalled and then swapped in; `back` and `forward`
//! swap in a release that is kept warm, and are journalled after. Changes take turns; going back waits for nobody.

pub mod refusal;
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
pub mod resume;
pub mod fitness;
pub mod listening;
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

use self::hold::Hold;
use self::receipt::{Origin, Receipt};
pub use self::refusal::Refusal;
use self::standing::{Gist, Standing};
use self::trail::Trail;
use crate::digest::Digest;
use crate::policy::compile::{Compiled, Compiler};
use crate::proxy::instances::Live;
use crate::proxy::keeper;
use crate::proxy::listeners::Listeners;
use crate::proxy::session::Held;
use crate::proxy::worker::{Handle, Order};
use crate::release::{Ground, Release};
use crate::serving::Current;
use crate::store::Store;
use crate::store::journal::{Door, Entry, Journal, Kind, Record, Recovered};

/// Releases kept ready on each side of the current one: that many steps back or forward are instant.
pub const KEPT_READY: usize = 8;

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
    fn live(&self) -> Live {
        self.ready.values().flat_map(|release| release.live_ids()).collect()
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
    fn take_number(&self) -> TakenNumber<'_> {
        let mut state = self.state();
        state.next_number += 1;
        TakenNumber { switch: self, number: state.next_number - 1, is_used: false }
    }

    /// Records that a change was refused.
    pub fn refuse(&self, origin: &Origin, why: &str) {
        tracing::warn!(door = ?origin.door, who = origin.who, "refused: {why}");
        let entry = origin.entry(Kind::Refuse, Some(self.current.pin().release.number), None, why.to_owned());
        let id = self.journal.write_after(Record { entry: Some(entry), ..Record::default() }).id;
        // For whoever waits in this task, if anybody does.
        let _ = receipt::REFUSED.try_with(|refused| refused.set(Some(id)));
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

    /// Waits until all orders that were given are carried out.
    pub async fn barrier(&self) {
        self.tell_workers(Order::Barrier).await;
    }
}

/// A number that no other release gets. Where it is not used, it is given again, unless a later one was. Takes the state's
/// lock when it goes: it must outlive whoever holds that.
struct TakenNumber<'a> {
    switch: &'a Switch,
    number: u64,
    is_used: bool,
}

impl TakenNumber<'_> {
    /// There is a release of this number now, if only in the journal.
    fn is_used(&mut self) {
        self.is_used = true;
    }
}

impl Drop for TakenNumber<'_> {
    fn drop(&mut self) {
        let mut state = self.switch.state();
        if !self.is_used && state.next_number == self.number + 1 {
            state.next_number = self.number;
        }
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

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
