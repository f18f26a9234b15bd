//! Which members are fit to serve: each is asked from time to time, and what it answers is weighed.
//!
//! Beside the request line, which only reads what came out. [`probe`] asks once, [`standing`] weighs the answers, and
//! [`prober`] does so for all members, at the times that their checks say. What is believed of a member in the end is in
//! [`checked`].

pub mod pair;
pub mod probe;
pub mod standing;
pub mod prober;
pub mod checked;

pub use self::checked::Checked;
pub use self::standing::Health;
