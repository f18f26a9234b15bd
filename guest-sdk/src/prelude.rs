//! What most policies use, in one line: `use switchback_policy::prelude::*;`.

pub use serde::Deserialize;

#[cfg(not(target_family = "wasm"))]
pub use crate::test;
pub use crate::{
    Certificate, Decision, Load, Pool, Request, Response, Timeouts, Value, log, now, policy, random, share,
};
