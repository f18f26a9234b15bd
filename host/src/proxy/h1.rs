//! HTTP/1.0 and 1.1 (RFC 9112), strictly: what two readers could understand differently is refused.
//!
//! Our own, as what must be refused cannot be seen any more behind a library that has already made sense of it: a bare
//! LF, a length beside a coding, a length said twice. Both ends share one reader of heads and of bodies, and each runs
//! inside the task that serves the client: no channel, and no other task, stands between a client and a member.

pub mod wire;
pub mod head;
pub mod framing;
pub mod decoder;
pub mod encoder;
pub mod conn;
mod round;
pub mod server;
mod answer;
mod tunnel;
mod linger;
pub mod member;
