//! The only place that names wasmtime: how a policy's bytes become something that can be asked.
//!
//! `compiler` runs in a child process and turns bytes into native code; `artifact` takes that code in, links it and
//! hands out instances; `instance` asks one of them under limits. Everything a guest may import is in `contract` (our
//! own interface) and `wasi` (an empty one).

pub mod engine;
pub mod compiler;
pub mod artifact;
pub mod instance;
mod contract;
mod limits;
mod log;
mod ticker;
mod wasi;

pub use artifact::Artifact;
pub use engine::Engine;
pub use instance::{Inputs, Instance, LastWords, LoadTold};

pub(super) use contract::{Field as WireField, Response as WireResponse, Route as WireRoute, Timeouts as WireTimeouts};
