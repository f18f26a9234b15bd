//! Whether a difference between two samples is more than chance: the statistics of the judge, and nothing else.
//!
//! The test is Fisher's exact test, one-sided: how likely at least so many bad ones would be in the newer sample, if both
//! came from the same source. It is exact at every size, so that nothing depends on there being enough bad ones for an
//! approximation. Whoever looks many times finds something by chance; so the chance that is allowed for in all is spent
//! over the looks, and the sum of what is spent bounds the chance of any false alarm (the union bound).

use std::f64::consts::{LN_10, PI, SQRT_2};

/// Some requests, and how many of them were bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The bad ones.
    pub bad: u64,
    /// All of them.
    pub of: u64,
}

impl Sample {
    /// The share of the bad ones; zero of none.
    pub fn share(self) -> f64 {
        if self.of == 0 { 0.0 } else { self.bad as f64 / self.of as f64 }
    }

    /// What came since `before`, which is the same earlier.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        let of = self.of.saturating_sub(before.of);
        Self { bad: self.bad.saturating_sub(before.bad).min(of), of }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { bad: self.bad + other.bad, of: self.of + other.of }
    }
}

/// How likely something would be by chance. Kept as its logarithm: one in 10^400 is not zero.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Chance {
    ln: f64,
}

impl Chance {
    /// This probability.
    pub fn of(probability: f64) -> Self {
        Self { ln: probability.ln() }
    }

    /// As a number; zero where it is below what a number can be.
    pub fn probability(self) -> f64 {
        self.ln.exp()
    }
}

impl std::fmt::Display for Chance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let power = (self.ln / LN_10).floor();
        let digit = ((self.ln - power * LN_10).exp() * 10.0).floor() / 10.0;
        if power >= -3.0 { write!(f, "{:.3}", self.probability()) } else { write!(f, "{digit}e{power}") }
    }
}

/// Fisher's exact test: the chance of at least `now.bad` bad ones in `now`, if both samples were drawn alike.
pub fn fisher(before: Sample, now: Sample) -> Chance {
    let (bad, all) = (before.bad + now.bad, before.of + now.of);
    let all_ways = ln_choose(all, now.of);
    let ln_exactly = |k: u64| ln_choose(bad, k) + ln_choose(all - bad, now.of - k) - all_ways;
    // From one term to the next, by their quotient.
    let quotient = |k: u64| {
        let up = (bad - k) as f64 * (now.of - k) as f64;
        up / ((k + 1) as f64 * ((all - bad + k + 1) as f64 - now.of as f64))
    };
    tail(ln_exactly(now.bad), now.bad..bad.min(now.of), quotient)
}

/// The chance of at least `now.bad` bad ones in `now`, if each is bad with this probability: the exact binomial test.
pub fn binomial(share: f64, now: Sample) -> Chance {
    let (bad, of) = (now.bad as f64, now.of as f64);
    let ln_exactly = ln_choose(now.of, now.bad) + bad * share.ln() + (of - bad) * (-share).ln_1p();
    let odds = share / (1.0 - share);
    tail(ln_exactly, now.bad..now.of, |k| (now.of - k) as f64 / (k + 1) as f64 * odds)
}

/// The sum of a series of terms that begins with one whose logarithm is known.
fn tail(ln_first: f64, steps: std::ops::Range<u64>, quotient: impl Fn(u64) -> f64) -> Chance {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in steps {
        let quotient = quotient(k);
        term *= quotient;
        sum += term;
        // Beyond the largest term they fall ever faster: what is left is less than can be seen.
        if quotient < 1.0 && term < sum * 1e-17 {
            break;
        }
    }
    Chance { ln: (ln_first + sum.ln()).min(0.0) }
}

fn ln_choose(n: u64, k: u64) -> f64 {
    let ln_factorial = |n: u64| libm::lgamma(n as f64 + 1.0);
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
}

/// When to look at a sample that grows: when it is half as large again, roughly. Looking more often costs more of the
/// chance that may be spent than it finds earlier.
#[derive(Clone, Debug)]
pub struct Looks {
    samples_min: f64,
    /// The next one is at the least times the square root of 2 to this power.
    power: i32,
    made: u32,
}

