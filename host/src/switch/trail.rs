//! The way the host has gone: the releases that were current, in order, and where on it the host stands.
//!
//! As in a browser: a new release cuts off what lay ahead and becomes the end; `back` and `forward` move along.
//!
//! ```text
//! activate r1, r2, r3      r1  r2 [r3]
//! back                     r1 [r2] r3
//! back                    [r1] r2  r3
//! forward                  r1 [r2] r3
//! forward 1, back 2       [r1] r2  r3
//! back                    [r1] r2  r3      refused: there is nothing further back
//! forward --to r3          r1  r2 [r3]
//! back, activate r4        r1  r2 [r4]     r3 is kept, and can be activated by its number
//! back                     r1 [r2] r4
//! ```
//!
//! When one vip alone goes back, what serves is a release that never was before: the vip as it was in an earlier one, the
//! rest as it is. It lies on the way between the two: right after the one that the vip returned to. So `back` never
//! brings anything forward, and the release that was gone back from lies ahead.
//!
//! ```text
//! r1: shop 1, docs 1
//! r2: shop 2, docs 1       r1  r2
//! r3: shop 2, docs 3       r1  r2 [r3]
//! back --vip shop          r1 [r4] r2  r3   r4: shop 1, docs 3
//! back                    [r1] r4  r2  r3
//! forward 3                r1  r4  r2 [r3]
//! back --vip docs          r1  r4 [r2] r3   as it was before docs 3: that is r2, and no new release
//! forward --vip docs       r1  r4  r2 [r3]
//! ```

use serde::{Deserialize, Serialize};

/// Steps remembered; the oldest are dropped.
const STEPS_MAX: usize = 64;

/// Releases by number, and which of them is current. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trail {
    steps: Vec<u64>,
    at: usize,
}

impl Trail {
    /// A trail of one step.
    pub fn starting_at(release: u64) -> Self {
        Self { steps: vec![release], at: 0 }
    }

    /// All steps, oldest first.
    pub fn steps(&self) -> &[u64] {
        &self.steps
    }

    /// The position of the current one among the steps.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The current release.
    pub fn current(&self) -> u64 {
        // A trail that was read from a file may say anything.
        self.steps.get(self.at).or(self.steps.last()).copied().unwrap_or(0)
    }

    /// The release that `back` would activate.
    pub fn behind(&self) -> Option<u64> {
        self.steps.get(self.at.checked_sub(1)?).copied()
    }

    /// The release that `forward` would activate.
    pub fn ahead(&self) -> Option<u64> {
        self.steps.get(self.at + 1).copied()
    }

    /// The releases at most `steps` away from the current one, which is the first; then the nearest, behind before ahead.
    pub fn reach(&self, steps: usize) -> Vec<u64> {
        let behind = (1..=steps).map(|steps| self.at.checked_sub(steps));
        let ahead = (1..=steps).map(|steps| self.at.checked_add(steps));
        let positions =
            std::iter::once(Some(self.at)).chain(behind.zip(ahead).flat_map(|(behind, ahead)| [behind, ahead]));
        positions.flatten().filter_map(|at| self.steps.get(at).copied()).collect()
    }

    /// The step before this release, if it is on the trail.
    pub fn before(&self, release: u64) -> Option<u64> {
        let at = self.steps.iter().position(|step| *step == release)?;
        self.steps.get(at.checked_sub(1)?).copied()
    }

    /// The trail after a release was activated.
    #[must_use]
    pub fn then(&self, release: u64) -> Self {
        let mut steps = self.steps[..=self.at.min(self.steps.len() - 1)].to_vec();
        steps.push(release);
        steps.drain(..steps.len().saturating_sub(STEPS_MAX));
        Self { at: steps.len() - 1, steps }
    }

    /// The trail this many steps back, where it goes so far.
    pub fn back(&self, steps: usize) -> Option<Self> {
        self.standing_at(self.at.checked_sub(steps)?)
    }

    /// The trail this many steps forward, where it goes so far.
    pub fn forward(&self, steps: usize) -> Option<Self> {
        self.standing_at(self.at.checked_add(steps)?)
    }

    /// Where a release is, counted from the oldest step.
    pub fn position_of(&self, release: u64) -> Option<usize> {
        self.steps.iter().position(|step| *step == release)
    }

    /// The trail with another step at `position`, which is current.
    #[must_use]
    pub fn with(&self, release: u64, position: usize) -> Self {
        let mut steps = self.steps.clone();
        steps.insert(position.min(steps.len()), release);
        let dropped = steps.len().saturating_sub(STEPS_MAX);
        // Of too many steps the oldest go; but not the one that we stand on, and the one before it.
        let oldest = dropped.min(position.saturating_sub(1));
        steps.drain(..oldest);
        steps.truncate(STEPS_MAX);
        Self { steps, at: position - oldest }
    }

    fn standing_at(&self, at: usize) -> Option<Self> {
        (at < self.steps.len()).then(|| Self { steps: self.steps.clone(), at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drawing_holds() {
        let check = |trail: &Trail, steps: &[u64], current| {
            assert_eq!((trail.steps(), trail.current()), (steps, current));
        };
        let trail = Trail::starting_at(1).then(2).then(3);
        check(&trail, &[1, 2, 3], 3);
        let trail = trail.back(2).unwrap();
        check(&trail, &[1, 2, 3], 1);
        assert_eq!((trail.behind(), trail.ahead()), (None, Some(2)));
        let trail = trail.forward(1).unwrap().then(4);
        check(&trail, &[1, 2, 4], 4);
        assert_eq!((trail.behind(), trail.ahead()), (Some(2), None));
        check(&trail.back(1).unwrap(), &[1, 2, 4], 2);
    }

    #[test]
    fn the_ends_hold() {
        let trail = Trail::starting_at(1);
        assert_eq!((trail.back(1), trail.forward(1), trail.back(usize::MAX)), (None, None, None));
        assert_eq!(trail.forward(usize::MAX), None);
    }

    #[test]
    fn a_step_between_drops_neither_itself_nor_the_one_before_it() {
        let long = (2..=64).fold(Trail::starting_at(1), |trail, release| trail.then(release));
        let check = |position: usize, first, last| {
            let trail = long.with(99, position);
            assert_eq!((trail.steps().len(), trail.current()), (STEPS_MAX, 99));
            assert_eq!(
                (trail.behind(), trail.ahead()),
                (long.steps().get(position - 1).copied(), Some(position as u64 + 1))
            );
            assert_eq!((trail.steps()[0], trail.steps()[STEPS_MAX - 1]), (first, last));
        };
        check(1, 1, 63);
        check(2, 2, 64);
        check(40, 2, 64);
    }

    #[test]
    fn the_oldest_steps_are_dropped() {
        let trail = (2..=100).fold(Trail::starting_at(1), |trail, release| trail.then(release));
        assert_eq!((trail.steps().len(), trail.current(), trail.behind()), (STEPS_MAX, 100, Some(99)));
        assert_eq!(trail.reach(2), [100, 99, 98]);
        assert_eq!(trail.back(1).unwrap().reach(2), [99, 98, 100, 97]);
        assert_eq!((trail.before(99), trail.before(1)), (Some(98), None));
    }
}
