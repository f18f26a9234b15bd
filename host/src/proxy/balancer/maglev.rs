//! Which member a key belongs to: a table that keys are looked up in (Eisenbud et al., "Maglev", NSDI 2016).
//!
//! Equal keys meet the same member, in every worker and every proxy that has the same members. Members have their share
//! of the table to within a place, and when one leaves or comes little more than its own keys move. What a request costs
//! is one look at a table, however many members there are.
//!
//! Members that cannot be reached stay in the table, and their keys go to their successors: back again, they have the
//! same keys as before. A new table is for a new list, or new weights.

mod successors;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub use self::successors::Successors;
use super::below;
use crate::random::mix;

/// The hash of a member's identity, and its weight.
pub type Weighted = (u64, u32);

/// The table, made from one list of members.
pub struct Table {
    places: Places,
    /// Those that weigh anything, in an order of their own.
    members: Box<[u32]>,
}

/// The member of each place.
enum Places {
    /// Where numbers are small: more of it stays in the cache.
    Narrow(Box<[u16]>),
    Wide(Box<[u32]>),
}

/// A place that nobody has taken yet.
const FREE: u32 = u32::MAX;

impl Table {
    /// The table of these members; a weight of 0 is no place at all, and one that is less than half a place's may be none.
    pub fn new(members: &[Weighted]) -> Self {
        // Those of no weight count: to take a member out by its weight must not change the size.
        Self::of_size(members, size(members.len()))
    }

    fn of_size(members: &[Weighted], size: u32) -> Self {
        // By hash: the order of the list says nothing, and must not matter.
        let mut ranked: Vec<_> =
            (0_u32..).zip(members.iter().copied()).filter(|(_, (_, weight))| *weight > 0).collect();
        ranked.sort_unstable_by_key(|(member, (hash, _))| (*hash, *member));
        let places = fill(&ranked, size);
        let narrow: Result<_, _> = places.iter().map(|member| u16::try_from(*member)).collect();
        let places = narrow.map_or_else(|_| Places::Wide(places.into()), Places::Narrow);
        Self { places, members: ranked.into_iter().map(|(member, _)| member).collect() }
    }

    /// The member of this key; nobody's if nobody weighs anything. The hash is to be [`super::hash`], or as good a one.
    pub fn at(&self, key_hash: u64) -> Option<usize> {
        if self.members.is_empty() {
            return None;
        }
        Some(match &self.places {
            Places::Narrow(places) => usize::from(places[index(key_hash, places.len())]),
            Places::Wide(places) => places[index(key_hash, places.len())] as usize,
        })
    }

    /// Every member that weighs anything, once: the key's own, then those that take its place, in an order that belongs to
    /// the key. So the keys of one that is gone are spread over all others, by their weights.
    pub fn successors(&self, key_hash: u64) -> Successors<'_> {
        Successors::new(self, key_hash)
    }
}

fn index(key_hash: u64, len: usize) -> usize {
    usize::try_from(below(key_hash, len as u64)).expect("less than the length")
}

/// How many places the table of so many members has: a prime number.
///
/// Keys that move when one of n members leaves, as a multiple of the n-th part that must (measured, equal weights):
///
/// | places | n = 2 | 10 | 30 | 100 | 300 | 1,000 | 10,000 |
/// |---|---|---|---|---|---|---|---|
/// | 65,537 | 1.00 | 1.02 | 1.11 | 1.57 | 3.5 | 6.7 | |
/// | 262,139 | 1.00 | 1.01 | 1.06 | 1.24 | 2.0 | 5.9 | 9.1 |
/// | 655,373 | 1.00 | 1.01 | 1.03 | 1.14 | 1.6 | 4.2 | 9.3 |
///
/// With the sizes that are used, that is never more than 0.5% of all keys beyond what must move (the most is at 64
/// members, 1.30 times). Between two sizes nearly all keys move, so there are only two. The lesser takes 128 KiB and up to
/// 5 ms to make; the greater 1.3 MB (2.6 MB from 65,537 members on) and 60 to 90 ms, and its shares differ by a hundredth
/// at most up to 6,553 members.
fn size(members: usize) -> u32 {
    if members <= 64 { 65_537 } else { 655_373 }
}

/// Lets members take places in turn, each the first that is free in an order of its own, until none is left.
fn fill(ranked: &[(u32, Weighted)], size: u32) -> Vec<u32> {
    let mut places = vec![FREE; if ranked.is_empty() { 0 } else { size as usize }];
    let mut walks: Vec<_> = ranked.iter().map(|(_, (hash, _))| Walk::new(*hash, size)).collect();
    // In the middle of the time that a turn has, by weight. It depends on no other member, so the others' order stays when
    // one leaves.
    let due = |had: u64, rank: usize| ((2 * had + 1) << 40) / u64::from(ranked[rank].1.1);
    let mut turns: BinaryHeap<_> = (0..ranked.len()).map(|rank| Reverse((due(0, rank), rank, 0))).collect();
    for _ in 0..places.len() {
        let mut next = turns.peek_mut().expect("a member for as long as there are places");
        let Reverse((_, rank, had)) = *next;
        let place = walks[rank].find(|place| places[*place as usize] == FREE).expect("a walk meets every place");
        places[place as usize] = ranked[rank].0;
        *next = Reverse((due(had + 1, rank), rank, had + 1));
    }
    places
}

/// A member's order of places: in steps of one length through a prime number of them, so it meets them all.
struct Walk {
    at: u32,
    step: u32,
    size: u32,
}

impl Walk {
    fn new(hash: u64, size: u32) -> Self {
        let number = |random, range: u32| u32::try_from(below(random, range.into())).expect("less than the range");
        Self { at: number(mix(hash), size), step: 1 + number(mix(mix(hash)), size - 1), size }
    }
}

impl Iterator for Walk {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let here = self.at;
        self.at = (here + self.step) % self.size;
        Some(here)
    }
}

#[cfg(test)]
mod tests;
