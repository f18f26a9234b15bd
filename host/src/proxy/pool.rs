//! A named set of members, and which of them gets a request.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::StatusCode;
use tokio::sync::mpsc;

use super::breaker::{Pass, State};
use super::error::Error;
use super::finding::Found;
use super::keeper::{Cause, Deed, News};
use super::member::{Member, Members};
use super::per_worker::PerWorker;
use super::pools::Lasting;
use super::retry_budget::RetryBudget;
use super::roster::{Roster, Wanted};
use super::seat::Seat;
use super::timeouts::Timeouts;
use super::tls::TlsError;
use super::transport::Transport;
use crate::release::Ground;
use crate::spec::PoolSpec;
use crate::spec::check::CheckSpec;
use crate::spec::member::{MemberSpec, Whereabouts};
use crate::telemetry::PoolCounts;
use crate::time;

/// A pool as releases define it: the same one for all that define it alike. Its members and counts outlive it.
pub struct Pool {
    /// Its name.
    pub name: Arc<str>,
    /// What it is made of.
    pub spec: PoolSpec,
    /// How members are spoken to.
    pub transport: Arc<Transport>,
    /// How they are checked.
    check: Option<Arc<CheckSpec>>,
    /// How long they may take.
    pub timeouts: Timeouts,
    /// What the pool has served, over all releases.
    pub counts: Arc<PoolCounts>,
    /// What may be tried again.
    pub budget: RetryBudget,
    /// What pools of its name have in common.
    pub lasting: Arc<Lasting>,
    roster: ArcSwap<Roster>,
    /// Whether policies may send requests with keys.
    has_keys: AtomicBool,
    /// What was found, by the place that the members were found at.
    found: Mutex<BTreeMap<Source, Arc<[Found]>>>,
    own_zone: Option<Arc<str>>,
    news: mpsc::Sender<News>,
    /// Whose turn it is, for each worker on its own.
    turns: PerWorker<AtomicUsize>,
}

/// The greatest weight of a seat: what a file may say. A thousand times as much still has room in a roster.
const WEIGHT_MAX: u64 = 65_535;

