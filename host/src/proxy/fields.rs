//! Header fields as they stand on the wire: one buffer, and where each line lies in it.
//!
//! A request has a dozen fields, is asked for twice as many that it mostly does not have, and is written out again almost
//! as it came. So fields are kept as the lines that they are sent as, with names in lower case: what is not there is
//! known without a search, and what was not changed goes out in one piece. `http::HeaderMap`, which hashes each name and
//! owns each value, took a third of the instructions of a request; it stays where fields are few or are others' (HTTP/2,
//! trailers, the control API).

pub mod name;
mod room;
mod value;

use std::fmt;

use bytes::BytesMut;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use self::name::{Known, Name, tag};
use self::room::Room;
pub use self::value::{FieldValue, Value};
use crate::grammar::{controls, is_of_token, is_space};

/// Bytes that there is room for beside those that came: what the proxy adds to a request.
const ROOM_BYTES: usize = 448;

/// Bytes of what frames a message's content, which is written behind its fields, and the empty line.
const FRAMING_BYTES: usize = 128;

/// Fields that there is room for beside those that came.
const ROOM_LINES: usize = 10;

/// Header fields in their order. Names are in lower case.
#[derive(Clone, Default)]
pub struct Fields {
    /// Lines, in the form `name: value CRLF` if we have written them, else with any white space around the value.
    bytes: Vec<u8>,
    lines: Vec<Line>,
    /// A bit for each [`Name::tag`] that is there, or was.
    tags: u64,
}

/// Where a field lies.
#[derive(Clone, Copy, Debug)]
struct Line {
    begin: u32,
    value: u32,
    value_bytes: u32,
    /// Zero once the field is removed.
    name_bytes: u16,
    tag: u8,
    /// Whether it stands there in the form in which it is sent.
    is_as_sent: bool,
}

/// Why a line is no field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadField {
    /// It begins with white space (RFC 9112, 5.2).
    Folded,
    /// It is not a name, a colon and a value (RFC 9112, 5).
    Malformed,
}

impl Fields {
    /// Reads a section of fields. `ends` says, from `begin` on, where lines end, each with its CRLF.
    ///
    /// # Errors
    /// What is wrong with the first line that is none.
    pub fn read(section: &[u8], begin: usize, ends: &[usize]) -> Result<Self, BadField> {
        // Then all places in it can be told.
        u32::try_from(section.len()).map_err(|_| BadField::Malformed)?;
        let Room { mut bytes, mut lines } = Room::take(section.len() + ROOM_BYTES, ends.len() + ROOM_LINES);
        bytes.extend_from_slice(section);
        let mut tags = 0;
        // Nearly always: then no value has to be looked at by itself.
        let is_text = controls(section) == 2 * ends.len();
        let mut at = 0;
        for end in ends {
            let end = end - begin;
            let line = Line::read(&mut bytes, at, end - 2, is_text)?;
            tags |= 1 << line.tag;
            lines.push(line);
            at = end;
        }
        Ok(Self { bytes, lines, tags })
    }

