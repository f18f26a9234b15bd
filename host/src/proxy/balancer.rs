//! How members share a pool's requests: everything that can be worked out ahead, and what is left of a choice then.
//!
//! Nothing here knows a member: they are numbers, by their place in a list, and come with a weight. What takes time is
//! done when the list or a weight changes; a request only looks up. No clock, no chance, no memory asked for: the caller
//! brings them, so a choice can be made again.

pub mod turns;
pub mod maglev;
pub mod slow_start;
pub mod zones;

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// The hash of a member's identity (its address as text) or of a request's key: the same in every process, for ever, so
/// that proxies side by side and those of tomorrow send a key to the same member.
pub fn hash(bytes: &[u8]) -> u64 {
    // Whoever knows the code can find keys that meet, as with any hash that is the same everywhere.
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish()
}

/// The same with a key of its own: who is first by one key is anywhere by another.
pub fn keyed_hash(key: [u64; 2], bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(key[0], key[1]);
    hasher.write(bytes);
    hasher.finish()
}

/// The whole part of `random / 2^64 * range`: a number below `range`, each as likely as another.
fn below(random: u64, range: u64) -> u64 {
    u64::try_from((u128::from(random) * u128::from(range)) >> 64).expect("less than the range")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::mix;

    #[test]
    fn hashes_are_those_of_every_other_process() {
        // Taken from the reference: SipHash-1-3 with both keys zero, as std has it today.
        for text in ["", "10.0.0.1:8080", "a key that is longer than a block"] {
            let mut std = std::hash::DefaultHasher::new();
            std.write(text.as_bytes());
            assert_eq!(hash(text.as_bytes()), std.finish());
        }
        assert_eq!(hash(b"10.0.0.1:8080"), 15_457_765_404_437_205_727);
    }

    #[test]
    fn numbers_below_a_range_are_spread_over_it() {
        let mut met = [0_u32; 10];
        (0..100_000).for_each(|seed| met[usize::try_from(below(mix(seed), 10)).unwrap()] += 1);
        // Binomial: a tenth each, and five standard deviations on either side.
        assert!(met.iter().all(|met| met.abs_diff(10_000) < 475), "{met:?}");
        assert_eq!((below(u64::MAX, 10), below(0, 10), below(7, 0)), (9, 0, 0));
    }
}
