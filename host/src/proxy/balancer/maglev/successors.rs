//! Who answers for a key when its own member cannot.

use std::iter::successors;

use super::super::below;
use super::Table;
use crate::random::mix;

/// How many looks at the table there are, the first among them. When so many members are all away, what comes next
/// matters less than that it comes.
const LOOKS: usize = 8;

/// Members for one key, best first, each once.
///
/// The first come from the table, where the key is put in other places: by weight, and with the same steadiness when the
/// list changes. The rest come in turn, beginning anywhere and in steps of any length.
pub struct Successors<'a> {
    table: &'a Table,
    key_hash: u64,
    looked: usize,
    /// Whom the table named, so that nobody comes twice.
    named: [u32; LOOKS],
    named_len: usize,
    walk: Option<Walk>,
}

/// Through all members by a step that shares no divisor with their number, so that it meets each once.
struct Walk {
    at: usize,
    step: usize,
    len: usize,
    left: usize,
}

impl<'a> Successors<'a> {
    pub(super) fn new(table: &'a Table, key_hash: u64) -> Self {
        Self { table, key_hash, looked: 0, named: [0; LOOKS], named_len: 0, walk: None }
    }

    fn look(&mut self) -> Option<usize> {
        while self.looked < LOOKS {
            let member = self.table.at(self.key_hash)?;
            (self.key_hash, self.looked) = (mix(self.key_hash), self.looked + 1);
            if !self.is_named(member) {
                self.named[self.named_len] = u32::try_from(member).expect("the table holds numbers of 32 bits");
                self.named_len += 1;
                return Some(member);
            }
        }
        None
    }

    fn is_named(&self, member: usize) -> bool {
        self.named[..self.named_len].iter().any(|named| *named as usize == member)
    }
}

impl Iterator for Successors<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.walk.is_none()
            && let Some(member) = self.look()
        {
            return Some(member);
        }
        let members = &self.table.members;
        let mut walk = self.walk.take().unwrap_or_else(|| Walk::new(self.key_hash, members.len()));
        let next = walk.find(|place| !self.is_named(members[*place] as usize));
        self.walk = Some(walk);
        next.map(|place| members[place] as usize)
    }
}

impl Walk {
    fn new(random: u64, len: usize) -> Self {
        let number = |random| usize::try_from(below(random, len as u64)).expect("less than the length");
        // Most numbers share no divisor with another (6 of 10; the fewest, 2 of 10, where it has all small ones): one more
        // draw is soon enough, and 1 always will do.
        let draws = successors(Some(random), |random| Some(mix(*random))).skip(1).take(16);
        let step = draws.map(number).find(|step| gcd(*step, len) == 1).unwrap_or(1);
        Self { at: number(random), step, len, left: len }
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Iterator for Walk {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let here = self.at;
        self.at = (here + self.step) % self.len;
        Some(here)
    }
}
