//! When which pair is due.
//!
//! Times are spread by chance, so that neither a member that is in many pools nor the host meets all probes at once.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::Id;
use crate::random::Random;
use crate::spec::check::CheckSpec;

/// What is due within such a step is begun together, at its end. A thousand probes a second would otherwise wake the prober
/// a thousand times; twenty at once trouble nobody.
const STEP: Duration = Duration::from_millis(20);

/// Time between the first probes of pairs that came together: some are known soon, and many are no burst.
const APART: Duration = Duration::from_millis(1);

/// A pair's probes in time.
#[derive(Debug)]
pub(super) struct Times {
    /// When the last one began.
    pub(super) began: Instant,
    /// When the next one is due; `None` while one is under way.
    due: Option<Instant>,
    /// Whether there was none yet.
    is_new: bool,
}

/// Pairs by when they are due.
pub(super) struct Schedule {
    /// When it was made: what is due then is due before all else.
    start: Instant,
    due: BTreeSet<(Instant, Id)>,
    random: Random,
}

impl Default for Times {
    fn default() -> Self {
        Self { began: Instant::now(), due: None, is_new: true }
    }
}

impl Schedule {
    pub(super) fn new(seed: u64) -> Self {
        Self { start: Instant::now(), due: BTreeSet::new(), random: Random::seeded(seed) }
    }

    /// Takes the pair that is due for longest, if one is.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Id> {
        self.due.first().filter(|(due, _)| *due <= now)?;
        self.due.pop_first().map(|(_, id)| id)
    }

    /// When to look again: the end of the step in which the next pair is due.
    pub(super) fn next(&self) -> Option<Instant> {
        let (due, _) = self.due.first()?;
        let steps = due.saturating_duration_since(self.start).as_nanos().div_ceil(STEP.as_nanos());
        Some(self.start + STEP * u32::try_from(steps).unwrap_or(u32::MAX))
    }

    /// For how long the pair that is due for longest is due.
    pub(super) fn late(&self, now: Instant) -> Duration {
        // Those that are hurried say nothing about when they were due.
        let first = self.due.range((self.start + Duration::from_nanos(1), 0)..).next();
        first.map_or(Duration::ZERO, |(due, _)| now.saturating_duration_since(*due))
    }

    /// Makes one of `number` pairs due that came together.
    pub(super) fn first_probe(&mut self, id: Id, times: &mut Times, check: &CheckSpec, number: usize) {
        let spread = check.interval.min(APART * u32::try_from(number).unwrap_or(u32::MAX));
        let pause = self.part_of(spread);
        self.set(id, times, Instant::now() + pause);
    }

    /// Makes a pair due again whose probe has ended.
    pub(super) fn next_probe(&mut self, id: Id, times: &mut Times, check: &CheckSpec, is_in_doubt: bool) {
        let pause = if is_in_doubt { check.settle_interval.min(check.interval) } else { check.interval };
        let pause = if times.is_new {
            // From the second probe on those that came together are spread over the whole interval.
            self.part_of(pause)
        } else {
            pause.mul_f64(0.9) + self.part_of(pause.mul_f64(0.2))
        };
        times.is_new = false;
        // One that took longer than that is followed by the next at once, but behind all that is due by now.
        self.set(id, times, (times.began + pause).max(Instant::now()));
    }

    /// Makes a pair due before all that is due otherwise.
    pub(super) fn hurry(&mut self, id: Id, times: &mut Times) {
        self.cancel(id, times);
        self.set(id, times, self.start);
    }

    /// Makes a pair not due any more.
    pub(super) fn cancel(&mut self, id: Id, times: &Times) {
        if let Some(due) = times.due {
            self.due.remove(&(due, id));
        }
    }

    fn set(&mut self, id: Id, times: &mut Times, due: Instant) {
        times.due = Some(due);
        self.due.insert((due, id));
    }

    /// Some time from zero up to this one.
    fn part_of(&mut self, time: Duration) -> Duration {
        time.mul_f64(self.random.part())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_whose_probe_took_too_long_is_behind_what_became_due_meanwhile() {
        let (mut schedule, check) = (Schedule::new(7), CheckSpec::default());
        let (mut slow, mut other) = (Times::default(), Times::default());
        schedule.set(2, &mut other, Instant::now() + check.interval * 2);
        tokio::time::advance(check.interval * 3).await;
        schedule.next_probe(1, &mut slow, &check, false);
        assert_eq!((schedule.take_due(Instant::now()), schedule.take_due(Instant::now())), (Some(2), Some(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_in_one_step_is_looked_at_once() {
        let mut schedule = Schedule::new(7);
        assert_eq!(schedule.next(), None);
        for (id, millis) in [(1, 21), (2, 30), (3, 40)] {
            let due = Instant::now() + Duration::from_millis(millis);
            schedule.set(id, &mut Times::default(), due);
        }
        let next = schedule.next().unwrap();
        assert_eq!(next - Instant::now(), Duration::from_millis(40));
        let taken: Vec<_> = std::iter::from_fn(|| schedule.take_due(next)).collect();
        assert_eq!(taken, [1, 2, 3]);
    }
}
