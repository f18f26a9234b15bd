//! The share of its requests that a member gets while it is new, or back: few at first, so that what it must load and
//! warm up does not meet its whole load at once.

use std::time::Duration;

/// What it begins with: enough to warm up by.
const FIRST_THOUSANDTHS: u32 = 100;

/// Thousandths of a member's weight, `since` it came, until `window` is over: grows with time from a tenth to the whole
/// (as Envoy's slow start with an aggression of 1: the tenth is the least, not what is added to).
pub fn thousandths(since: Duration, window: Duration) -> u32 {
    if since >= window {
        return 1000;
    }
    let grown = since.as_nanos() * 1000 / window.as_nanos();
    u32::try_from(grown).expect("less than the whole").max(FIRST_THOUSANDTHS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_grows_from_a_tenth_to_the_whole() {
        let check = |since, expected| {
            assert_eq!(thousandths(Duration::from_millis(since), Duration::from_secs(30)), expected);
        };
        check(0, 100);
        check(3_000, 100);
        check(3_030, 101);
        check(15_000, 500);
        check(29_999, 999);
        check(30_000, 1000);
        check(u64::MAX, 1000);
    }

    #[test]
    fn without_a_window_a_member_has_its_whole_share() {
        assert_eq!(thousandths(Duration::ZERO, Duration::ZERO), 1000);
        assert_eq!(thousandths(Duration::ZERO, Duration::MAX), 100);
    }
}
