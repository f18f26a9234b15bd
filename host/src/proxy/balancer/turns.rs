//! A round of turns, made ahead: members come up as often as they weigh, and a heavy one's turns are spread out.
//!
//! Round-robin takes the turns in order, at a counter of the caller's. Two members by chance, for the power of two
//! choices (Mitzenmacher 2001), come from the same weights. Both are made when weights change; what a request costs is a
//! look at a table.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::below;
use crate::random::mix;

/// Turns in a round at most: 256 KiB, and a share that is right to a thousandth for members of a 65th each.
const LEN_MAX: u64 = 65_536;

/// The order of one round, and the weights that it was made from.
///
/// Over a round each member has its exact share, and at no point in it is a member a whole turn ahead or behind. Where
/// the weights need more than 65,536 turns (their sum over what divides them all), they are rounded to fit, but none to
/// nothing: a share is then off by less than (n + 1) / 65,536, where n members would have had less than one turn. More
/// members than that take their turns regardless of weight.
#[derive(Default)]
pub struct Turns {
    round: Box<[u32]>,
    /// For each member the sum of the weights up to and with it.
    ends: Box<[u64]>,
}

impl Turns {
    /// Turns of members that weigh so much; 0 is never.
    pub fn new(weights: &[u32]) -> Self {
        let sums = weights.iter().scan(0, |sum, weight| {
            *sum += u64::from(*weight);
            Some(*sum)
        });
        Self { ends: sums.collect(), round: spread(&counts(weights)) }
    }

    /// Whose turn it is; nobody's if nobody weighs anything.
    pub fn at(&self, turn: usize) -> Option<usize> {
        let place = turn.checked_rem(self.round.len())?;
        Some(self.round[place] as usize)
    }

    /// Two different members: the first by its share of the weights, the second by its share of the rest. Where only one
    /// weighs anything, it comes twice.
    pub fn two(&self, random: u64) -> Option<(usize, usize)> {
        let sum = self.ends.last().copied().filter(|sum| *sum > 0)?;
        let first = self.holder(below(random, sum));
        let (start, end) = (self.start(first), self.ends[first]);
        let rest = sum - (end - start);
        if rest == 0 {
            return Some((first, first));
        }
        // As if the first's stretch were cut out.
        let place = below(mix(random), rest);
        Some((first, self.holder(if place < start { place } else { place + (end - start) })))
    }

    fn start(&self, member: usize) -> u64 {
        member.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// In whose stretch this place is, when all weights are laid end to end.
    fn holder(&self, place: u64) -> usize {
        self.ends.partition_point(|end| *end <= place)
    }
}

/// Turns in a round for each member.
fn counts(weights: &[u32]) -> Vec<u64> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let mut counts: Vec<u64> = weights.iter().map(|weight| u64::from(weight / divisor)).collect();
    if counts.iter().sum::<u64>() > LEN_MAX {
        fit(&mut counts);
    }
    counts
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Scales to a round of the greatest length: one turn for whoever would have less, and for the others the rest by
/// largest remainder.
fn fit(counts: &mut [u64]) {
    let mut lightest_first: Vec<usize> = (0..counts.len()).filter(|member| counts[*member] > 0).collect();
    lightest_first.sort_by_key(|member| counts[*member]);
    let (mut turns, mut sum) = (LEN_MAX, counts.iter().sum::<u64>());
    let mut light = 0;
    for &member in &lightest_first {
        if counts[member] * turns >= sum {
            break;
        }
        sum -= counts[member];
        turns = turns.saturating_sub(1);
        counts[member] = 1;
        light += 1;
    }
    let mut left = turns;
    let mut by_remainder: Vec<(Reverse<u64>, usize)> = Vec::new();
    for &member in &lightest_first[light..] {
        by_remainder.push((Reverse(counts[member] * turns % sum), member));
        counts[member] = counts[member] * turns / sum;
        left -= counts[member];
    }
    by_remainder.sort_unstable();
    by_remainder.iter().take(usize::try_from(left).unwrap_or(usize::MAX)).for_each(|(_, member)| counts[*member] += 1);
}

/// A round in which each member's turns are as evenly spaced as can be (Tijdeman 1980, "The chairman assignment
/// problem"): a turn may not come before it is nearly due, and of those that may, the one that must come first does. Then
/// nobody is ever off by more than 1 - 1/(2n - 2) turns, of n members; nginx's smooth round-robin comes close, at n times
/// the work.
fn spread(counts: &[u64]) -> Box<[u32]> {
    let len: u64 = counts.iter().sum();
    let members = counts.iter().filter(|count| **count > 0).count() as u64;
    // All times are in parts of a turn, 2n - 2 of which are one.
    let parts = (2 * members).saturating_sub(2).max(1);
    // When the turn after so many others can come first, in turns from the start.
    let release = |count: u64, had: u64| (parts * had + 1).saturating_mul(len).div_ceil(parts * count);
    // When it must come last. Fractions of different members are 2^-32 apart at least, as no count is above 2^16.
    let deadline = |count: u64, had: u64| (u128::from(parts * (had + 1) - 1) << 33) / u128::from(count);

    let mut waiting: BinaryHeap<_> = (0_u32..)
        .zip(counts)
        .filter(|(_, count)| **count > 0)
        .map(|(member, &count)| Reverse((release(count, 0), member, 0)))
        .collect();
    let mut ready = BinaryHeap::new();
    let turns = (1..=len).map(|turn| {
        while let Some(&Reverse((release, member, had))) = waiting.peek()
            && release <= turn
        {
            waiting.pop();
            ready.push(Reverse((deadline(counts[member as usize], had), member, had)));
        }
        let Reverse((_, member, had)) = ready.pop().expect("as many turns are due as there are");
        let count = counts[member as usize];
        if had + 1 < count {
            waiting.push(Reverse((release(count, had + 1), member, had + 1)));
        }
        member
    });
    turns.collect()
}

#[cfg(test)]
mod tests;
