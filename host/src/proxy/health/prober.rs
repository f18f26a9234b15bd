//! Probes all members, each when it is due.
//!
//! One task keeps the times and the standings of all pairs of member and check, and lets those that are due be probed beside
//! it, so many at once and no more. It is told the whole set of pairs whenever that changes; a pair that stays keeps its
//! standing and its times. What changes is told to the one who made it, in the prober's task, in the order it happened.

mod schedule;
mod handle;

use std::collections::{HashMap, HashSet};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::pair::Pair;
use super::probe::{Sick, probe};
use super::standing::{Changed, Health, Standing};
use handle::{PairSet, Question};
use schedule::{Schedule, Times};

pub use handle::Checks;

/// Probes under way at once, unless told otherwise. With the default time-out it takes 256 members a second that answer
/// nothing at all before others are probed later than they should be; those that refuse take no time.
pub const AT_ONCE: usize = 512;

/// A number for as long as a pair is known, that is cheaper to look up than the pair.
type Id = u64;

/// A probe that has ended.
type Ended = (Id, Result<(), Sick>);

/// Asks members for their health.
pub struct Prober<M, C, T> {
    connect: Arc<C>,
    told: T,
    at_once: usize,
    sets: watch::Receiver<PairSet<M>>,
    questions: mpsc::Receiver<Question<M>>,
    counts: Arc<ProbeCounts>,
    ids: HashMap<Arc<Pair<M>>, Id>,
    entries: HashMap<Id, Entry<M>>,
    next_id: Id,
    schedule: Schedule,
    probes: JoinSet<Ended>,
    waits: Vec<Wait>,
}

/// What probes have come to, for metrics.
#[derive(Debug, Default)]
pub struct ProbeCounts {
    /// Probes that were answered as expected.
    pub good: AtomicU64,
    /// Probes that were not.
    pub bad: AtomicU64,
    /// Probes under way now.
    pub under_way: AtomicU64,
    /// How late the probe is that is due for longest, in milliseconds: more than 20 only when too many are under way.
    pub late_millis: AtomicU64,
}

/// What is known of a pair.
#[derive(Clone, Debug)]
pub struct Known<M> {
    /// Which one.
    pub pair: Arc<Pair<M>>,
    /// What is believed of it; unknown as well where the pair itself is not known.
    pub health: Health,
    /// Whether the last result speaks against that.
    pub is_in_doubt: bool,
    /// When a probe last ended, and its result.
    pub last: Option<(Instant, Result<(), Sick>)>,
}

/// A pair that is probed.
struct Entry<M> {
    pair: Arc<Pair<M>>,
    standing: Standing,
    times: Times,
    last: Option<(Instant, Result<(), Sick>)>,
    /// The task of a probe that is under way.
    task: Option<task::Id>,
    /// Whether it has left the set; it is kept for as long as a probe of it is under way, in case it returns.
    has_left: bool,
}

/// Somebody who waits until each of these has a result. Told by being dropped.
struct Wait {
    left: HashSet<Id>,
    done: oneshot::Sender<()>,
}

