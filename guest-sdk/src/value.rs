//! The value of a header field or a cookie: bytes, most often text.

use std::fmt;
use std::hash::{Hash, Hasher};

/// A header or cookie value.
///
/// A header may carry bytes that are no text (RFC 9110, 5.5), so a value is compared with text rather than being text:
/// `value == "green"`.
#[derive(Clone)]
pub struct Value(Bytes);

/// Most values are short, and come from the proxy without an allocation.
#[derive(Clone)]
enum Bytes {
    #[cfg_attr(not(any(test, target_family = "wasm")), allow(dead_code, reason = "natively nobody makes one"))]
    Short {
        length: usize,
        bytes: [u8; SHORT_BYTES_MAX],
    },
    Long(Vec<u8>),
}

/// What the contract's `short` holds.
const SHORT_BYTES_MAX: usize = 40;

impl Value {
    /// The value as text, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()).ok()
    }

    /// The value as it came.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short { length, bytes } => &bytes[..*length],
            Bytes::Long(bytes) => bytes,
        }
    }

    /// A value of so many bytes, eight in each word.
    #[cfg(any(test, target_family = "wasm"))]
    pub(crate) fn short(length: u32, words: [u64; SHORT_BYTES_MAX / 8]) -> Self {
        let mut bytes = [0; SHORT_BYTES_MAX];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        Self(Bytes::Short { length: (length as usize).min(SHORT_BYTES_MAX), bytes })
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Bytes::Long(bytes))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self(Bytes::Long(text.into_bytes()))
    }
}

impl From<Value> for Vec<u8> {
    fn from(value: Value) -> Self {
        match value.0 {
            Bytes::Short { length, bytes } => bytes[..length].to_vec(),
            Bytes::Long(bytes) => bytes,
        }
    }
}

impl PartialEq<str> for Value {
    fn eq(&self, text: &str) -> bool {
        self.as_bytes() == text.as_bytes()
    }
}

impl PartialEq<&str> for Value {
    fn eq(&self, text: &&str) -> bool {
        *self == **text
    }
}

impl PartialEq<String> for Value {
    fn eq(&self, text: &String) -> bool {
        *self == **text
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_compared_with_text() {
        let value = Value::from("green".to_owned());
        let owned = "green".to_owned();
        assert!(value == "green" && value == *"green" && value == owned);
        assert!(value != "gree");
    }

    #[test]
    fn a_short_value_is_equal_to_a_long_one_of_the_same_bytes() {
        let hash = |value: &Value| {
            let mut hasher = std::hash::DefaultHasher::new();
            value.hash(&mut hasher);
            hasher.finish()
        };
        let (short, long) = (Value::short(9, words(b"user-1234")), Value::from("user-1234".to_owned()));
        assert_eq!((&short, hash(&short)), (&long, hash(&long)));
        assert_eq!(Vec::from(short), Vec::from(long));
        assert!(Value::short(0, words(b"")) == "");
        let all = "0123456789abcdef0123456789abcdef01234567";
        assert!(Value::short(40, words(all.as_bytes())) == all);
    }

    fn words(text: &[u8]) -> [u64; 5] {
        let word =
            |at: usize| text.iter().skip(at * 8).take(8).rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        [0, 1, 2, 3, 4].map(word)
    }

    #[test]
    fn a_value_that_is_no_text_says_so() {
        let value = Value::from(vec![0xff, b'a']);
        assert_eq!(value.as_str(), None);
        assert_eq!(value.as_bytes(), [0xff, b'a']);
        assert_eq!(format!("{value:?}"), r#""\xffa""#);
    }
}