    /// The first value of a field.
    #[inline]
    pub fn get(&self, name: impl Name) -> Option<Value<'_>> {
        self.find(name).map(|at| self.value(&self.lines[at]))
    }

    /// All values of a field.
    #[inline]
    pub fn get_all<N: Name>(&self, name: N) -> impl DoubleEndedIterator<Item = Value<'_>> + use<'_, N> {
        self.all_from(self.find(name))
    }

    /// The values of the field that somebody calls so, in any case.
    pub fn named(&self, name: &str) -> impl Iterator<Item = Value<'_>> {
        let tag = tag(name.as_bytes());
        let is_so = |line: &Line| line.tag == tag && self.name_bytes(line).eq_ignore_ascii_case(name.as_bytes());
        self.all_from(if self.has_tag(tag) { self.lines.iter().position(is_so) } else { None })
    }

    /// Whether a field is there.
    #[inline]
    pub fn contains(&self, name: impl Name) -> bool {
        self.find(name).is_some()
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.live().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.live().next().is_none()
    }

    /// All fields in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.live().map(|line| (self.name(line), self.value(line)))
    }

    /// Removes a field, however often it is there.
    #[inline]
    pub fn remove(&mut self, name: impl Name) {
        if self.has_tag(name.tag()) {
            self.remove_from(name.bytes(), name.tag(), 0);
        }
    }

    /// Adds a field behind the others.
    pub fn append(&mut self, name: impl Name, value: impl FieldValue) {
        self.append_with(name, |out| value.write(out));
    }

    /// Adds a field behind the others, its value written by `write`: bytes that a value may have.
    pub fn append_with(&mut self, name: impl Name, write: impl FnOnce(&mut Vec<u8>)) {
        let line = self.written(name, write);
        self.push(line);
    }

    /// Makes this the only value of a field. It stays where it was first, if it was there.
    pub fn insert(&mut self, name: impl Name, value: impl FieldValue) {
        self.insert_with(name, |out| value.write(out));
    }

    /// Makes what `write` writes the only value of a field: bytes that a value may have.
    pub fn insert_with(&mut self, name: impl Name, write: impl FnOnce(&mut Vec<u8>)) {
        match self.find(&name) {
            Some(first) => {
                let line = self.written(&name, write);
                self.lines[first] = line;
                self.remove_from(name.bytes(), name.tag(), first + 1);
            }
            None => {
                let line = self.written(name, write);
                self.push(line);
            }
        }
    }

    /// Writes the lines as they are sent, but those of these fields. What lies together goes out in one piece.
    pub fn write_to(&self, out: &mut BytesMut, except: &[Known]) {
        out.reserve(self.bytes.len() + FRAMING_BYTES);
        let is_left_out = |line: &Line| except.iter().any(|name| name.bytes() == self.name_bytes(line));
        let except_tags = except.iter().fold(0_u64, |tags, name| tags | 1 << name.tag());
        let (mut from, mut to) = (0, 0);
        for line in self.live() {
            if except_tags & 1 << line.tag != 0 && is_left_out(line) {
                continue;
            }
            let begin = line.begin as usize;
            if begin != to || !line.is_as_sent {
                out.extend_from_slice(&self.bytes[from..to]);
                (from, to) = (begin, begin);
            }
            if line.is_as_sent {
                to = line.end();
            } else {
                for part in [self.name_bytes(line), b": ", self.value(line).0, b"\r\n"] {
                    out.extend_from_slice(part);
                }
            }
        }
        out.extend_from_slice(&self.bytes[from..to]);
    }

    /// The same fields as others have them.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.lines.len());
        for line in self.live() {
            let name = HeaderName::from_bytes(self.name_bytes(line)).expect("a field's name is a token");
            map.append(name, self.value(line).to_value());
        }
        map
    }

    fn push(&mut self, line: Line) {
        self.tags |= 1 << line.tag;
        self.lines.push(line);
    }

    /// Writes a line behind all others.
    fn written(&mut self, name: impl Name, write: impl FnOnce(&mut Vec<u8>)) -> Line {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(name.bytes());
        self.bytes.extend_from_slice(b": ");
        let value = self.bytes.len();
        write(&mut self.bytes);
        let end = self.bytes.len();
        debug_assert!(controls(&self.bytes[value..]) == 0, "checked by whoever gave it");
        self.bytes.extend_from_slice(b"\r\n");
        let place = |at: usize| u32::try_from(at).expect("heads have a limit far below 4 GB");
        Line {
            begin: place(begin),
            value: place(value),
            value_bytes: place(end - value),
            name_bytes: u16::try_from(name.bytes().len()).expect("a name has less than 64 kB"),
            tag: name.tag(),
            is_as_sent: true,
        }
    }

    /// Where the first field of this name, in lower case, is among the lines.
    #[inline]
    fn find(&self, name: impl Name) -> Option<usize> {
        if self.has_tag(name.tag()) { self.search(name.bytes(), name.tag()) } else { None }
    }

    fn search(&self, name: &[u8], tag: u8) -> Option<usize> {
        self.lines.iter().position(|line| line.tag == tag && self.name_bytes(line) == name)
    }

    /// This line's value, and those of the same name behind it.
    fn all_from(&self, first: Option<usize>) -> impl DoubleEndedIterator<Item = Value<'_>> {
        let lines = first.map_or(&[][..], |first| &self.lines[first..]);
        let is_alike = move |line: &&Line| {
            let first = &lines[0];
            line.tag == first.tag && self.name_bytes(line) == self.name_bytes(first)
        };
        lines.iter().filter(is_alike).map(|line| self.value(line))
    }

    fn remove_from(&mut self, name: &[u8], tag: u8, at: usize) {
        let Self { bytes, lines, .. } = self;
        for line in &mut lines[at..] {
            if line.tag == tag && line.name(bytes) == name {
                line.name_bytes = 0;
            }
        }
    }

    fn has_tag(&self, tag: u8) -> bool {
        self.tags & 1 << tag != 0
    }

    fn live(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.name_bytes > 0)
    }

    fn name_bytes(&self, line: &Line) -> &[u8] {
        line.name(&self.bytes)
    }

    fn name(&self, line: &Line) -> &str {
        std::str::from_utf8(self.name_bytes(line)).expect("a name is ASCII")
    }

    fn value(&self, line: &Line) -> Value<'_> {
        let begin = line.value as usize;
        Value(&self.bytes[begin..begin + line.value_bytes as usize])
    }
}