impl Looks {
    /// The first look is at so many.
    pub fn from(samples_min: u32) -> Self {
        Self { samples_min: f64::from(samples_min), power: 0, made: 0 }
    }

    /// Whether it is time to look at a sample of this size. Answers what part of all that may be spent this look may: the
    /// parts of all looks there may ever be add up to one.
    pub fn due(&mut self, of: u64) -> Option<f64> {
        if (of as f64) < self.next() {
            return None;
        }
        self.made += 1;
        while self.next() <= of as f64 {
            self.power += 1;
        }
        // The sum of 1/k^2 over all k is pi^2/6.
        Some(6.0 / (PI * f64::from(self.made)).powi(2))
    }

    fn next(&self) -> f64 {
        let odd = if self.power % 2 == 0 { 1.0 } else { SQRT_2 };
        self.samples_min * odd * 2_f64.powi(self.power / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(bad: u64, of: u64) -> Sample {
        Sample { bad, of }
    }

    /// By the definition, term by term.
    fn fisher_slowly(before: Sample, now: Sample) -> f64 {
        let (bad, all) = (before.bad + now.bad, before.of + now.of);
        let choose = |n: u64, k: u64| (0..k).fold(1.0, |product, i| product * (n - i) as f64 / (i + 1) as f64);
        let from = now.bad.max(bad.saturating_sub(before.of));
        let ways = (from..=bad.min(now.of)).map(|k| choose(bad, k) * choose(all - bad, now.of - k));
        ways.sum::<f64>() / choose(all, now.of)
    }

    #[test]
    fn fishers_test_of_the_lady_who_tastes_tea_is_seventeen_in_seventy() {
        // Fisher 1935: three of four cups right or better.
        let p = fisher(sample(1, 4), sample(3, 4)).probability();
        assert!((p - 17.0 / 70.0).abs() < 1e-12, "{p}");
    }

    #[test]
    fn fishers_test_is_exact_for_all_small_tables() {
        for (n0, n1) in [(1, 1), (7, 5), (20, 3), (12, 30)] {
            for (a, b) in (0..=n0).flat_map(|a| (0..=n1).map(move |b| (a, b))) {
                let (before, now) = (sample(a, n0), sample(b, n1));
                let (fast, slow) = (fisher(before, now).probability(), fisher_slowly(before, now));
                assert!((fast - slow).abs() < 1e-10, "{before:?} {now:?}: {fast} {slow}");
            }
        }
    }

    #[test]
    fn the_binomial_test_is_exact() {
        // 1 - 0.9^10, and 0.1^3.
        let at_least_one = binomial(0.1, sample(1, 10)).probability();
        assert!((at_least_one - 0.651_321_559_9).abs() < 1e-12, "{at_least_one}");
        assert!((binomial(0.1, sample(3, 3)).probability() - 0.001).abs() < 1e-15);
        assert_eq!(binomial(0.1, sample(0, 10)).probability(), 1.0);
    }

    #[test]
    fn what_is_next_to_impossible_is_told_as_it_is() {
        let chance = fisher(sample(3, 4_100), sample(147, 512));
        assert!(chance.probability() > 0.0 && chance < Chance::of(1e-100), "{chance}");
        let chance = fisher(sample(0, 100_000), sample(50_000, 100_000));
        assert_eq!(chance.probability(), 0.0);
        let text = chance.to_string();
        assert_eq!(text, "1.8e-18741");
        assert_eq!([0.25, 0.001, 2.5e-7].map(|p| Chance::of(p).to_string()), ["0.250", "0.001", "2.5e-7"]);
    }

    #[test]
    fn looks_are_spaced_and_spend_no_more_than_all() {
        let mut looks = Looks::from(32);
        let made: Vec<u64> = (0..1000).filter(|of| looks.due(*of).is_some()).collect();
        assert_eq!(made, [32, 46, 64, 91, 128, 182, 256, 363, 512, 725]);
        let mut looks = Looks::from(1);
        let spent: f64 = (0..60).filter_map(|power| looks.due(1 << power)).sum();
        assert!(spent > 0.97 && spent < 1.0, "{spent}");
    }
}
