//! How long a client may keep us waiting: a time of grace, and more for each byte that it moves.
//!
//! Only time spent waiting counts. So a body that trickles is ended however steadily it does so, and one that takes hours
//! because it is large, or because the member is slow, is not.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::alarm::Alarm;
use crate::spec::vip::VipLimits;

/// One direction of one exchange.
pub struct Pace {
    grace: Duration,
    rate_min: u32,
    waited: Duration,
    bytes: u64,
    since: Option<Instant>,
    /// Made when there is something to wait for, which most exchanges have not.
    alarm: Option<Alarm>,
}

impl Pace {
    /// A pace of which nothing is used up.
    pub fn new(limits: &VipLimits) -> Self {
        let (grace, rate_min) = (limits.client_timeout, limits.client_rate_min);
        Self { grace, rate_min, waited: Duration::ZERO, bytes: 0, since: None, alarm: None }
    }

    /// The client has moved so many bytes.
    pub fn moved(&mut self, bytes: usize) {
        // The clock is read only where there was something to wait for.
        let now = self.since.map(|_| Instant::now());
        self.moved_at(bytes, now);
    }

    /// Called where the client is waited for; ready once it has taken too long.
    pub fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline(Instant::now());
        let alarm = self.alarm.get_or_insert_with(|| Alarm::at(deadline));
        alarm.set(deadline);
        alarm.poll(cx)
    }

    fn moved_at(&mut self, bytes: usize, now: Option<Instant>) {
        self.bytes += bytes as u64;
        if let (Some(since), Some(now)) = (self.since.take(), now)
            && self.rate_min > 0
        {
            self.waited += now - since;
        }
    }

    /// When a wait that goes on at `now` has gone on for too long.
    fn deadline(&mut self, now: Instant) -> Instant {
        let since = *self.since.get_or_insert(now);
        let earned = self.bytes.checked_div(u64::from(self.rate_min)).unwrap_or(0);
        // A day is as good as for ever, and cannot overflow.
        let allowed = self.grace + Duration::from_secs(earned.min(86_400));
        since + allowed.saturating_sub(self.waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(client_rate_min: u32) -> Pace {
        Pace::new(&VipLimits { client_timeout: Duration::from_secs(10), client_rate_min, ..VipLimits::default() })
    }

    #[test]
    fn only_waiting_counts_and_bytes_earn_time() {
        let (mut pace, began) = (pace(100), Instant::now());
        let after = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(pace.deadline(began), after(10));
        pace.moved_at(500, Some(after(8)));
        // Not waited for until then: the member is slow. Two seconds of grace are left, and five were earned.
        assert_eq!(pace.deadline(after(100)), after(107));
        assert_eq!(pace.deadline(after(103)), after(107));
    }

    #[test]
    fn without_a_rate_every_wait_may_take_as_long() {
        let (mut pace, began) = (pace(0), Instant::now());
        pace.deadline(began);
        pace.moved_at(1, Some(began + Duration::from_secs(9)));
        let next = began + Duration::from_secs(9);
        assert_eq!(pace.deadline(next), next + Duration::from_secs(10));
    }
}
