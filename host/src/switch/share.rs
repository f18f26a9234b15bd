//! A share of something: from nothing to all of it.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// All of it, in millionths.
const ALL: u32 = 1_000_000;

/// A share, to the millionth. Written `5%` or `0.05`, kept as a number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

/// The text is not a share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a share such as `5%` or `0.05`, up to 100%, got `{0}`")]
pub struct NotAShare(String);

impl Share {
    /// Nothing of it.
    pub const NONE: Self = Self(0);
    /// All of it.
    pub const ALL: Self = Self(ALL);

    /// The number below which so many of all hashes are; nobody asks it of all of them.
    pub fn threshold(self) -> u64 {
        u64::try_from((u128::from(self.0) << 64) / u128::from(ALL)).unwrap_or(u64::MAX)
    }

    /// From 0 to 1.
    pub fn part(self) -> f64 {
        f64::from(self.0) / f64::from(ALL)
    }

    fn of(part: f64) -> Option<Self> {
        // Within what is asked for, a millionth is a whole number of them.
        (0.0..=1.0).contains(&part).then(|| Self((part * f64::from(ALL)).round() as u32))
    }
}

impl FromStr for Share {
    type Err = NotAShare;

    fn from_str(text: &str) -> Result<Self, NotAShare> {
        let (number, unit) = match text.strip_suffix('%') {
            Some(number) => (number.trim_end(), 100.0),
            None => (text, 1.0),
        };
        // Not what else is a number to a computer, such as `1e-2` and `inf`.
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let part = number.parse::<f64>().ok().filter(|_| is_plain).and_then(|number| Self::of(number / unit));
        part.ok_or_else(|| NotAShare(crate::policy::text::printable(text).into_owned()))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", f64::from(self.0) / f64::from(ALL / 100))
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.part())
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Share;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share such as `5%` or `0.05`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Share, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_f64<E: Error>(self, part: f64) -> Result<Share, E> {
                Share::of(part).ok_or_else(|| E::custom(NotAShare(part.to_string())))
            }

            fn visit_u64<E: Error>(self, part: u64) -> Result<Share, E> {
                self.visit_f64(part as f64)
            }

            fn visit_i64<E: Error>(self, part: i64) -> Result<Share, E> {
                self.visit_f64(part as f64)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage_or_a_part() {
        let check = |text: &str, expected: u32| assert_eq!(text.parse(), Ok(Share(expected)), "{text}");
        check("5%", 50_000);
        check("0.05", 50_000);
        check("0.1 %", 1000);
        check("100%", ALL);
        check("1", ALL);
        check("0%", 0);
        for text in ["", "%", "5", "101%", "-1%", "1e-2", "five", "NaN", "inf%", "5%%"] {
            assert_eq!(text.parse::<Share>(), Err(NotAShare(text.into())), "{text}");
        }
    }

    #[test]
    fn json_has_either_form_and_keeps_a_number() {
        let read = |text: &str| serde_json::from_str::<Share>(text).map_err(|error| error.to_string());
        assert_eq!([read("\"5%\""), read("0.05")], [Ok(Share(50_000)), Ok(Share(50_000))]);
        assert_eq!([read("1"), read("0")], [Ok(Share::ALL), Ok(Share::NONE)]);
        assert!(read("5").unwrap_err().starts_with("expected a share such as `5%` or `0.05`, up to 100%, got `5`"));
        assert_eq!(serde_json::to_string(&Share(50_000)).unwrap(), "0.05");
        assert_eq!(Share(50_000).to_string(), "5 %");
        assert_eq!(Share(1).to_string(), "0.0001 %");
    }

    #[test]
    fn a_threshold_has_so_many_hashes_below_it() {
        assert_eq!((Share::NONE.threshold(), Share(500_000).threshold()), (0, 1 << 63));
        assert_eq!(Share::ALL.threshold(), u64::MAX);
    }
}
