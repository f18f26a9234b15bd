//! A pool's members at a moment: who is there, who is fit, and whose turn it is.
//!
//! Made anew, away from the requests, whenever one of these changes; a request only looks something up in it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::balancer::{maglev, slow_start, turns::Turns, zones};
use super::breaker::State;
use super::health::{Checked, Health};
use super::member::Member;
use super::pools::DrainedSince;
use crate::spec::pool::{Balance, BalanceSpec};

/// Seats looked at in a pool's order, before each is looked at.
const LOOKS_MAX: usize = 16;

/// A pool's members, as they stand.
#[derive(Default)]
pub struct Roster {
    /// All of them, those that are drained included.
    pub seats: Box<[Seat]>,
    /// Whether all are used, as too few are fit.
    pub panics: bool,
    /// Those that are fit for new requests, beyond doubt.
    pub fit: usize,
    /// How each stood: what to compare with.
    standings: Box<[Standing]>,
    /// Percent of those in use that must be fit.
    panic_below: u8,
    drain_limit: Duration,
    by_load: bool,
    /// Whether some are on their way back to their whole part.
    is_passing: bool,
    turns: Turns,
    table: Option<Arc<maglev::Table>>,
    by_id: HashMap<u64, usize>,
}

/// A member in one pool.
#[derive(Clone)]
pub struct Seat {
    /// The member.
    pub member: Arc<Member>,
    /// What checks say; `None` where there are none.
    pub checked: Option<Arc<Checked>>,
    /// Its part of the requests, beside those of the others: 65,535 at most.
    pub weight: u32,
    /// Its zone.
    pub zone: Option<Arc<str>>,
    /// Whether it is in the proxy's own zone, or no zones are told apart.
    pub is_near: bool,
    /// Since when it gets no new requests; `None` where it does.
    pub drained: Option<Arc<DrainedSince>>,
}

/// Whether a member is fit for new requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unfit,
    /// One at a time: whether it is fit is yet to be seen.
    OnTrial,
    Fit,
}

/// What is asked of a pool for one request.
#[derive(Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// The member that the client is bound to.
    pub bound: Option<u64>,
    /// Requests with equal keys go to the same member.
    pub key: Option<u64>,
    /// Members that were tried already.
    pub tried: &'a [Arc<Member>],
    /// A number that nobody can tell beforehand.
    pub random: u64,
}

impl Seat {
    /// Whether it is fit for new requests.
    pub fn is_fit(&self, now_nanos: u64) -> bool {
        self.standing(now_nanos) != Standing::Unfit
    }

    fn standing(&self, now_nanos: u64) -> Standing {
        match self.member.breaker.state(now_nanos) {
            _ if self.is_drained() || !self.is_well() => Standing::Unfit,
            State::Open => Standing::Unfit,
            State::HalfOpen => Standing::OnTrial,
            State::Closed => Standing::Fit,
        }
    }

    /// Whether it gets no new requests.
    pub fn is_drained(&self) -> bool {
        self.drained.is_some()
    }

    /// Whether it is not drained, or not for so long that clients that are bound to it have to go.
    fn may_keep_clients(&self, limit: Duration, now_nanos: u64) -> bool {
        let since = self.drained.as_ref().map_or(0, |since| since.load(Ordering::Relaxed));
        since == 0 || u128::from(now_nanos.saturating_sub(since)) < limit.as_nanos()
    }

    /// Whether checks say nothing against it.
    pub fn is_well(&self) -> bool {
        self.checked.as_ref().is_none_or(|checked| checked.health() == Health::Healthy)
    }

    /// Requests in flight for each part of its weight, in thousandths: what one more would find.
    fn load(&self) -> u64 {
        (u64::from(self.member.in_flight()) + 1) * 1000 / u64::from(self.weight.max(1))
    }
}

impl Roster {
    /// The roster of these seats as they are now. What `before` has that takes long to make is taken over where it fits.
    pub fn new(seats: Vec<Seat>, balance: &BalanceSpec, has_keys: bool, before: &Self, now_nanos: u64) -> Self {
        let standings: Box<[Standing]> = seats.iter().map(|seat| seat.standing(now_nanos)).collect();
        let (fit, panics) = panics(&seats, balance.panic_below, now_nanos);
        let mut is_passing = false;
        let part = |(seat, standing): (&Seat, &Standing)| {
            if seat.is_drained() || (*standing == Standing::Unfit && !panics) {
                return 0;
            }
            let back = seat.member.back_for(now_nanos).filter(|back| *back < balance.slow_start && !panics);
            is_passing |= back.is_some();
            seat.weight * back.map_or(1000, |back| slow_start::thousandths(back, balance.slow_start))
        };
        let mut parts: Vec<u32> = seats.iter().zip(&standings).map(part).collect();
        if seats.iter().any(|seat| !seat.is_near) {
            let seen = |(seat, part): (&Seat, &u32)| {
                let weight = match part {
                    0 if seat.is_drained() => 0,
                    0 => seat.weight * 1000,
                    part => *part,
                };
                zones::Seen { is_near: seat.is_near, is_available: *part > 0, weight }
            };
            parts = zones::weights(&seats.iter().zip(&parts).map(seen).collect::<Vec<_>>());
        }
        // Of all that are not drained, fit or not: keys go back to their member with it, and no others move.
        let entry = |seat: &Seat| (seat.member.id, if seat.is_drained() { 0 } else { seat.weight });
        let table = has_keys.then(|| match &before.table {
            Some(table) if before.seats.iter().map(entry).eq(seats.iter().map(entry)) => table.clone(),
            _ => Arc::new(maglev::Table::new(&seats.iter().map(entry).collect::<Vec<_>>())),
        });
        let by_id = match balance.sticky {
            Some(_) => seats.iter().enumerate().map(|(at, seat)| (seat.member.id, at)).collect(),
            None => HashMap::new(),
        };
        let turns = Turns::new(&parts);
        Self {
            seats: seats.into(),
            panics,
            fit,
            standings,
            panic_below: balance.panic_below,
            drain_limit: balance.drain_limit,
            by_load: balance.by == Balance::LeastRequests,
            is_passing,
            turns,
            table,
            by_id,
        }
    }

