//! Switchback: a load-balancing HTTP proxy with a back button for deployments.
//!
//! Every request's pool is chosen by a *policy*, a WebAssembly component. What serves traffic at any moment is one
//! immutable *release*; shipping a new one and going back to an earlier one are the same atomic switch.
//!
//! Two lines run through this crate, and meet in the switch:
//!
//! ```text
//! THE REQUEST LINE (proxy)       accept > head > vip > decision > pool > member > stream back
//!                                               |       |
//!                                               +-- the current release: one ArcSwap
//!                                                               |
//! THE SWITCH (switch)                           change > release > warm > journal > swap
//!                                                  |
//! THE POLICY LINE (policy)       door > candidate > validated > compiled > staged
//! ```
//!
//! [`proxy::forward`] is the first from top to bottom, [`policy::admit`] and [`switch::activate`] the second.

pub mod app;
pub mod release;
pub mod serving;
pub mod spec;
pub mod proxy;
pub mod policy;
pub mod switch;
pub mod store;
pub mod take_over;
pub mod control;
pub mod cli;
pub mod config;
pub mod telemetry;
pub mod address;
pub mod causes;
pub mod random;
pub mod grammar;
pub mod digest;
mod hex;
pub mod watch;
pub mod time;
