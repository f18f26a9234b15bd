//! One upstream address, and what is known of it for as long as it is known.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::balancer;
use super::breaker::Breaker;
use super::health::Checked;
use super::transport::Transport;
use crate::address::Address;
use crate::spec::check::CheckSpec;
use crate::time;

/// One upstream. Every release that names an address shares the same member.
#[derive(Debug)]
pub struct Member {
    /// Where it listens.
    pub address: Address,
    /// Names it in cookies and in tables of keys: the same in every process.
    pub id: u64,
    /// Leaves it alone for what it did to requests.
    pub breaker: Breaker,
    in_flight: AtomicU32,
    connections: AtomicU32,
    requests: AtomicU64,
    failures: AtomicU64,
    successes: AtomicU64,
    answers: AtomicU64,
    answer_micros: AtomicU64,
    /// Until when it wants no request that another member failed, in nanoseconds since the process started.
    left_alone_until: AtomicU64,
    /// When a connection to it was last opened, in nanoseconds since the process started; zero where the last try failed.
    reached_nanos: AtomicU64,
    /// When it came back, in nanoseconds since the process started; zero where it was never away.
    back_nanos: AtomicU64,
}

/// How long a connection that is gone still tells that others can be opened.
const JUST_NOW: Duration = Duration::from_secs(5);

/// What a member did up to now, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deeds {
    /// Requests sent to it.
    pub requests: u64,
    /// Of these, those that failed.
    pub failures: u64,
    /// And those that ended well.
    pub successes: u64,
    /// Those it answered.
    pub answers: u64,
    /// Time until these answers began, added up.
    pub answer_micros: u64,
}

impl Member {
    fn new(address: &Address) -> Self {
        Self {
            address: address.clone(),
            id: balancer::hash(address.to_string().as_bytes()),
            breaker: Breaker::default(),
            in_flight: 0.into(),
            connections: 0.into(),
            requests: 0.into(),
            failures: 0.into(),
            successes: 0.into(),
            answers: 0.into(),
            answer_micros: 0.into(),
            left_alone_until: 0.into(),
            reached_nanos: 0.into(),
            back_nanos: 0.into(),
        }
    }

    /// Requests sent to it that have not ended yet.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Connections to it, over all workers.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// What it did since it became known.
    pub fn deeds(&self) -> Deeds {
        Deeds {
            requests: self.requests.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            successes: self.successes.load(Ordering::Relaxed),
            answers: self.answers.load(Ordering::Relaxed),
            answer_micros: self.answer_micros.load(Ordering::Relaxed),
        }
    }

    /// How long ago it came back; `None` where it was never away.
    pub fn back_for(&self, now_nanos: u64) -> Option<Duration> {
        let back = self.back_nanos.load(Ordering::Relaxed);
        (back != 0).then(|| Duration::from_nanos(now_nanos.saturating_sub(back)))
    }

    /// It takes requests again.
    pub(super) fn came_back(&self, now_nanos: u64) {
        self.back_nanos.store(now_nanos.max(1), Ordering::Relaxed);
    }

    /// Whether it could be reached when that was last tried, and has a connection, or had one just now.
    pub fn is_reached(&self, now_nanos: u64) -> bool {
        let reached = self.reached_nanos.load(Ordering::Relaxed);
        let is_fresh = now_nanos.saturating_sub(reached) < JUST_NOW.as_nanos() as u64;
        reached > 0 && (is_fresh || self.connections() > 0)
    }

    /// A connection to it was opened, or could not be.
    pub(super) fn tried_to_reach(&self, is_reached: bool) {
        let reached = if is_reached { time::nanos_since_start().max(1) } else { 0 };
        self.reached_nanos.store(reached, Ordering::Relaxed);
    }

    /// Whether it wants no request that another member failed.
    pub fn is_left_alone(&self, now_nanos: u64) -> bool {
        now_nanos < self.left_alone_until.load(Ordering::Relaxed)
    }

