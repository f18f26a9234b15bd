//! Readers of the same things that are as plain as can be: of whole bytes, at once, with other people's parsers where
//! there are some.

use httparse::{EMPTY_HEADER, Header, Status};
use switchback::proxy::h1::head::HeadLimits;

/// Fields in the order they came, names in lower case.
pub type Fields = Vec<(String, Vec<u8>)>;

/// A body taken out of its chunks.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunked {
    pub content: Vec<u8>,
    pub trailers: Fields,
    /// Bytes of all of it, the last empty line included.
    pub length: usize,
}

/// Why there is no body.
#[derive(Debug, PartialEq, Eq)]
pub enum NoBody {
    /// The bytes end too early, and may still be wrong.
    Incomplete,
    Wrong,
}

/// Room for fields: more than any limit here.
pub const SLOTS: usize = 64;

/// Bytes of a chunk's first line, and of all extensions (`h1::decoder`).
const LINE_MAX: usize = 1024;
const EXTENSIONS_MAX: usize = 16 * 1024;

/// Takes a body out of its chunks (RFC 9112, 7.1). `limits` are those of its trailers.
pub fn chunked(bytes: &[u8], limits: HeadLimits) -> Result<Chunked, NoBody> {
    let (mut content, mut rest, mut extensions_left) = (Vec::new(), bytes, EXTENSIONS_MAX);
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or(NoBody::Incomplete)?;
        let line = rest[..end].strip_suffix(b"\r").filter(|_| end < LINE_MAX).ok_or(NoBody::Wrong)?;
        rest = &rest[end + 1..];
        let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
        let (size, extensions) = line.split_at(digits);
        let size = std::str::from_utf8(size).ok().filter(|size| size.len() <= 16);
        let size = size.and_then(|size| u64::from_str_radix(size, 16).ok()).ok_or(NoBody::Wrong)?;
        extensions_left = extensions_left.checked_sub(extensions.len()).ok_or(NoBody::Wrong)?;
        if !extensions_are_good(extensions) {
            return Err(NoBody::Wrong);
        }
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).ok().filter(|size| *size <= rest.len()).ok_or(NoBody::Incomplete)?;
        content.extend_from_slice(&rest[..size]);
        rest = &rest[size..];
        match rest {
            [b'\r', b'\n', after @ ..] => rest = after,
            [] | [b'\r'] => return Err(NoBody::Incomplete),
            _ => return Err(NoBody::Wrong),
        }
    }
    let mut fields = [EMPTY_HEADER; SLOTS];
    match httparse::parse_headers(rest, &mut fields) {
        Ok(Status::Complete((length, fields)))
            if length <= limits.bytes && fields.len() <= limits.fields + 1 && !has_bare_lf(&rest[..length]) =>
        {
            let length = bytes.len() - rest.len() + length;
            Ok(Chunked { content, trailers: plain(fields), length })
        }
        Ok(Status::Partial) => Err(NoBody::Incomplete),
        _ => Err(NoBody::Wrong),
    }
}

/// RFC 9112, 7.1.1, with a regular expression's state for a parser.
fn extensions_are_good(text: &[u8]) -> bool {
    #[derive(Clone, Copy, PartialEq)]
    enum At {
        Semicolon,
        BeforeName,
        Name,
        AfterName,
        BeforeValue,
        Value,
        Quoted,
        Escaped,
    }
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_quotable = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte) || byte >= 0x80;
    let mut at = At::Semicolon;
    // White space is allowed only before something, so what ends in it is wrong unless a name or a value came last.
    let mut ends_in_space = false;
    for &byte in text {
        let is_space = matches!(byte, b' ' | b'\t');
        at = match (at, byte) {
            (At::Quoted, b'"') => At::Semicolon,
            (At::Quoted, b'\\') => At::Escaped,
            (At::Quoted | At::Escaped, _) if is_quotable(byte) => At::Quoted,
            (At::Quoted | At::Escaped, _) => return false,
            (At::Name, _) if is_space => At::AfterName,
            (At::Value, _) if is_space => At::Semicolon,
            (_, _) if is_space => at,
            (At::Semicolon | At::AfterName | At::Name | At::Value, b';') => At::BeforeName,
            (At::Name | At::AfterName, b'=') => At::BeforeValue,
            (At::BeforeValue, b'"') => At::Quoted,
            (At::BeforeName | At::Name, _) if is_token(byte) => At::Name,
            (At::BeforeValue | At::Value, _) if is_token(byte) => At::Value,
            _ => return false,
        };
        ends_in_space = is_space;
    }
    !ends_in_space && matches!(at, At::Semicolon | At::Name | At::Value)
}

/// Whether a line ends in LF alone.
pub fn has_bare_lf(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || bytes[at - 1] != b'\r'))
}

/// What another parser has read, to be compared.
pub fn plain(fields: &[Header<'_>]) -> Fields {
    fields.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())).collect()
}

/// The fields of a map, each name's values in their order, sorted by name.
pub fn sorted(mut fields: Fields) -> Fields {
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

/// As [`sorted`], of what the proxy has read.
pub fn of_map(fields: &hyper::HeaderMap) -> Fields {
    of_fields(&fields.into())
}

/// The same, as our own type has them.
pub fn of_fields(fields: &switchback::proxy::fields::Fields) -> Fields {
    sorted(fields.iter().map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect())
}
