//! Refuses every configuration, for a reason which nobody should print as it is.

use serde::Deserializer;
use serde::de::Error;
use switchback_policy::prelude::*;

/// Cannot be made.
pub enum Config {}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("not today\u{1b}[2J\u{1b}[31m\r\n2026-01-01 INFO release activated\u{7}\0\u{202e}"))
    }
}

#[policy]
fn decide(_: &Request, config: &Config) -> Decision {
    match *config {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_good_enough() {
        assert!(test::configure::<decide>("", &["blue"]).err().unwrap().starts_with("not today\u{1b}"));
    }
}