    /// Whether it shows the seats as they are now.
    pub fn is_true(&self, now_nanos: u64) -> bool {
        let mut seats = self.seats.iter().zip(&self.standings);
        !self.is_passing && seats.all(|(seat, standing)| seat.standing(now_nanos) == *standing)
    }

    /// Whether too few are fit now, whatever it was when this was made.
    pub fn must_panic(&self, now_nanos: u64) -> bool {
        !self.panics && panics(&self.seats, self.panic_below, now_nanos).1
    }

    /// Whether nothing in it changes just because time passes.
    pub fn is_calm(&self) -> bool {
        !self.is_passing && self.seats.iter().all(|seat| seat.member.breaker.is_closed())
    }

    /// Whether requests with keys find their members here.
    pub fn has_keys(&self) -> bool {
        self.table.is_some()
    }

    /// The seat for a request, which `takes` it: the first that does, of those that are fit, or of all in use where it
    /// `panics`.
    pub fn choose(
        &self,
        wanted: &Wanted<'_>,
        now_nanos: u64,
        panics: bool,
        turn: impl Fn() -> usize,
        mut takes: impl FnMut(&Seat) -> bool,
    ) -> Option<&Seat> {
        let is_new = |seat: &Seat| {
            let is_again = !wanted.tried.is_empty();
            let was_tried = wanted.tried.iter().any(|tried| Arc::ptr_eq(tried, &seat.member));
            !(was_tried || is_again && seat.member.is_left_alone(now_nanos))
        };
        if let Some(seat) = wanted.bound.and_then(|id| self.by_id.get(&id)).map(|at| &self.seats[*at])
            && is_new(seat)
            && (self.keeps(seat, now_nanos) || panics && !seat.is_drained())
            && takes(seat)
        {
            return Some(seat);
        }
        let may_be_asked = |seat: &Seat| seat.weight > 0 && (seat.is_fit(now_nanos) || panics && !seat.is_drained());
        let mut takes = |seat: &Seat| is_new(seat) && may_be_asked(seat) && takes(seat);
        if let (Some(key), Some(table)) = (wanted.key, &self.table) {
            let found = table.successors(key).take(LOOKS_MAX).map(|at| &self.seats[at]).find(|seat| takes(seat));
            if found.is_some() {
                return found;
            }
        } else if self.by_load
            && let Some((first, second)) = self.turns.two(wanted.random)
        {
            let (first, second) = (&self.seats[first], &self.seats[second]);
            let is_lighter = second.load() < first.load();
            let (lighter, other) = if is_lighter { (second, first) } else { (first, second) };
            if takes(lighter) {
                return Some(lighter);
            }
            if takes(other) {
                return Some(other);
            }
        }
        for _ in 0..LOOKS_MAX.min(self.seats.len() * 2) {
            match self.turns.at(turn()).map(|at| &self.seats[at]) {
                Some(seat) if takes(seat) => return Some(seat),
                Some(_) => {}
                None => break,
            }
        }
        // Each of them, from anywhere on.
        let (later, first) = self.seats.split_at(wanted.random as usize % self.seats.len().max(1));
        first.iter().chain(later).find(|seat| takes(seat))
    }

    /// Whether a member still gets the requests of those that are bound to it.
    fn keeps(&self, seat: &Seat, now_nanos: u64) -> bool {
        seat.may_keep_clients(self.drain_limit, now_nanos)
            && seat.is_well()
            && seat.member.breaker.state(now_nanos) != State::Open
    }
}

/// How many members are fit beyond doubt, and whether these are too few.
fn panics(seats: &[Seat], panic_below: u8, now_nanos: u64) -> (usize, bool) {
    let in_use = seats.iter().filter(|seat| !seat.is_drained()).count();
    let fit = seats.iter().filter(|seat| seat.standing(now_nanos) == Standing::Fit).count();
    (fit, fit < in_use && (fit * 100 < in_use * usize::from(panic_below)))
}
