//! Header blocks as HPACK (RFC 7541) writes them: every representation, and those that must not be.

/// A GET that everything accepts. Its authority is a name that the RFC gives in Huffman code, too.
pub(crate) const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "www.example.com"), (":path", "/")];

/// As [`GET`], for requests with content.
pub(crate) const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":authority", "www.example.com"), (":path", "/")];

/// `www.example.com`, `no-cache`, `custom-key` and `custom-value` in Huffman code (RFC 7541, C.4).
pub(crate) const HUFFMAN_AUTHORITY: &[u8] = &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
pub(crate) const HUFFMAN_NO_CACHE: &[u8] = &[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf];
pub(crate) const HUFFMAN_KEY: &[u8] = &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f];
pub(crate) const HUFFMAN_VALUE: &[u8] = &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf];

/// Literals that leave the table as it is (RFC 7541, 6.2.2): a block that needs no state to be read.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(WITHOUT_INDEXING, name.as_bytes(), value.as_bytes())).collect()
}

pub(crate) fn get() -> Vec<u8> {
    block(&GET)
}

pub(crate) fn post() -> Vec<u8> {
    block(&POST)
}

/// These fields and then some.
pub(crate) fn with<'a>(fields: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [fields, more].concat()
}

/// These fields with other values for those that are named.
pub(crate) fn but<'a>(fields: &[(&'a str, &'a str)], other: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let value = |name, value| other.iter().find(|(named, _)| *named == name).map_or(value, |(_, value)| *value);
    fields.iter().map(|(name, old)| (*name, value(*name, *old))).collect()
}

/// These fields without one.
pub(crate) fn without<'a>(fields: &[(&'a str, &'a str)], name: &str) -> Vec<(&'a str, &'a str)> {
    fields.iter().filter(|(there, _)| *there != name).copied().collect()
}

/// How a literal is to be kept: the bits of its first octet, and how many bits of the index fit beside them.
pub(crate) type Keeping = (u8, u8);
pub(crate) const WITH_INDEXING: Keeping = (0x40, 6);
pub(crate) const WITHOUT_INDEXING: Keeping = (0x00, 4);
pub(crate) const NEVER_INDEXED: Keeping = (0x10, 4);

/// A literal with a name of its own (RFC 7541, 6.2).
pub(crate) fn literal((bits, _): Keeping, name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[bits][..], &string(name), &string(value)].concat()
}

/// A literal whose name and value are in Huffman code already.
pub(crate) fn literal_huffman((bits, _): Keeping, name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[bits][..], &huffman(name), &huffman(value)].concat()
}

/// A literal whose name stands in a table; the value is a string as [`string`] or [`huffman`] wrote it.
pub(crate) fn literal_at((bits, room): Keeping, index: u64, value: &[u8]) -> Vec<u8> {
    [&integer(room, bits, index)[..], value].concat()
}

/// A field that stands in a table (RFC 7541, 6.1).
pub(crate) fn indexed(index: u64) -> Vec<u8> {
    integer(7, 0x80, index)
}

/// A change of the dynamic table's size (RFC 7541, 6.3).
pub(crate) fn table_size(octets: u64) -> Vec<u8> {
    integer(5, 0x20, octets)
}

/// A string as it is (RFC 7541, 5.2).
pub(crate) fn string(text: &[u8]) -> Vec<u8> {
    [&integer(7, 0, text.len() as u64)[..], text].concat()
}

/// A string that says it is in Huffman code.
pub(crate) fn huffman(code: &[u8]) -> Vec<u8> {
    [&integer(7, 0x80, code.len() as u64)[..], code].concat()
}

/// An integer beside the bits of its first octet (RFC 7541, 5.1).
pub(crate) fn integer(room: u8, bits: u8, value: u64) -> Vec<u8> {
    let most = (1 << room) - 1;
    if value < most {
        return vec![bits | octet(value)];
    }
    let mut bytes = vec![bits | octet(most)];
    let mut left = value - most;
    while left >= 128 {
        bytes.push(octet(left % 128) | 0x80);
        left /= 128;
    }
    bytes.push(octet(left));
    bytes
}

fn octet(value: u64) -> u8 {
    u8::try_from(value).expect("what is written at once is an octet")
}
