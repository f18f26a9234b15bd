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
        self.bytes += bytes as u64;
        if let Some(since) = self.since.take()
            && self.rate_min > 0
        {
            self.waited += since.elapsed();
        }
    }

    /// Called where the client is waited for; ready once it has taken too long.
    pub fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let earned = if self.rate_min == 0 { 0 } else { self.bytes / u64::from(self.rate_min) };
        // A day is as good as for ever, and cannot overflow.
        let left = (self.grace + Duration::from_secs(earned.min(86_400))).saturating_sub(self.waited);
        let alarm = self.alarm.get_or_insert_with(|| Alarm::after(left));
        alarm.set(since + left);
        alarm.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_waiting_counts_and_bytes_earn_time() {
        let limits =
            VipLimits { client_timeout: Duration::from_secs(10), client_rate_min: 100, ..VipLimits::default() };
        let mut pace = Pace::new(&limits);
        let began = Instant::now();
        let waits = |pace: &mut Pace| {
            std::task::Poll::is_pending(&pace.poll_overdue(&mut Context::from_waker(std::task::Waker::noop())))
        };
        assert!(waits(&mut pace));
        tokio::time::advance(Duration::from_secs(8)).await;
        pace.moved(500);
        // Not waited for: the member is slow.
        tokio::time::advance(Duration::from_secs(100)).await;
        std::future::poll_fn(|cx| pace.poll_overdue(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 108 + 7);
    }
}
