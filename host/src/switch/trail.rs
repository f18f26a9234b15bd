//! The way the host has gone: the releases that were current, in order, and where on it the host stands.
//!
//! As in a browser: a new release cuts off what lay ahead and becomes the end; `back` and `forward` move along.
//!
//! ```text
//! activate r1, r2, r3      r1  r2 [r3]
//! back                     r1 [r2] r3
//! back                    [r1] r2  r3
//! forward                  r1 [r2] r3
//! activate r4              r1  r2 [r4]      r3 is kept, and can be activated by its number
//! back                     r1 [r2] r4
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

    /// The trail after a step back; the same at its beginning.
    #[must_use]
    pub fn step_back(&self) -> Self {
        Self { steps: self.steps.clone(), at: self.at.saturating_sub(1) }
    }

    /// The trail after a step forward; the same at its end.
    #[must_use]
    pub fn step_forward(&self) -> Self {
        Self { steps: self.steps.clone(), at: (self.at + 1).min(self.steps.len() - 1) }
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
        let trail = trail.step_back().step_back();
        check(&trail, &[1, 2, 3], 1);
        assert_eq!((trail.behind(), trail.ahead()), (None, Some(2)));
        let trail = trail.step_forward().then(4);
        check(&trail, &[1, 2, 4], 4);
        assert_eq!((trail.behind(), trail.ahead()), (Some(2), None));
        check(&trail.step_back(), &[1, 2, 4], 2);
    }

    #[test]
    fn the_ends_hold() {
        let trail = Trail::starting_at(1);
        assert_eq!(trail.step_back(), trail);
        assert_eq!(trail.step_forward(), trail);
    }

    #[test]
    fn the_oldest_steps_are_dropped() {
        let trail = (2..=100).fold(Trail::starting_at(1), |trail, release| trail.then(release));
        assert_eq!((trail.steps().len(), trail.current(), trail.behind()), (STEPS_MAX, 100, Some(99)));
        assert_eq!(trail.reach(2), [100, 99, 98]);
        assert_eq!(trail.step_back().reach(2), [99, 98, 100, 97]);
        assert_eq!((trail.before(99), trail.before(1)), (Some(98), None));
    }
}
