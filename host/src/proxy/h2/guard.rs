//! Reads an HTTP/2 connection's bytes before anybody else does: those that were read already when it was found to be
//! one, and then, frame by frame, whether the client only means to keep us busy.
//!
//! Frames that cost a client next to nothing cost us work: resets of requests that were just begun, PINGs and SETTINGS
//! to be acknowledged, priorities, empty DATA, and headers in ever more pieces. Some of each belong to any connection.
//! So there is a budget of them, which time refills, and useful content too.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use ::h2::Reason;
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::proxy::stream::Stream;

/// Frames of each kind that may come at once.
const BURST: u32 = 1000;

/// Frames of each kind that may come in each second after that.
const PER_SECOND: u32 = 100;

/// What a client's connection begins with (RFC 9113, 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose frames are counted as they are read.
pub struct Guarded {
    read_ahead: BytesMut,
    stream: Stream,
    frames: Frames,
}

/// Tells what a client has done that ends its connection.
#[derive(Clone, Default)]
pub struct Offence(Rc<Cell<Option<Reason>>>);

impl Offence {
    /// What to tell it, if it has done anything.
    pub fn reason(&self) -> Option<Reason> {
        self.0.get()
    }

    /// The first one is what ends the connection, however much was read at once.
    fn set(&self, reason: Reason) {
        self.0.set(self.0.get().or(Some(reason)));
    }
}

impl Guarded {
    /// A client's connection of which `read_ahead` has been read already; counts from its first frame.
    pub fn new(stream: Stream, read_ahead: BytesMut) -> (Self, Offence) {
        let offence = Offence::default();
        (Self { read_ahead, stream, frames: Frames::new(offence.clone()) }, offence)
    }
}

impl AsyncRead for Guarded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if this.read_ahead.is_empty() {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        } else {
            let length = this.read_ahead.len().min(buffer.remaining());
            buffer.put_slice(&this.read_ahead[..length]);
            this.read_ahead.advance(length);
        }
        this.frames.see(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Counts frames by their first nine bytes (RFC 9113, 4.1).
struct Frames {
    /// Bytes of the preface, or of a frame's payload, that are still to be passed over.
    skip: usize,
    header: [u8; 9],
    have: usize,
    resets: Budget,
    busywork: Budget,
    offence: Offence,
    block: Block,
    begun: bool,
}

impl Frames {
    fn new(offence: Offence) -> Self {
        let budget = || Budget { left: BURST, refilled: None };
        Self {
            skip: PREFACE.len(),
            header: [0; 9],
            have: 0,
            resets: budget(),
            busywork: budget(),
            offence,
            block: Block::default(),
            begun: false,
        }
    }

    fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            if self.block.see(&bytes[..skipped]) {
                self.offence.set(Reason::PROTOCOL_ERROR);
            }
            bytes = &bytes[skipped..];
            let taken = (self.header.len() - self.have).min(bytes.len());
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == self.header.len() {
                self.have = 0;
                let [high, middle, low, kind, flags, stream @ ..] = self.header;
                self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                self.count(kind, flags);
                self.block.begin(kind, flags, u32::from_be_bytes(stream) & (u32::MAX >> 1), self.skip);
            }
        }
    }

    fn count(&mut self, kind: u8, flags: u8) {
        const DATA: u8 = 0;
        const HEADERS: u8 = 1;
        const RST_STREAM: u8 = 3;
        const SETTINGS: u8 = 4;
        const GOAWAY: u8 = 7;
        const WINDOW_UPDATE: u8 = 8;
        const END_STREAM: u8 = 1;
        const ACK: u8 = 1;
        let within = match kind {
            DATA if self.skip > 0 => {
                self.busywork.left = (self.busywork.left + 1).min(BURST);
                true
            }
            DATA if flags & END_STREAM != 0 => true,
            HEADERS | GOAWAY | WINDOW_UPDATE => true,
            RST_STREAM => self.resets.spend(),
            _ => self.busywork.spend(),
        };
        // RFC 9113, 3.4: the first is the rest of the preface.
        if !std::mem::replace(&mut self.begun, true) && (kind != SETTINGS || flags & ACK != 0) {
            self.offence.set(Reason::PROTOCOL_ERROR);
        } else if !within {
            self.offence.set(Reason::ENHANCE_YOUR_CALM);
        }
    }
}

