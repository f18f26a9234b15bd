//! One worker: a thread with its own runtime, listeners, connections to members, and instance of every live policy.
//!
//! The rest of the host reaches it through the current release, the members' counters, and `Order`s, which it carries
//! out between requests.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hyper::header::HeaderValue;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::connector::Connector;
use super::exchange::ExchangeIds;
use super::head::Head;
use super::instances::{Asked, Instances, Live};
use super::listener::{self, Listener};
use super::log_budget::LogBudget;
use super::socket::Socket;
use super::vip::Rung;
use super::warmth;
use crate::policy::PolicyId;
use crate::policy::wasm::{Inputs, Instance};
use crate::random;
use crate::release::Ground;
use crate::serving::Current;
use crate::switch::fail_back::Fall;
use crate::telemetry::told::Teller;
use crate::time::clock::WallClock;

/// How often idle connections to members are looked through.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// What one worker keeps. Never leaves its thread.
pub struct Worker {
    /// Its position among the workers: which slot is its own.
    pub id: usize,
    /// What serves.
    pub current: Arc<Current>,
    /// What it shares with the other workers, over all releases.
    pub ground: Arc<Ground>,
    /// Its connections to members.
    pub connector: Connector,
    /// Where its exchange ids come from.
    pub ids: ExchangeIds,
    /// Where policies' failures are told.
    pub falls: mpsc::Sender<Fall>,
    /// How often it writes to the log.
    pub log: LogBudget,
    /// Where it hands over what is told of exchanges.
    pub teller: Teller,
    instances: RefCell<Instances>,
    date: RefCell<Date>,
    wall: WallClock,
    seeds: Cell<u64>,
}

/// What a decision depends on beside the request and how busy pools are: the same for all who are asked for it.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// When it began, nanoseconds since 1970 UTC.
    pub now_nanos: u64,
    /// Where its random sequence starts.
    pub seed: u64,
}

/// What a worker is told to do between requests.
pub enum Order {
    /// Hold these instances; keep none but those of `live`.
    Warm {
        /// Made and configured elsewhere.
        made: Vec<(PolicyId, Instance)>,
        /// All policies that may be asked from now on.
        live: Arc<Live>,
        /// Told when it is done.
        done: oneshot::Sender<()>,
    },
    /// Accept connections here, too.
    Listen(Arc<Listener>, Socket),
    /// Accept no more connections at the listener of this id.
    StopListening(Arc<str>),
    /// Say of which of these policies there is no instance here.
    Lacking {
        /// Those that should be here.
        wanted: Vec<PolicyId>,
        /// Told which are not.
        answer: oneshot::Sender<Vec<PolicyId>>,
    },
    /// Say that all decisions that began before this order are made.
    Barrier(oneshot::Sender<Instant>),
}

/// What all workers share when they start.
#[derive(Clone)]
pub struct Shared {
    /// The release that serves.
    pub current: Arc<Current>,
    /// What outlives releases.
    pub ground: Arc<Ground>,
    /// Where policies' failures are told.
    pub falls: mpsc::Sender<Fall>,
    /// Where exchanges are told.
    pub teller: Teller,
}

