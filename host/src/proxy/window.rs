//! What a member did lately: the last ten seconds, second by second.

use std::collections::VecDeque;

use super::member::Deeds;

/// Seconds that are looked back on.
const SECONDS: usize = 10;

/// What a member had done at the end of each of the last seconds.
#[derive(Debug, Default)]
pub struct Window(VecDeque<Deeds>);

impl Window {
    /// A second has passed. Answers what was done within the window.
    pub fn tick(&mut self, now: Deeds) -> Deeds {
        if self.0.len() > SECONDS {
            self.0.pop_front();
        }
        // A member that was forgotten and came again begins at nothing.
        let before = self.0.front().copied().unwrap_or(now);
        self.0.push_back(now);
        Deeds {
            requests: now.requests.saturating_sub(before.requests),
            failures: now.failures.saturating_sub(before.failures),
            successes: now.successes.saturating_sub(before.successes),
            answers: now.answers.saturating_sub(before.answers),
            answer_micros: now.answer_micros.saturating_sub(before.answer_micros),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_ago_than_ten_seconds_is_forgotten() {
        let mut window = Window::default();
        let deeds = |requests| Deeds { requests, ..Deeds::default() };
        assert_eq!(window.tick(deeds(5)).requests, 0);
        assert_eq!(window.tick(deeds(25)).requests, 20);
        for _ in 0..8 {
            assert_eq!(window.tick(deeds(25)).requests, 20);
        }
        assert_eq!(window.tick(deeds(26)).requests, 21);
        assert_eq!(window.tick(deeds(26)).requests, 1);
    }
}