    /// It said when it wants to be tried again.
    pub(super) fn leave_alone(&self, time: Duration) {
        let until = time::since_start(Instant::now() + time);
        self.left_alone_until.store(until, Ordering::Relaxed);
    }

    /// One more request, unless there are `max`; answers whether it may be sent.
    pub(super) fn begin(&self, max: Option<u32>) -> bool {
        // Looking first and adding then would let through as many as there are workers.
        let within = |now: u32| max.is_none_or(|max| now < max).then_some(now + 1);
        if self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_err() {
            return false;
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        true
    }

    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn fail(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// A request has ended well.
    pub(super) fn succeed(&self) {
        self.successes.fetch_add(1, Ordering::Relaxed);
        self.breaker.succeed();
    }

    /// An answer has begun, after this time.
    pub(super) fn answer(&self, after: Duration) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.answer_micros.fetch_add(u64::try_from(after.as_micros()).unwrap_or(0), Ordering::Relaxed);
    }
}

/// One connection to a member, counted until dropped.
pub struct Connected(Arc<Member>);

impl Connected {
    /// Counts one more.
    pub fn new(member: &Arc<Member>) -> Self {
        member.connections.fetch_add(1, Ordering::Relaxed);
        Self(member.clone())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All members that some pool still has, and what checks know of them.
#[derive(Default)]
pub struct Members(Mutex<Known>);

#[derive(Default)]
struct Known {
    members: HashMap<Address, Weak<Member>>,
    checked: HashMap<Address, Vec<Weak<Checked>>>,
    /// How many were known when those that are gone were looked for last.
    swept: usize,
}

impl Members {
    /// The member at this address: the one that is known, or a new one.
    pub fn at(&self, address: &Address) -> Arc<Member> {
        let mut known = self.known();
        if let Some(member) = known.members.get(address).and_then(Weak::upgrade) {
            return member;
        }
        known.sweep();
        let member = Arc::new(Member::new(address));
        known.members.insert(address.clone(), Arc::downgrade(&member));
        member
    }

    /// What this check knows of a member.
    pub fn checked(&self, address: &Address, transport: &Arc<Transport>, check: &Arc<CheckSpec>) -> Arc<Checked> {
        let mut known = self.known();
        let others = known.checked.entry(address.clone()).or_default();
        others.retain(|checked| checked.strong_count() > 0);
        let others: Vec<_> = others.iter().filter_map(Weak::upgrade).collect();
        let is_same = |checked: &&Arc<Checked>| checked.transport.id == transport.id && checked.check == *check;
        if let Some(same) = others.iter().find(is_same) {
            return same.clone();
        }
        let checked = Arc::new(Checked::new(address.clone(), transport.clone(), check.clone()));
        // Another check of the same member knows something, too: a new path to ask for makes no member unknown. But not
        // one that has ended, nor one that speaks to it in another way, which it may not understand.
        let knows = |other: &&Arc<Checked>| other.is_probed() && other.transport.id == transport.id;
        if let Some(other) = others.iter().filter(knows).max_by_key(|other| other.health()) {
            checked.set(other.health(), &other.reason());
        }
        known.checked.entry(address.clone()).or_default().push(Arc::downgrade(&checked));
        checked
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Forgets those that are gone, whenever there are twice as many as the last time.
    fn sweep(&mut self) {
        if self.members.len() + self.checked.len() > 2 * self.swept + 64 {
            self.members.retain(|_, member| member.strong_count() > 0);
            self.checked.retain(|_, checked| checked.iter().any(|checked| checked.strong_count() > 0));
            self.swept = self.members.len() + self.checked.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_shared_while_it_is_known_and_forgotten_after() {
        let members = Members::default();
        let address = &"127.0.0.1:1".parse().unwrap();
        let first = members.at(address);
        assert!(first.begin(Some(1)) && !first.begin(Some(1)));
        assert_eq!(members.at(address).in_flight(), 1);
        drop(first);
        assert_eq!(members.at(address).in_flight(), 0);
    }
}
