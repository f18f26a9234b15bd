//! Lines for the proxy's log: `log::info("...")`.

use crate::answerer;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// One request's steps.
    Debug,
    /// The state changed.
    Info,
    /// Unexpected, and handled.
    Warn,
    /// Someone should look at it now.
    Error,
}

/// Logs at [`Level::Debug`].
pub fn debug(message: impl AsRef<str>) {
    answerer::log(Level::Debug, message.as_ref());
}

/// Logs at [`Level::Info`].
pub fn info(message: impl AsRef<str>) {
    answerer::log(Level::Info, message.as_ref());
}

/// Logs at [`Level::Warn`].
pub fn warn(message: impl AsRef<str>) {
    answerer::log(Level::Warn, message.as_ref());
}

/// Logs at [`Level::Error`].
pub fn error(message: impl AsRef<str>) {
    answerer::log(Level::Error, message.as_ref());
}