impl<M, C, F, S, T> Prober<M, C, T>
where
    M: Clone + Eq + std::hash::Hash + Send + Sync + 'static,
    C: Fn(&Pair<M>) -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<S>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: FnMut(&Pair<M>, Changed),
{
    /// A prober of nothing yet, and the handle by which it is told what to probe.
    ///
    /// `connect` opens a connection for one probe of a pair, where its check's port says, if it has one; the time it takes is
    /// part of the check's time-out. `told` hears of each change, and must not block. Equal seeds give equal times.
    pub fn new(connect: C, told: T, at_once: usize, seed: u64) -> (Self, Checks<M>) {
        let (checks, sets, questions) = Checks::new();
        let prober = Self {
            connect: Arc::new(connect),
            told,
            at_once,
            sets,
            questions,
            counts: checks.counts.clone(),
            ids: HashMap::new(),
            entries: HashMap::new(),
            next_id: 0,
            schedule: Schedule::new(seed),
            probes: JoinSet::new(),
            waits: Vec::new(),
        };
        (prober, checks)
    }

    /// Probes until the last handle is gone. Probes that are under way then are given up.
    pub async fn run(mut self) {
        let mut timer = pin!(sleep_until(Instant::now()));
        loop {
            let next = self.start_due();
            if let Some(next) = next.filter(|next| *next != timer.deadline()) {
                timer.as_mut().reset(next);
            }
            tokio::select! {
                biased;
                changed = self.sets.changed() => match changed {
                    Ok(()) => self.take_set(),
                    Err(_) => return,
                },
                Some(question) = self.questions.recv() => self.answer(question),
                Some(ended) = self.probes.join_next_with_id() => {
                    self.ended(ended);
                    // All that have ended meanwhile, before anything is started anew.
                    while let Some(ended) = self.probes.try_join_next_with_id() {
                        self.ended(ended);
                    }
                }
                () = &mut timer, if next.is_some() => {}
            }
        }
    }

    /// Starts what is due, as far as there is room; answers when to look again.
    fn start_due(&mut self) -> Option<Instant> {
        let now = Instant::now();
        while self.probes.len() < self.at_once
            && let Some(id) = self.schedule.take_due(now)
        {
            let entry = self.entries.get_mut(&id).expect("what is scheduled is known");
            entry.times.began = now;
            let (pair, connect) = (entry.pair.clone(), self.connect.clone());
            let task = self.probes.spawn(async move { (id, probe(&pair, connect(&pair)).await) });
            entry.task = Some(task.id());
        }
        self.counts.under_way.store(self.probes.len() as u64, Ordering::Relaxed);
        let late = self.schedule.late(now).as_millis();
        self.counts.late_millis.store(u64::try_from(late).unwrap_or(u64::MAX), Ordering::Relaxed);
        // Without room, the end of a probe is what there is to wait for.
        if self.probes.len() < self.at_once { self.schedule.next() } else { None }
    }

    fn ended(&mut self, ended: Result<(task::Id, Ended), JoinError>) {
        match ended {
            Ok((_, (id, result))) => self.take_result(id, result),
            // It panicked, which is a mistake of ours. The member goes on being probed, and being what it is.
            Err(error) => {
                tracing::error!(%error, "a probe broke off");
                let of_task = |(_, entry): &(&Id, &Entry<M>)| entry.task == Some(error.id());
                if let Some(id) = self.entries.iter().find(of_task).map(|(id, _)| *id) {
                    self.take_result(id, Err(Sick::Aborted));
                }
            }
        }
    }

    fn take_result(&mut self, id: Id, result: Result<(), Sick>) {
        let entry = self.entries.get_mut(&id).expect("what is probed is known");
        entry.task = None;
        if entry.has_left {
            self.forget(id);
            return;
        }
        let count = if result.is_ok() { &self.counts.good } else { &self.counts.bad };
        count.fetch_add(1, Ordering::Relaxed);
        let check = &entry.pair.check;
        // Of a probe that broke off nothing follows.
        let changed = match &result {
            Err(Sick::Aborted) => None,
            result => entry.standing.weigh(result, check),
        };
        self.schedule.next_probe(id, &mut entry.times, check, entry.standing.is_in_doubt());
        entry.last = Some((Instant::now(), result));
        if let Some(changed) = changed {
            (self.told)(&entry.pair, changed);
        }
        self.waited_for(id);
    }

    /// Takes over the set as it is now.
    fn take_set(&mut self) {
        let set = self.sets.borrow_and_update().clone();
        let mut gone: HashSet<Id> = self.entries.keys().copied().collect();
        let mut new = Vec::new();
        for pair in set.iter() {
            match self.ids.get(pair) {
                Some(id) => {
                    gone.remove(id);
                    self.entries.get_mut(id).expect("what has an id is known").has_left = false;
                }
                None => {
                    let id = self.next_id;
                    self.next_id += 1;
                    self.ids.insert(pair.clone(), id);
                    let entry = Entry {
                        pair: pair.clone(),
                        standing: Standing::default(),
                        times: Times::default(),
                        last: None,
                        task: None,
                        has_left: false,
                    };
                    self.entries.insert(id, entry);
                    new.push(id);
                }
            }
        }
        for id in gone {
            let entry = self.entries.get_mut(&id).expect("taken from there");
            entry.has_left = true;
            if entry.task.is_none() {
                self.forget(id);
            }
        }
        let number = new.len();
        for id in new {
            let entry = self.entries.get_mut(&id).expect("just put there");
            self.schedule.first_probe(id, &mut entry.times, &entry.pair.check, number);
        }
    }

    fn forget(&mut self, id: Id) {
        let Some(entry) = self.entries.remove(&id) else { return };
        self.schedule.cancel(id, &entry.times);
        self.ids.remove(&entry.pair);
        self.waited_for(id);
    }

    /// Nobody need wait for this one any more.
    fn waited_for(&mut self, id: Id) {
        self.waits.retain_mut(|wait| {
            wait.left.remove(&id);
            !wait.left.is_empty() && !wait.done.is_closed()
        });
    }

    fn answer(&mut self, question: Question<M>) {
        // Who asks may have told the set just before: from another thread, between our looking there and looking here.
        if self.sets.has_changed().unwrap_or(false) {
            self.take_set();
        }
        match question {
            Question::Known { pairs, answer } => {
                let known = match pairs {
                    Some(pairs) => pairs.into_iter().map(|pair| self.known(pair)).collect(),
                    None => self.entries.values().filter(|entry| !entry.has_left).map(Entry::known).collect(),
                };
                // Who asked may have gone.
                let _ = answer.send(known);
            }
            Question::Probe { pairs, done } => {
                let mut left = HashSet::new();
                for id in pairs.iter().filter_map(|pair| self.ids.get(pair)) {
                    let entry = self.entries.get_mut(id).expect("what has an id is known");
                    if entry.task.is_none() {
                        self.schedule.hurry(*id, &mut entry.times);
                    }
                    left.insert(*id);
                }
                if !left.is_empty() {
                    self.waits.push(Wait { left, done });
                }
            }
        }
    }

    fn known(&self, pair: Arc<Pair<M>>) -> Known<M> {
        match self.ids.get(&pair) {
            Some(id) => self.entries[id].known(),
            None => Known { pair, health: Health::Unknown, is_in_doubt: false, last: None },
        }
    }
}

impl<M> Entry<M> {
    fn known(&self) -> Known<M> {
        Known {
            pair: self.pair.clone(),
            health: self.standing.health(),
            is_in_doubt: self.standing.is_in_doubt(),
            last: self.last.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