/// Where members of a pool are found, other than in its release.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// DNS.
    Name(Whereabouts),
    /// A file.
    File(std::path::PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// What a pool says when it is asked for a member.
pub enum Choice {
    /// This one. The request is counted as in flight to it.
    Member(InUse),
    /// All that there are have as many requests as they may have.
    Busy,
    /// There is none that was not tried.
    Nobody,
}

/// A member with one more request in flight, until dropped.
pub struct InUse {
    /// The member.
    pub member: Arc<Member>,
    /// Whether this request is still to show whether the member is well again.
    is_trial: Cell<bool>,
    /// Whether the member failed it: once is enough, whatever else is wrong with its answer.
    has_failed: Cell<bool>,
    /// Whether it has begun to answer.
    has_answered: Cell<bool>,
    /// The pool.
    pub pool: Arc<Pool>,
}

impl Pool {
    /// Makes the pool that `spec` describes, from members that may be known already.
    ///
    /// # Errors
    /// What is wrong with its certificates.
    pub(super) fn new(name: &str, spec: &PoolSpec, lasting: Arc<Lasting>, ground: &Ground) -> Result<Self, TlsError> {
        // Workers start at different members, or a switch would send the first requests of all to the same one.
        let members = spec.members.len();
        let workers = ground.workers;
        Ok(Self {
            name: name.into(),
            transport: Arc::new(Transport::new(spec, &ground.certificates)?),
            check: spec.check.clone().map(Arc::new),
            timeouts: Timeouts::of_pool(spec),
            counts: ground.counts.pool(name),
            budget: RetryBudget::new(u32::from(spec.retries.budget) * 10),
            lasting,
            roster: ArcSwap::default(),
            has_keys: AtomicBool::new(spec.balance.key.is_some()),
            found: Mutex::default(),
            own_zone: ground.zone.clone(),
            news: ground.news.clone(),
            turns: PerWorker::new(workers, |worker| AtomicUsize::new(worker * members.div_ceil(workers))),
            spec: spec.clone(),
        })
    }

    /// Its members as they stand.
    pub fn roster(&self) -> Arc<Roster> {
        self.roster.load_full()
    }

    /// A member for a request that begins now. `is_full` says of which members this worker can have no connection now.
    pub fn choose(self: &Arc<Self>, worker: usize, wanted: &Wanted<'_>, is_full: impl Fn(&Member) -> bool) -> Choice {
        let now = time::nanos_since_start();
        let max = self.spec.limits.member_requests_max;
        let roster = self.roster.load();
        let turn = || self.turns.of(worker).fetch_add(1, Ordering::Relaxed);
        let (mut is_busy, mut is_trial, mut is_held) = (false, false, false);
        let mut choose = |panics: bool| {
            let takes = |seat: &Seat| {
                let Seat { member, .. } = seat;
                // Who is bound to a member that has no room waits for it.
                if is_held {
                    return false;
                }
                if is_full(member) {
                    (is_busy, is_held) = (true, wanted.bound == Some(member.id));
                    return false;
                }
                let pass = member.breaker.pass(now);
                if pass == Pass::Refused && !panics {
                    return false;
                }
                is_trial = pass == Pass::Trial;
                if !member.begin(max) {
                    (is_busy, is_held) = (true, wanted.bound == Some(member.id));
                    if is_trial {
                        member.breaker.end_trial();
                    }
                    return false;
                }
                true
            };
            roster.choose(wanted, now, panics, turn, takes)
        };
        // The roster is made away from here: it may not know yet that nobody is fit any more.
        let seat = choose(roster.panics).or_else(|| roster.must_panic(now).then(|| choose(true)).flatten());
        match seat {
            Some(seat) => Choice::Member(InUse {
                member: seat.member.clone(),
                is_trial: Cell::new(is_trial),
                has_failed: Cell::new(false),
                has_answered: Cell::new(false),
                pool: self.clone(),
            }),
            None if is_busy => Choice::Busy,
            None => Choice::Nobody,
        }
    }

    /// Leaves a member alone for a while, unless that would be one too many.
    pub(super) fn open_breaker(&self, member: &Arc<Member>, failures: u32, cause: Cause) {
        let (now, spec) = (time::nanos_since_start(), &self.spec.breaker);
        let is_unreachable = matches!(cause, Cause::Unreachable(_));
        if !is_unreachable {
            let roster = self.roster.load();
            let open = |seat: &&Seat| {
                let breaker = &seat.member.breaker;
                breaker.state(now) != State::Closed && !breaker.is_unreachable() && !Arc::ptr_eq(&seat.member, member)
            };
            let open = roster.seats.iter().filter(open).count();
            if (open + 1) * 100 > roster.seats.len() * usize::from(spec.share_max) {
                return;
            }
        }
        if let Some(rest) = member.breaker.open(spec.rest, is_unreachable, now) {
            self.tell(member, Deed::LeftAlone { failures, cause, rest });
        }
    }

    /// Has it known what became of a member. Never waits: who hears it looks at everything anyway.
    fn tell(&self, member: &Arc<Member>, deed: Deed) {
        let _ = self.news.try_send(News { pool: self.name.clone(), member: member.clone(), deed });
    }

    /// Requests with keys may come, from now on: the first of them is to meet its member.
    pub fn expect_keys(&self, members: &Members) {
        if !self.has_keys.swap(true, Ordering::Relaxed) {
            self.refresh(members, false);
        }
    }

    /// Requests in flight to all its members.
    pub fn in_flight(&self) -> u32 {
        self.roster.load().seats.iter().map(|seat| seat.member.in_flight()).sum()
    }

    /// The members it has.
    pub fn size(&self) -> usize {
        self.roster.load().seats.len()
    }

    /// Where members are found, other than in the release.
    pub fn sources(&self) -> impl Iterator<Item = Source> {
        let names = self.spec.members.iter().filter(|member| member.is_found());
        let names = names.map(|member| Source::Name(member.at.clone()));
        names.chain(self.spec.members_file.clone().map(Source::File))
    }

    /// Takes in what was found at one of its sources, if it is news.
    pub fn find(&self, source: &Source, found: &Arc<[Found]>) -> bool {
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = all.get(source).is_none_or(|known| !Arc::ptr_eq(known, found) && known != found);
        if is_news {
            all.insert(source.clone(), found.clone());
        }
        is_news
    }

    /// Brings the roster in line with how things stand, if it is not.
    pub fn refresh(&self, members: &Members, is_news: bool) {
        let now = time::nanos_since_start();
        // One at a time: seats of before must not take the place of those that were found meanwhile.
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.roster.load();
        let has_keys = self.has_keys.load(Ordering::Relaxed);
        let is_true = before.is_true(now) && before.has_keys() == has_keys;
        if !is_news && is_true {
            return;
        }
        let seats = if is_news { self.seats(&found, members) } else { before.seats.to_vec() };
        let roster = Roster::new(seats, &self.spec.balance, has_keys, &before, now);
        self.roster.store(Arc::new(roster));
    }

    /// It is the one that serves: its members that are drained are so from now on, and no others of its name.
    pub fn serves(&self) {
        let roster = self.roster.load();
        let drained = roster.seats.iter().filter(|seat| seat.is_drained()).map(|seat| seat.member.id);
        self.lasting.drains(&drained.collect::<Vec<_>>(), time::nanos_since_start());
    }

    /// The seats that the release and the sources give.
    fn seats(&self, found: &BTreeMap<Source, Arc<[Found]>>, members: &Members) -> Vec<Seat> {
        let mut seats: Vec<Seat> = Vec::new();
        let mut weights: Vec<u64> = Vec::new();
        let mut seated = HashSet::new();
        let mut seat = |address, weight, zone: Option<&str>, drains: bool| {
            // Whoever is named first counts: an address of a name may also be there by itself.
            let member = members.at(address);
            if !seated.insert(member.id) {
                return;
            }
            let drained = drains.then(|| self.lasting.drained(member.id));
            let checked = self.check.as_ref().map(|check| members.checked(address, &self.transport, check));
            let zone: Option<Arc<str>> = zone.map(Into::into);
            let is_near = self.own_zone.is_none() || zone == self.own_zone;
            weights.push(weight);
            seats.push(Seat { member, checked, weight: 0, zone, is_near, drained });
        };
        for spec in &self.spec.members {
            let MemberSpec { at, weight, zone, drain } = spec;
            if let Whereabouts::Address(address) = at {
                seat(address, u64::from(*weight), zone.as_deref(), *drain);
                continue;
            }
            for found in found.get(&Source::Name(at.clone())).into_iter().flat_map(|found| found.iter()) {
                let weight = u64::from(*weight) * u64::from(found.weight.unwrap_or(1));
                seat(&found.address, weight, found.zone.as_deref().or(zone.as_deref()), *drain);
            }
        }
        if let Some(file) = &self.spec.members_file {
            for found in found.get(&Source::File(file.clone())).into_iter().flat_map(|found| found.iter()) {
                seat(&found.address, found.weight.unwrap_or(1).into(), found.zone.as_deref(), false);
            }
        }
        for (seat, weight) in seats.iter_mut().zip(bounded(&weights)) {
            seat.weight = weight;
        }
        seats
    }
}

impl InUse {
    /// The member has begun to answer, after this time.
    pub fn answered(&self, status: StatusCode, after: Duration) {
        self.member.answer(after);
        if is_failure(status) {
            return self.fail(Cause::Answered(status));
        }
        self.has_answered.set(true);
        let breaker = &self.member.breaker;
        if !breaker.is_closed() {
            let now = time::nanos_since_start();
            // Where all members are used, this may be any request. It can be reached, then, if that was what it lacked.
            let shows = breaker.state(now) == State::HalfOpen || breaker.is_unreachable();
            if shows {
                // First: a roster that shows it as fit is to know since when.
                self.member.came_back(now);
            }
            if shows && breaker.close(now) {
                self.pool.tell(&self.member, Deed::CameBack);
            }
        }
        self.end_trial();
    }

    /// The member failed a request.
    pub fn failed(&self, error: &Error) {
        self.fail(match error {
            Error::Connect(..) => Cause::Unreachable(error.to_string()),
            _ => Cause::Failed(error.to_string()),
        });
    }

    fn fail(&self, cause: Cause) {
        if self.has_failed.replace(true) {
            return;
        }
        let breaker = &self.member.breaker;
        self.member.fail();
        let failures = breaker.fail();
        let max = self.pool.spec.breaker.failures;
        if self.is_trial.get() || (max > 0 && failures >= max) {
            self.pool.open_breaker(&self.member, failures, cause);
        }
        self.end_trial();
    }

    /// What a trial is to show, its answer's head shows: the rest of it may take hours.
    fn end_trial(&self) {
        if self.is_trial.take() {
            self.member.breaker.end_trial();
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.end_trial();
        // Not before: the answer could have broken off.
        if self.has_answered.get() && !self.has_failed.get() {
            self.member.succeed();
        }
        self.member.end();
        if self.pool.spec.limits.are_set() {
            self.pool.lasting.queue.wake();
        }
    }
}

/// The same weights in proportion, and none above [`WEIGHT_MAX`]: those of DNS and those of the pool are multiplied.
fn bounded(weights: &[u64]) -> impl Iterator<Item = u32> {
    let greatest = weights.iter().copied().max().unwrap_or(0).max(WEIGHT_MAX);
    let scale = move |weight: u64| u128::from(weight) * u128::from(WEIGHT_MAX) / u128::from(greatest);
    // Who had some weight keeps some.
    let scaled = move |weight: &u64| u32::try_from(scale(*weight)).expect("within the bound").max((*weight > 0).into());
    weights.iter().map(scaled)
}

/// Whether an answer is the member's failure, and not the request's.
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502..=504)
}
