//! How often one worker writes to the log: a pool that is gone must not turn every request into a line.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// Lines in one period; the rest are counted, and the first line of a later period says how many.
const LINES_MAX: u32 = 10;

/// The period.
const PERIOD: Duration = Duration::from_secs(1);

/// The lines that are left to a worker.
pub struct LogBudget {
    began: Cell<Instant>,
    asked: Cell<u32>,
}

impl Default for LogBudget {
    fn default() -> Self {
        Self { began: Cell::new(Instant::now()), asked: Cell::new(0) }
    }
}

impl LogBudget {
    /// Takes a line. `Some` with the number of lines that were left out since the last, or `None` where this one is, too.
    pub fn spend(&self) -> Option<u32> {
        self.spend_at(Instant::now())
    }

    fn spend_at(&self, now: Instant) -> Option<u32> {
        let mut left_out = 0;
        if now.duration_since(self.began.get()) >= PERIOD {
            left_out = self.asked.get().saturating_sub(LINES_MAX);
            self.began.set(now);
            self.asked.set(0);
        }
        self.asked.set(self.asked.get().saturating_add(1));
        (self.asked.get() <= LINES_MAX).then_some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_budget_are_counted() {
        let budget = LogBudget::default();
        let now = Instant::now();
        assert_eq!((0..15).filter(|_| budget.spend_at(now) == Some(0)).count(), 10);
        assert_eq!((budget.spend_at(now + PERIOD), budget.spend_at(now + PERIOD)), (Some(5), Some(0)));
    }
}