impl Line {
    /// Reads the line from `begin` to its CRLF at `end`.
    fn read(bytes: &mut [u8], begin: usize, end: usize, is_text: bool) -> Result<Self, BadField> {
        let line = &mut bytes[begin..end];
        let mut name_bytes = 0;
        for byte in line.iter_mut() {
            match LOWER_CASE[usize::from(*byte)] {
                0 => break,
                lower => *byte = lower,
            }
            name_bytes += 1;
        }
        match line.get(name_bytes) {
            Some(b':') if name_bytes > 0 => {}
            Some(byte) if name_bytes == 0 && is_space(*byte) => return Err(BadField::Folded),
            _ => return Err(BadField::Malformed),
        }
        let (mut first, mut last) = (name_bytes + 1, line.len());
        while first < last && is_space(line[first]) {
            first += 1;
        }
        while last > first && is_space(line[last - 1]) {
            last -= 1;
        }
        if !is_text && controls(&line[first..last]) > 0 {
            return Err(BadField::Malformed);
        }
        Ok(Self {
            begin: begin as u32,
            value: (begin + first) as u32,
            value_bytes: (last - first) as u32,
            name_bytes: u16::try_from(name_bytes).map_err(|_| BadField::Malformed)?,
            tag: tag(&line[..name_bytes]),
            is_as_sent: line[name_bytes + 1..first] == *b" " && last == line.len(),
        })
    }

    fn name<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let begin = self.begin as usize;
        &bytes[begin..begin + usize::from(self.name_bytes)]
    }

    /// One past its CRLF, where it stands as it is sent.
    fn end(&self) -> usize {
        self.value as usize + self.value_bytes as usize + 2
    }
}

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Self {
        let bytes: usize = map.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let Room { bytes, lines } = Room::take(bytes + ROOM_BYTES, map.len() + ROOM_LINES);
        let mut fields = Self { bytes, lines, tags: 0 };
        for (name, value) in map {
            fields.append(name, value);
        }
        fields
    }
}

impl<N: Name> FromIterator<(N, HeaderValue)> for Fields {
    fn from_iter<T: IntoIterator<Item = (N, HeaderValue)>>(all: T) -> Self {
        let mut fields = Self::default();
        all.into_iter().for_each(|(name, value)| fields.append(name, value));
        fields
    }
}

impl Drop for Fields {
    fn drop(&mut self) {
        let (bytes, lines) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.lines));
        Room { bytes, lines }.give_back();
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// What a byte of a name is in lower case; zero where it is of none.
const LOWER_CASE: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        if is_of_token(byte as u8) {
            table[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests;
