//! A pool's members at a moment: who is there, who is fit, and whose turn it is.
//!
//! Made anew, away from the requests, whenever one of these changes; a request only looks something up in it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::balancer::{maglev, slow_start, turns::Turns, zones};
use super::member::Member;
use super::seat::{MemberState, Seat};
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
    states: Box<[MemberState]>,
    /// Percent of those in use that must be fit.
    panic_below: u8,
    drain_limit: Duration,
    by_load: bool,
    /// Whether some are on their way back to their whole part.
    is_passing: bool,
    made_nanos: u64,
    turns: Turns,
    table: Option<Arc<maglev::Table>>,
    by_id: HashMap<u64, usize>,
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

impl Roster {
    /// The roster of these seats as they are now. What `before` has that takes long to make is taken over where it fits.
    pub fn new(seats: Vec<Seat>, balance: &BalanceSpec, has_keys: bool, before: &Self, now_nanos: u64) -> Self {
        let states: Box<[MemberState]> = seats.iter().map(|seat| seat.state(now_nanos)).collect();
        let (fit, panics) = panics(states.iter().copied(), balance.panic_below);
        let mut is_passing = false;
        let part = |(seat, state): (&Seat, &MemberState)| {
            if *state == MemberState::Drained || !(state.is_fit() || panics) {
                return 0;
            }
            let back = seat.member.back_for(now_nanos).filter(|back| *back < balance.slow_start && !panics);
            is_passing |= back.is_some();
            seat.weight * back.map_or(1000, |back| slow_start::thousandths(back, balance.slow_start))
        };
        let mut parts: Vec<u32> = seats.iter().zip(&states).map(part).collect();
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
            states,
            panic_below: balance.panic_below,
            drain_limit: balance.drain_limit,
            by_load: balance.by == Balance::LeastRequests,
            is_passing,
            made_nanos: now_nanos,
            turns,
            table,
            by_id,
        }
    }

    /// Whether it shows the seats as they are now.
    pub fn is_true(&self, now_nanos: u64) -> bool {
        let made = Duration::from_nanos(now_nanos.saturating_sub(self.made_nanos));
        // A member may have been away, and back, before anybody looked.
        let is_as_it_was = |(seat, state): (&Seat, &MemberState)| {
            seat.state(now_nanos) == *state && seat.member.back_for(now_nanos).is_none_or(|back| back > made)
        };
        !self.is_passing && self.seats.iter().zip(&self.states).all(is_as_it_was)
    }

    /// Whether too few are fit now, whatever it was when this was made.
    pub fn must_panic(&self, now_nanos: u64) -> bool {
        !self.panics && panics(self.seats.iter().map(|seat| seat.state(now_nanos)), self.panic_below).1
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
            && (seat.keeps_clients(self.drain_limit, now_nanos) || panics && !seat.is_drained())
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
}

/// How many members are fit beyond doubt, and whether these are too few.
fn panics(states: impl Iterator<Item = MemberState>, panic_below: u8) -> (usize, bool) {
    let (mut in_use, mut fit) = (0, 0);
    for state in states {
        in_use += usize::from(state != MemberState::Drained);
        fit += usize::from(state == MemberState::Fit);
    }
    (fit, fit < in_use && (fit * 100 < in_use * usize::from(panic_below)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::member::Members;

    #[test]
    fn a_member_that_was_away_and_back_before_anybody_looked_begins_with_little() {
        let members = Members::default();
        let member = members.at(&"127.0.0.1:1".parse().unwrap());
        let seat = Seat { member, checked: None, weight: 1, zone: None, is_near: true, drained: None };
        let balance = BalanceSpec { slow_start: Duration::from_secs(1), ..BalanceSpec::default() };
        let made = |seats, now| Roster::new(seats, &balance, false, &Roster::default(), now);
        let before = made(vec![seat.clone()], 5);
        assert!(before.is_true(10) && before.is_calm());
        seat.member.came_back(10);
        assert!(!before.is_true(11));
        let (begins, later) = (made(vec![seat.clone()], 11), made(vec![seat], 2_000_000_000));
        assert!(!begins.is_true(12) && !begins.is_calm());
        assert!(later.is_true(2_000_000_001) && later.is_calm());
    }
}