/// A worker's thread, from outside.
pub struct Handle {
    orders: mpsc::UnboundedSender<Order>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Worker {
    /// A worker that has no instance and no connection yet, for the thread that calls. [`Worker::start`] gives it a
    /// thread, listeners and orders of its own.
    pub fn new(id: usize, shared: Shared) -> Self {
        let Shared { current, ground, falls, teller } = shared;
        Self {
            id,
            current,
            connector: Connector::new(id, ground.workers, ground.descriptors.clone()),
            ground,
            ids: ExchangeIds::default(),
            falls,
            log: LogBudget::default(),
            teller,
            instances: RefCell::default(),
            date: RefCell::default(),
            wall: WallClock::default(),
            seeds: Cell::new(getrandom::u64().expect("the system has randomness")),
        }
    }

    /// Holds these instances, which were made elsewhere, and keeps none but those of `live`.
    pub fn warm(&self, made: Vec<(PolicyId, Instance)>, live: &Live) {
        self.instances.borrow_mut().warm(made, live);
    }

    /// Starts a worker's thread. It ends, once draining, with its last connection.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(id: usize, shared: Shared) -> io::Result<Handle> {
        let (orders, received) = mpsc::unbounded_channel();
        let thread = thread::Builder::new().name(format!("worker-{id}")).spawn(move || {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default())
                .expect("a runtime can be made while the host starts");
            runtime.block_on(run(id, shared, received));
        })?;
        Ok(Handle { orders, thread: Some(thread) })
    }

    /// What decisions of this moment depend on beside the request.
    pub fn moment(&self) -> Moment {
        Moment { now_nanos: self.wall.nanos(), seed: self.next_seed() }
    }

    /// Asks a rung's policy.
    pub fn ask(&self, rung: &Rung, head: Box<Head>, moment: Moment) -> (Box<Head>, Asked) {
        let Moment { now_nanos, seed } = moment;
        let inputs = Inputs { now_nanos, seed, loads: Some(rung.pools.clone()) };
        self.instances.borrow_mut().ask(&rung.policy, head, inputs)
    }

    /// The time as `Date` says it (RFC 9110, 5.6.7).
    pub fn date(&self) -> HeaderValue {
        self.date.borrow_mut().at(self.wall.nanos() / 1_000_000_000)
    }

    /// A number that nobody can tell beforehand.
    pub fn random(&self) -> u64 {
        random::mix(self.next_seed())
    }

    /// A part of one, each as likely.
    pub fn chance(&self) -> f64 {
        random::part(self.random())
    }

    /// Never the same twice. The guest's generator makes randomness of it.
    fn next_seed(&self) -> u64 {
        let seed = random::after(self.seeds.get());
        self.seeds.set(seed);
        seed
    }
}

async fn run(id: usize, shared: Shared, mut orders: mpsc::UnboundedReceiver<Order>) {
    let worker = Rc::new(Worker::new(id, shared));
    let mut listeners = HashMap::<Arc<str>, Vec<oneshot::Sender<()>>>::new();
    let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            _ = housekeeping.tick() => {
                worker.connector.close_idle();
                warmth::keep_warm(&worker);
                continue;
            }
        };
        match order {
            Some(Order::Warm { made, live, done }) => {
                worker.warm(made, &live);
                let _ = done.send(());
            }
            Some(Order::Listen(listener, socket)) => {
                let (stop, stopped) = oneshot::channel();
                listeners.entry(listener.id.clone()).or_default().push(stop);
                tokio::task::spawn_local(listener::accept(worker.clone(), socket, listener, stopped));
            }
            Some(Order::StopListening(id)) => drop(listeners.remove(&id)),
            Some(Order::Lacking { wanted, answer }) => {
                let _ = answer.send(worker.instances.borrow().lacking(&wanted));
            }
            Some(Order::Barrier(passed)) => {
                let _ = passed.send(Instant::now());
            }
            None => break,
        }
    }
    // Leaving: no new connections, and the rest end by themselves, as each serves its last request.
    drop(listeners);
    while Rc::strong_count(&worker) > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        worker.connector.close_idle();
    }
}

/// The date as text, made once a second.
struct Date {
    second: u64,
    text: HeaderValue,
}

impl Default for Date {
    fn default() -> Self {
        // None that a clock shows: one that stands at 1970 is to be said, too.
        Self { second: u64::MAX, text: HeaderValue::from_static("") }
    }
}

impl Date {
    fn at(&mut self, second: u64) -> HeaderValue {
        if second != self.second {
            let text = httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(second));
            self.text = HeaderValue::from_str(&text).expect("a date is a field value");
            self.second = second;
        }
        self.text.clone()
    }
}

impl Handle {
    /// Gives an order. A worker that has ended needs none.
    pub fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    /// No more orders: the worker ends with its last connection.
    pub fn leave(self) -> Option<thread::JoinHandle<()>> {
        self.thread
    }
}
