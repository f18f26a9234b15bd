//! Write a routing policy for Switchback: one function from a request to a decision.
//!
//! A policy is a WebAssembly component that the proxy asks, on every request to a vip, which pool shall serve it. With
//! this crate it is an ordinary function and a configuration, about ten lines:
//!
//! ```
//! use switchback_policy::prelude::*;
//!
//! /// Sends requests with a given header value to one pool, all others to another.
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     header: String,
//!     value: String,
//!     then: Pool,
//!     otherwise: Pool,
//! }
//!
//! #[policy]
//! fn decide(request: &Request, config: &Config) -> Decision {
//!     if request.header(&config.header).is_some_and(|value| value == config.value) {
//!         Decision::to(config.then).because("header")
//!     } else {
//!         config.otherwise.into()
//!     }
//! }
//!
//! // The same function, asked in an ordinary test:
//! let config = r#"{ "header": "x-group", "value": "beta", "then": "green", "otherwise": "blue" }"#;
//! let policy = test::configure::<decide>(config, &["blue", "green"]).unwrap();
//! assert_eq!(policy.decide(test::get("/").header("x-group", "beta")).pool(), "green");
//! assert_eq!(policy.decide(test::get("/")).pool(), "blue");
//! ```
//!
//! # Build
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib", "rlib"] # cdylib is the policy; rlib is for tests
//!
//! [dependencies]
//! serde = "1"
//! switchback-policy = { path = "../switchback/guest-sdk" } # where this repository is; or `git = "..."`
//! ```
//!
//! `cargo build --release --target wasm32-unknown-unknown`, and the file under `target/wasm32-unknown-unknown/release`
//! is what the proxy takes. `wasm32-wasip2` works too; what it adds, files and network and environment, is not there.
//!
//! # What to know
//!
//! - The configuration is JSON. A mistake in it, an unknown pool among them, refuses the policy before any traffic.
//! - A decision is made while the client waits: there is nothing to wait for, and the time is limited.
//! - What a policy keeps in statics is a cache: the proxy has one instance per thread and may drop any of them.
//! - Clock, chance and load come from the proxy ([`now`], [`random`], [`Pool::load`]), so a decision can be made again.
//! - The allocator is the SDK's, for instances that start fast. A policy with one of its own takes this crate with
//!   `default-features = false`.
//! - A panic ends the instance, not the request: the message is logged, and the release before answers.
//!
//! [`mod@test`] is the kit that the example's last lines use; it needs no WebAssembly and exists only in native builds.

mod decision;
mod host;
pub mod log;
mod policy;
mod pool;
pub mod prelude;
mod request;
pub mod share;
#[cfg(not(target_family = "wasm"))]
pub mod test;
mod value;
#[doc(hidden)]
#[cfg(target_family = "wasm")]
pub mod wasm;

pub use switchback_policy_macros::policy;

pub use crate::decision::{Decision, Field, Response, Route, Timeouts};
pub use crate::host::{Load, now, random};
pub use crate::policy::{NoConfig, Policy};
pub use crate::pool::Pool;
pub use crate::request::{Certificate, Request};
pub use crate::value::Value;

/// Who answers a policy's questions: the proxy, or natively the test kit. Both offer the same names.
#[cfg(not(target_family = "wasm"))]
use crate::test::host as answerer;
#[cfg(target_family = "wasm")]
use crate::wasm as answerer;

/// Exports a policy from its component. Natively there is nothing to export, and this only keeps the compiler from
/// calling a policy without tests unused.
#[doc(hidden)]
#[cfg(not(target_family = "wasm"))]
#[macro_export]
macro_rules! __export {
    ($policy:ty) => {
        const _: () = {
            let _ = <$policy as $crate::Policy>::decide;
        };
    };
}
