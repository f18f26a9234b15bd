//! Values of fields: those that were read, and what may become one.

use std::fmt;

use hyper::header::HeaderValue;

/// A field's value: any bytes but controls (RFC 9110, 5.5).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value<'a>(pub(super) &'a [u8]);

impl<'a> Value<'a> {
    /// Its bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The same, where it is visible ASCII, as nearly all are.
    pub fn to_str(self) -> Option<&'a str> {
        let is_visible = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
        if self.0.iter().all(is_visible) { std::str::from_utf8(self.0).ok() } else { None }
    }

    /// The same, to keep.
    pub fn to_value(self) -> HeaderValue {
        HeaderValue::from_bytes(self.0).expect("checked when it came in")
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.0), f)
    }
}

/// What is known to be a field's value.
pub trait FieldValue: sealed::Sealed {
    /// Writes its bytes behind `out`.
    fn write(self, out: &mut Vec<u8>);
}

impl FieldValue for HeaderValue {
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

impl FieldValue for &HeaderValue {
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

impl FieldValue for Value<'_> {
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0);
    }
}

/// Written by us.
impl FieldValue for &'static str {
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

mod sealed {
    use hyper::header::HeaderValue;

    pub trait Sealed {}
    impl Sealed for HeaderValue {}
    impl Sealed for &HeaderValue {}
    impl Sealed for super::Value<'_> {}
    impl Sealed for &'static str {}
}
