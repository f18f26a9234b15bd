//! The value of a header field or a cookie: bytes, most often text.

use std::fmt;

/// A header or cookie value.
///
/// A header may carry bytes that are no text (RFC 9110, 5.5), so a value is compared with text rather than being text:
/// `value == "green"`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Value(Vec<u8>);

impl Value {
    /// The value as text, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The value as it came.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<Value> for Vec<u8> {
    fn from(value: Value) -> Self {
        value.0
    }
}

impl PartialEq<str> for Value {
    fn eq(&self, text: &str) -> bool {
        self.0 == text.as_bytes()
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
        write!(f, "\"{}\"", self.0.escape_ascii())
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
    fn a_value_that_is_no_text_says_so() {
        let value = Value::from(vec![0xff, b'a']);
        assert_eq!(value.as_str(), None);
        assert_eq!(value.as_bytes(), [0xff, b'a']);
        assert_eq!(format!("{value:?}"), r#""\xffa""#);
    }
}