/// The first bytes of a trailer section, in which the library passes over pseudo-fields that come first: but a request
/// with them is malformed (RFC 9113, 8.1). Those that were put into the dynamic table cannot be told from here.
#[derive(Default)]
struct Block {
    /// The highest stream that has had its head.
    highest: u32,
    /// Whether the first field is still to be found out.
    expected: bool,
    /// Whether the next byte says how many bytes of padding there are.
    padded: bool,
    /// Bytes of the priority that come before the fields.
    priority: usize,
    /// Bytes of this frame that belong to the fields.
    left: usize,
    next: Next,
}

/// What a field section's next byte is (RFC 7541, 6).
#[derive(Clone, Copy, Default)]
enum Next {
    /// The first of a field, or of a change of the table's size.
    #[default]
    Field,
    /// One more of that size.
    Size,
    /// The length of a name.
    Length,
    /// The first of a name, in Huffman's code or as it is.
    Name { is_huffman: bool },
}

impl Block {
    fn begin(&mut self, kind: u8, flags: u8, stream: u32, length: usize) {
        const HEADERS: u8 = 1;
        const CONTINUATION: u8 = 9;
        const PADDED: u8 = 8;
        const PRIORITY: u8 = 32;
        let is_first = kind == HEADERS;
        self.expected = is_first && stream <= self.highest || kind == CONTINUATION && self.expected;
        self.padded = is_first && flags & PADDED != 0;
        self.priority = if is_first && flags & PRIORITY != 0 { 5 } else { 0 };
        self.left = length;
        if is_first {
            self.highest = self.highest.max(stream);
            self.next = Next::Field;
        }
    }

    /// Whether these bytes of the payload are those with which a section begins with a pseudo-field. They may come one
    /// by one, and in several frames.
    fn see(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            if !self.expected || self.left == 0 {
                return false;
            }
            self.left -= 1;
            if std::mem::take(&mut self.padded) {
                self.left = self.left.saturating_sub((*byte).into());
            } else if self.priority > 0 {
                self.priority -= 1;
            } else {
                let Some(is_pseudo) = self.next.see(*byte) else { continue };
                self.expected = false;
                return is_pseudo;
            }
        }
        false
    }
}

impl Next {
    /// Whether the first field is a pseudo-field, once that is known.
    fn see(&mut self, byte: u8) -> Option<bool> {
        // The first 14 of the static table are.
        let is_pseudo = |index: u8| (1..=14).contains(&index);
        match *self {
            Self::Field if byte & 0x80 != 0 => return Some(is_pseudo(byte & 0x7f)),
            Self::Field if matches!(byte, 0x40 | 0x10 | 0x00) => *self = Self::Length,
            Self::Field if byte & 0x40 != 0 => return Some(is_pseudo(byte & 0x3f)),
            Self::Field if byte == 0x3f => *self = Self::Size,
            Self::Field if byte & 0x20 != 0 => {}
            Self::Field => return Some(is_pseudo(byte & 0x0f)),
            Self::Size if byte & 0x80 != 0 => {}
            Self::Size => *self = Self::Field,
            // No pseudo-field is that long, or that short.
            Self::Length if matches!(byte & 0x7f, 0x7f | 0) => return Some(false),
            Self::Length => *self = Self::Name { is_huffman: byte & 0x80 != 0 },
            // `:`, of which Huffman's code has seven bits.
            Self::Name { is_huffman: true } => return Some(byte & 0xfe == 0xb8),
            Self::Name { is_huffman: false } => return Some(byte == b':'),
        }
        None
    }
}

struct Budget {
    left: u32,
    /// When; `None` before anything was spent.
    refilled: Option<Instant>,
}

