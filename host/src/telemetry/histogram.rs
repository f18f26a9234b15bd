//! How long things take, in buckets that each worker counts in its own slot.
//!
//! The boundaries are those of a Prometheus native histogram of schema 1, powers of the square root of 2 in seconds, so
//! that one which is scraped as native, or converted, loses nothing. A time is put in its bucket by integers alone.

use std::time::Duration;

use super::Count;

/// Boundaries: 2^-22 s (238 ns), in half powers of 2, to 2^10 s (17 minutes). What took longer is in one bucket more.
pub const BOUNDS: usize = 65;

/// The power of 2 that the first boundary is.
const FIRST_POWER: i32 = -22;

/// What takes up to each boundary, in whole nanoseconds.
const BOUND_NANOS: [u64; BOUNDS] = {
    let mut bounds = [0; BOUNDS];
    let mut at = 0;
    while at < BOUNDS {
        bounds[at] = (seconds(at) * 1e9) as u64;
        at += 1;
    }
    bounds
};

/// The first boundary that is not below each power of 2, in nanoseconds: where to begin to look.
const FIRST_BOUND: [u8; 64] = {
    let mut first = [0; 64];
    let mut power = 0;
    while power < 64 {
        let mut at = 0;
        while at < BOUNDS && BOUND_NANOS[at] < 1 << power {
            at += 1;
        }
        first[power] = at as u8;
        power += 1;
    }
    first
};

/// Times, written by one worker.
pub struct Histogram {
    buckets: [Count; BOUNDS + 1],
    nanos: Count,
}

/// Times of all workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramTotals {
    buckets: [u64; BOUNDS + 1],
    nanos: u64,
}

/// A boundary in seconds.
const fn seconds(bound: usize) -> f64 {
    let mut seconds = if bound.is_multiple_of(2) { 1.0 } else { std::f64::consts::SQRT_2 };
    let mut power = FIRST_POWER + (bound / 2) as i32;
    while power > 0 {
        seconds *= 2.0;
        power -= 1;
    }
    while power < 0 {
        seconds /= 2.0;
        power += 1;
    }
    seconds
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| Count::default()), nanos: Count::default() }
    }
}

impl Histogram {
    /// Something took so long.
    pub fn took(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(nanos)].add();
        self.nanos.add_many(nanos);
    }
}

/// The bucket that so many nanoseconds are in.
pub fn bucket_of(nanos: u64) -> usize {
    let mut at = usize::from(FIRST_BOUND[nanos.max(1).ilog2() as usize]);
    // Two steps at most: there are two boundaries between one power of 2 and the next.
    while at < BOUNDS && BOUND_NANOS[at] < nanos {
        at += 1;
    }
    at
}

/// The longest time that is in a bucket.
pub fn bound(bucket: usize) -> Duration {
    Duration::from_nanos(BOUND_NANOS[bucket])
}

impl Default for HistogramTotals {
    fn default() -> Self {
        Self { buckets: [0; BOUNDS + 1], nanos: 0 }
    }
}

impl HistogramTotals {
    /// The sum of these slots.
    pub fn of<'a>(slots: impl Iterator<Item = &'a Histogram>) -> Self {
        slots.fold(Self::default(), |mut sum, slot| {
            sum.buckets.iter_mut().zip(&slot.buckets).for_each(|(sum, bucket)| *sum += bucket.value());
            sum.nanos += slot.nanos.value();
            sum
        })
    }

    /// How many took up to each boundary from 2^`least` to 2^`most` seconds: what took less is in the first.
    pub fn up_to(&self, least: i32, most: i32) -> impl Iterator<Item = (f64, u64)> {
        let at = |power: i32| usize::try_from((power - FIRST_POWER) * 2).expect("a range within the boundaries");
        let mut sum: u64 = self.buckets[..at(least)].iter().sum();
        (at(least)..=at(most)).map(move |bound| {
            sum += self.buckets[bound];
            (seconds(bound), sum)
        })
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All their times together, in seconds.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_are_those_of_a_native_histogram_of_schema_1() {
        assert_eq!((seconds(0), seconds(44), seconds(64)), (1.0 / 4_194_304.0, 1.0, 1024.0));
        for bound in 0..BOUNDS {
            let exact = (f64::from(FIRST_POWER) + f64::from(u32::try_from(bound).unwrap()) / 2.0).exp2();
            assert!((seconds(bound) / exact - 1.0).abs() < 1e-15, "{bound}");
        }
    }

    #[test]
    fn a_time_is_in_the_first_bucket_whose_boundary_is_not_below_it() {
        let check = |nanos: u64| {
            let expected = BOUND_NANOS.iter().position(|bound| nanos <= *bound).unwrap_or(BOUNDS);
            assert_eq!(bucket_of(nanos), expected, "{nanos}");
        };
        for power in 0..64 {
            [(1 << power) - 1, 1 << power, (1 << power) + 1].into_iter().for_each(check);
        }
        BOUND_NANOS.into_iter().flat_map(|bound| [bound - 1, bound, bound + 1]).for_each(check);
        [0, u64::MAX].into_iter().for_each(check);
    }

    #[test]
    fn what_is_outside_a_range_is_in_its_first_bucket_or_above_its_last() {
        let histogram = Histogram::default();
        for time in [Duration::ZERO, Duration::from_millis(100), Duration::from_secs(3), Duration::from_secs(9_999)] {
            histogram.took(time);
        }
        let totals = HistogramTotals::of([&histogram, &histogram].into_iter());
        let cumulated: Vec<_> = totals.up_to(-4, 1).collect();
        assert_eq!((cumulated.len(), cumulated[0], cumulated[2]), (11, (0.0625, 2), (0.125, 4)));
        assert_eq!((cumulated[10], totals.count(), totals.sum()), ((2.0, 4), 8, Duration::from_millis(20_004_200)));
    }
}
