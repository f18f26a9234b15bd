//! Memory of fields that are gone, for those that come: each message would ask the allocator for it anew.

use std::cell::RefCell;

use super::Line;

/// Rooms that a thread keeps: those of a hundred requests and answers at a time.
const ROOMS_MAX: usize = 128;

/// Bytes of a room that is kept, as ordinary heads need them.
const BYTES_MAX: usize = 4096;

/// Lines of a room that is kept.
const LINES_MAX: usize = 64;

thread_local! {
    static SPARE: RefCell<Vec<Room>> = const { RefCell::new(Vec::new()) };
}

/// Room for fields, with nothing in it.
#[derive(Default)]
pub(super) struct Room {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: Vec<Line>,
}

impl Room {
    /// Room for at least so much.
    pub(super) fn take(bytes: usize, lines: usize) -> Self {
        let mut room = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
        room.bytes.reserve(bytes);
        room.lines.reserve(lines);
        room
    }

    /// Keeps it for those that come.
    pub(super) fn give_back(mut self) {
        let is_of_use = (1..=BYTES_MAX).contains(&self.bytes.capacity()) && self.lines.capacity() <= LINES_MAX;
        if !is_of_use {
            return;
        }
        self.bytes.clear();
        self.lines.clear();
        // Fields may outlive what their thread keeps.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < ROOMS_MAX {
                spare.push(self);
            }
        });
    }
}
