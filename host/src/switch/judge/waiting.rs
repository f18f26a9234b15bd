//! Requests that wait for their answer for longer than is good: they have no time yet that could be counted.

use std::collections::VecDeque;
use std::time::Duration;

use crate::proxy::outcomes::SeriesTotals;

/// How often it is noted how many requests had begun. What waits is known to wait for up to this much longer.
const NOTED: Duration = Duration::from_millis(500);

/// Notes that are kept: a bit more than the longest time that is told apart.
const NOTES_MAX: usize = 140;

/// How many requests of one series had begun, lately.
#[derive(Default)]
pub(super) struct Waiting(VecDeque<(Duration, u64)>);

impl Waiting {
    /// How many have waited for longer than this, at least: whoever is answered may have begun after those that wait.
    pub(super) fn longer_than(&mut self, time: Duration, at: Duration, series: &SeriesTotals) -> u64 {
        if self.0.back().is_none_or(|(noted, _)| at >= *noted + NOTED) {
            if self.0.len() == NOTES_MAX {
                self.0.pop_front();
            }
            self.0.push_back((at, series.begun));
        }
        let Some(then) = at.checked_sub(time) else { return 0 };
        let begun_by_then = self.0.iter().rev().find(|(noted, _)| *noted <= then).map_or(0, |(_, begun)| *begun);
        begun_by_then.saturating_sub(series.times.count() + series.withdrawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_answered_for_longer_than_a_time_is_counted() {
        let mut waiting = Waiting::default();
        let second = Duration::from_secs(1);
        let series = |begun| SeriesTotals { begun, withdrawn: 10, ..SeriesTotals::default() };
        let waits = [100, 200, 300, 400].map(|begun| {
            let at = second * (begun / 100);
            waiting.longer_than(second * 2, at, &series(begun.into()))
        });
        assert_eq!(waits, [0, 0, 90, 190]);
        assert_eq!(Waiting::default().longer_than(Duration::MAX, second, &series(100)), 0);
    }
}
