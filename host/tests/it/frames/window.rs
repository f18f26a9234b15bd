//! What one side may still send, on the connection and on each of its streams.

use std::collections::BTreeMap;

use super::wire::Frame;

pub(crate) struct Window {
    pub(crate) connection: i64,
    /// What streams have beside the initial window, which may change for all of them at once (RFC 9113, 6.9.2).
    streams: BTreeMap<u32, i64>,
}

impl Default for Window {
    fn default() -> Self {
        Self { connection: 65_535, streams: BTreeMap::new() }
    }
}

impl Window {
    /// Takes what a frame of DATA costs, padding and all (RFC 9113, 6.1).
    pub(crate) fn spend(&mut self, frame: &Frame) {
        let octets = frame.payload.len() as i64;
        self.connection -= octets;
        *self.streams.entry(frame.stream).or_default() -= octets;
    }

    /// Adds what WINDOW_UPDATE gives.
    pub(crate) fn widen(&mut self, frame: &Frame) {
        let increment = i64::from(frame.word(0).unwrap_or(0));
        if frame.stream == 0 {
            self.connection += increment;
        } else {
            *self.streams.entry(frame.stream).or_default() += increment;
        }
    }

    /// What is left for a stream, given the initial window.
    pub(crate) fn of(&self, stream: u32, initial: i64) -> i64 {
        self.connection.min(initial + self.streams.get(&stream).copied().unwrap_or(0))
    }
}
