//! Never finishes configuring.
//!
//! It has no native test: such a test would not finish either.

use serde::Deserializer;
use switchback_policy::prelude::*;

/// Takes for ever to make.
pub enum Config {}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        loop {
            std::hint::spin_loop();
        }
    }
}

#[policy]
fn decide(_: &Request, config: &Config) -> Decision {
    match *config {}
}
