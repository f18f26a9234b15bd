//! HTTP/2 (RFC 9113), on both sides: frames, flow control and HPACK are the `h2` crate's. What is here makes exchanges of
//! its streams, so that they look to the rest of the request line like those of HTTP/1.

pub mod guard;
pub mod sender;
pub mod client;
pub mod server;
pub mod member;

pub use ::h2::{Error, Reason};