impl Budget {
    fn spend(&mut self) -> bool {
        if self.left == 0 {
            let now = Instant::now();
            let since = self.refilled.replace(now).map_or(std::time::Duration::ZERO, |then| now - then);
            let earned = since.as_millis() * u128::from(PER_SECOND) / 1000;
            self.left = u32::try_from(earned).unwrap_or(BURST).min(BURST);
        } else if self.refilled.is_none() {
            self.refilled = Some(Instant::now());
        }
        let within = self.left > 0;
        self.left = self.left.saturating_sub(1);
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn offence(bytes: &[u8], step: usize) -> Option<Reason> {
        let offence = Offence::default();
        let mut frames = Frames::new(offence.clone());
        let all = [&PREFACE[..], &frame(4, 0, &[]), bytes].concat();
        all.chunks(step).for_each(|piece| frames.see(piece));
        offence.reason()
    }

    fn flooded(bytes: &[u8], step: usize) -> bool {
        offence(bytes, step) == Some(Reason::ENHANCE_YOUR_CALM)
    }

    #[test]
    fn what_only_keeps_us_busy_has_a_budget() {
        let many = BURST as usize + 500;
        for (kind, payload) in [(3, &[0; 4][..]), (6, &[0; 8]), (4, &[]), (2, &[0; 5]), (9, b"x"), (0, b""), (99, b"?")]
        {
            for step in [1, 7, 100_000] {
                assert!(flooded(&frame(kind, 0, payload).repeat(many), step), "{kind} by {step}");
            }
            assert!(!flooded(&frame(kind, 0, payload).repeat(BURST as usize / 2), 100), "{kind}");
        }
        for (kind, flags, payload) in [(1, 4, &[0x82][..]), (0, 0, b"content"), (0, 1, b""), (8, 0, &[0; 4])] {
            assert!(!flooded(&frame(kind, flags, payload).repeat(many), 1000), "{kind}");
        }
    }

    #[test]
    fn a_connection_begins_with_its_settings() {
        for kind in [1, 6, 0] {
            let offence = Offence::default();
            Frames::new(offence.clone()).see(&[&PREFACE[..], &frame(kind, 0, &[0; 8])].concat());
            assert_eq!(offence.reason(), Some(Reason::PROTOCOL_ERROR), "{kind}");
        }
    }

    #[test]
    fn trailers_begin_with_no_pseudo_field() {
        let check = |block: &[u8], flags, expected| {
            let both = [frame(1, 4, &[0x82]), frame(1, flags, block)].concat();
            for step in [1, 2, 1000] {
                assert_eq!(offence(&both, step), expected, "{block:?} by {step}");
            }
        };
        let bad = Some(Reason::PROTOCOL_ERROR);
        check(&[0x82], 5, bad);
        check(&[0x20, 0x88], 5, bad);
        check(&[0x41, 1, b'a'], 5, bad);
        check(&[0x00, 2, b':', b'x', 0], 5, bad);
        check(&[0x40, 0x82, 0xb8, 0xff, 0], 5, bad);
        check(&[2, 0x84, 0, 0], 5 | 8, bad);
        check(&[0x3f, 0xe1, 0x1f, 0x84], 5, bad);
        // Padding is no field.
        check(&[1, 0x84], 5 | 8, None);
        check(&[0, 0, 0, 0, 1, 0x84], 5 | 32, bad);
        check(&[0x00, 1, b'x', 0], 5, None);
        check(&[0xbe], 5, None);
        // Another request's head.
        assert_eq!(offence(&frame(1, 4, &[0x82]), 3), None);
    }

    #[test]
    fn trailers_are_one_section_in_however_many_frames() {
        let section = [frame(1, 4, &[0x82]), frame(1, 1, &[0x40]), frame(9, 0, &[]), frame(9, 0, &[2])].concat();
        let check = |last: &[u8], expected| {
            assert_eq!(offence(&[&section[..], &frame(9, 4, last)].concat(), 3), expected, "{last:?}");
        };
        check(b":x\0", Some(Reason::PROTOCOL_ERROR));
        check(b"xy\0", None);
    }

    #[test]
    fn the_first_offence_is_the_one_that_counts() {
        let both = [&frame(6, 0, &[0; 8]).repeat(BURST as usize + 1)[..], &frame(1, 4, &[0x82]).repeat(2)].concat();
        for step in [9, 1_000_000] {
            assert_eq!(offence(&both, step), Some(Reason::ENHANCE_YOUR_CALM), "by {step}");
        }
    }

    #[test]
    fn content_earns_what_comes_with_it() {
        let both = [frame(0, 0, b"content"), frame(6, 0, &[0; 8])].concat();
        assert!(!flooded(&both.repeat(5 * BURST as usize), 1000));
    }
}
