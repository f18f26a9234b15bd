//! Numbers as if by chance: SplitMix64 (Steele, Lea, Flood 2014). Equal seeds give equal sequences, on every machine; where
//! nobody may tell them beforehand, the seed is the system's.

/// A sequence of numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one.
    pub fn number(&mut self) -> u64 {
        let number = mix(self.0);
        self.0 = after(self.0);
        number
    }

    /// The next one as [`part`] of one.
    pub fn part(&mut self) -> f64 {
        part(self.number())
    }
}

/// Another number for each number, as if by chance.
pub fn mix(number: u64) -> u64 {
    let number = after(number);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// What comes after a number in a Weyl sequence, which meets all of them before it meets one again.
pub fn after(number: u64) -> u64 {
    number.wrapping_add(0x9e37_79b9_7f4a_7c15)
}

/// A number as a part of one, from zero up, of as many bits as a float takes without rounding.
pub fn part(number: u64) -> f64 {
    (number >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_the_reference() {
        // The first numbers of splitmix64.c for the seed 1234567, as published with it.
        let mut random = Random::seeded(1_234_567);
        let numbers = [(); 3].map(|()| random.number());
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn parts_are_below_one() {
        assert_eq!((part(0), part(1 << 63)), (0.0, 0.5));
        assert!(part(u64::MAX) < 1.0);
    }
}
