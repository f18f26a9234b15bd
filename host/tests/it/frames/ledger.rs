//! What the other side of a connection has said, held against what it may say.
//!
//! The judge at the client: every frame that comes is taken into account here, and each rule it breaks is written
//! down with its clause. It reads along with what the client sends, for the windows and settings that follow from it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use loona_hpack::Decoder;

use super::answer::Answered;
use super::window::Window;
use super::wire::*;

/// What one connection has shown so far.
pub(crate) struct Ledger {
    pub(crate) settings: BTreeMap<u16, u32>,
    pub(crate) greeted: bool,
    /// Our SETTINGS that were acknowledged.
    pub(crate) acks: usize,
    pub(crate) pongs: Vec<[u8; 8]>,
    pub(crate) goaways: Vec<u32>,
    pub(crate) closed: bool,
    pub(crate) answers: BTreeMap<u32, Answered>,
    /// The rules that were broken.
    pub(crate) wrong: Vec<String>,
    /// What we may send, and what we have room for.
    credit: Window,
    room: Window,
    /// The initial window that the host has acknowledged.
    initial: i64,
    unacknowledged: VecDeque<Frame>,
    pings: Vec<[u8; 8]>,
    highest: u32,
    opened: Option<(Frame, Vec<u8>)>,
    /// The largest table that we last allowed.
    table: u32,
    decoder: Decoder<'static>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let mut decoder = Decoder::new();
        decoder.set_max_allowed_table_size(4096);
        Self {
            settings: BTreeMap::new(),
            greeted: false,
            acks: 0,
            pongs: Vec::new(),
            goaways: Vec::new(),
            closed: false,
            answers: BTreeMap::new(),
            wrong: Vec::new(),
            credit: Window::default(),
            room: Window::default(),
            initial: 65_535,
            unacknowledged: VecDeque::new(),
            pings: Vec::new(),
            highest: 0,
            opened: None,
            table: 4096,
            decoder,
        }
    }

    pub(crate) fn setting(&self, id: u16, default: u32) -> u32 {
        self.settings.get(&id).copied().unwrap_or(default)
    }

    pub(crate) fn answer(&self, stream: u32) -> Answered {
        self.answers.get(&stream).cloned().unwrap_or_default()
    }

    /// Octets of content that a stream's answer has brought.
    pub(crate) fn content(&self, stream: u32) -> usize {
        self.answers.get(&stream).map_or(0, |answer| answer.body.len())
    }

    /// What we may still send on a stream.
    pub(crate) fn credit_of(&self, stream: u32) -> i64 {
        self.credit.of(stream, i64::from(self.setting(INITIAL_WINDOW_SIZE, 65_535)))
    }

    /// Reads along with what the client says.
    pub(crate) fn sent(&mut self, frame: &Frame) {
        let stream = frame.stream;
        match frame.kind {
            DATA => self.credit.spend(frame),
            // A stream may be reset for its priority alone (RFC 7540, 5.3.1).
            HEADERS | PRIORITY => self.highest = self.highest.max(stream),
            RST_STREAM => self.answers.entry(stream).or_default().cancelled = true,
            SETTINGS if !frame.has(ACK) => self.unacknowledged.push_back(frame.clone()),
            PING if !frame.has(ACK) => self.pings.extend(<[u8; 8]>::try_from(frame.payload.as_slice())),
            WINDOW_UPDATE => self.room.widen(frame),
            _ => {}
        }
    }

    /// Takes a frame into account.
    pub(crate) fn take(&mut self, frame: Frame) {
        if !self.greeted && (frame.kind != SETTINGS || frame.has(ACK)) {
            self.breaks("3.4: the first frame is not SETTINGS");
        }
        self.greeted = true;
        if frame.payload.len() > FRAME_MAX {
            self.breaks("4.2: a frame is larger than we allow");
        }
        let continues = |(open, _): &(Frame, _)| frame.kind == CONTINUATION && frame.stream == open.stream;
        if self.opened.as_ref().is_some_and(|open| !continues(open)) {
            self.breaks("4.3: a frame stands inside a header block");
        }
        let sized = |length: usize| frame.payload.len() == length;
        let zero = frame.stream == 0;
        let wellformed = match frame.kind {
            DATA | HEADERS | CONTINUATION => !zero,
            RST_STREAM => sized(4) && !zero,
            SETTINGS => zero && (if frame.has(ACK) { sized(0) } else { frame.payload.len().is_multiple_of(6) }),
            PING => sized(8) && zero,
            GOAWAY => frame.payload.len() >= 8 && zero,
            WINDOW_UPDATE => sized(4) && frame.word(0) > Some(0),
            PUSH_PROMISE => false,
            _ => true,
        };
        if !wellformed {
            return self.breaks(&format!("6: not a frame that may come: {frame:?}"));
        }
        if frame.stream > self.highest || (!zero && frame.stream.is_multiple_of(2)) {
            self.breaks(&format!("5.1.1: stream {} is idle", frame.stream));
        }
        match frame.kind {
            DATA => self.take_data(&frame),
            HEADERS => self.take_block(frame, Vec::new()),
            CONTINUATION => match self.opened.take() {
                Some((open, block)) => {
                    let flags = open.flags | frame.flags;
                    self.take_block(Frame { flags, payload: frame.payload, ..open }, block);
                }
                None => self.breaks("6.10: CONTINUATION continues nothing"),
            },
            RST_STREAM => {
                let answer = self.answers.entry(frame.stream).or_default();
                answer.reset = answer.reset.or(frame.word(0));
            }
            SETTINGS if frame.has(ACK) => self.take_ack(),
            SETTINGS => {
                for value in frame.payload.chunks(6) {
                    let id = u16::from_be_bytes([value[0], value[1]]);
                    self.settings.insert(id, u32::from_be_bytes([value[2], value[3], value[4], value[5]]));
                }
                let legal = self.setting(ENABLE_PUSH, 0) == 0
                    && self.setting(INITIAL_WINDOW_SIZE, 0) <= WINDOW_MAX
                    && (16_384..1 << 24).contains(&self.setting(MAX_FRAME_SIZE, 16_384));
                if !legal {
                    self.breaks("6.5.2: a setting that a server may not send");
                }
            }
            PING if frame.has(ACK) => {
                let payload = <[u8; 8]>::try_from(frame.payload.as_slice()).expect("checked above");
                if !self.pings.contains(&payload) {
                    self.breaks("6.7: answers a PING that was not sent");
                }
                self.pongs.push(payload);
            }
            GOAWAY => self.goaways.extend(frame.word(4)),
            WINDOW_UPDATE => {
                self.credit.widen(&frame);
                if self.credit.connection > i64::from(WINDOW_MAX) {
                    self.breaks("6.9.1: gives more than there can be");
                }
            }
            _ => {}
        }
    }

    fn take_data(&mut self, frame: &Frame) {
        self.room.spend(frame);
        // A larger initial window counts as soon as we have sent it, a smaller one when the other side says so.
        let pending = self.unacknowledged.iter().filter_map(initial_window).max().unwrap_or(0);
        if !frame.payload.is_empty() && self.room.of(frame.stream, self.initial.max(pending)) < 0 {
            self.breaks("6.9.1: more DATA than the window has room for");
        }
        let padding =
            if frame.has(PADDED) { frame.payload.first().map_or(1, |claim| 1 + usize::from(*claim)) } else { 0 };
        let Some(length) = frame.payload.len().checked_sub(padding) else {
            return self.breaks("6.1: padding as long as the payload");
        };
        let start = usize::from(frame.has(PADDED));
        let answer = self.answers.entry(frame.stream).or_default();
        if let Err(rule) = answer.take_data(&frame.payload[start..start + length], frame.has(END_STREAM)) {
            self.breaks(rule);
        }
    }

    fn take_block(&mut self, frame: Frame, mut block: Vec<u8>) {
        let start = if frame.kind == HEADERS && block.is_empty() && frame.has(PRIORITIZED) { 5 } else { 0 };
        block.extend(frame.payload.get(start..).unwrap_or_default());
        if !frame.has(END_HEADERS) {
            self.opened = Some((frame, block));
            return;
        }
        let Ok(fields) = self.decoder.decode(&block) else {
            return self.breaks("4.3: a header block cannot be read");
        };
        let answer = self.answers.entry(frame.stream).or_default();
        if let Err(rule) = answer.take_fields(&fields, frame.has(END_STREAM)) {
            self.breaks(&rule);
        }
    }

    fn take_ack(&mut self) {
        self.acks += 1;
        let Some(frame) = self.unacknowledged.pop_front() else {
            return self.breaks("6.5.3: acknowledges settings that were not sent");
        };
        self.initial = initial_window(&frame).unwrap_or(self.initial);
        if let Some(octets) = setting_in(&frame, HEADER_TABLE_SIZE) {
            self.decoder.set_max_allowed_table_size(octets as usize);
            // A larger table is the host's to announce; a smaller one it must announce, and counts at once.
            if octets < self.table {
                self.decoder.set_max_table_size(octets as usize);
            }
            self.table = octets;
        }
    }

    fn breaks(&mut self, rule: &str) {
        self.wrong.push(rule.to_owned());
    }
}

fn initial_window(frame: &Frame) -> Option<i64> {
    setting_in(frame, INITIAL_WINDOW_SIZE).map(i64::from)
}

/// The last value of a setting in a frame.
fn setting_in(frame: &Frame, id: u16) -> Option<u32> {
    let mut values = frame.payload.chunks_exact(6);
    values
        .rfind(|value| value[..2] == id.to_be_bytes())
        .map(|value| u32::from_be_bytes([value[2], value[3], value[4], value[5]]))
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for code in &self.goaways {
            write!(f, "GOAWAY {code:#x}; ")?;
        }
        // A flood has a thousand of them; the first ones tell.
        for (stream, answer) in self.answers.iter().take(3) {
            write!(f, "stream {stream}: {answer}; ")?;
        }
        write!(f, "{} PINGs answered", self.pongs.len())?;
        f.write_str(if self.closed { "; closed" } else { "" })
    }
}
