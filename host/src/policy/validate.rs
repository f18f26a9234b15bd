//! The first look at what came through a door: a candidate becomes something worth compiling.
//!
//! Only what can be told from the size, the name and the first eight bytes. Everything deeper is parsed in the child
//! that compiles, where a hostile file can do no harm.

use std::sync::Arc;

use bytes::Bytes;

use crate::digest::Digest;

/// The largest policy. A JavaScript engine with its program is about 10 MB.
pub const POLICY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes that came through a door, under the name they claim.
pub struct Candidate {
    /// The name the door gave them.
    pub name: String,
    /// What came.
    pub bytes: Bytes,
}

/// Bytes that may be a policy: a name we can use, a size we can take, WebAssembly by its first bytes.
pub struct Validated {
    /// The policy's name.
    pub name: Arc<str>,
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Bytes,
}

/// What a first look can object to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The name cannot be used in paths, URLs and metrics.
    #[error("policy name `{0}` is not 1 to 64 of a-z, A-Z, 0-9, `-`, `_` and `.`, beginning with a letter or digit")]
    Name(String),
    /// Too large.
    #[error("is larger than {POLICY_BYTES_MAX} bytes")]
    TooLarge,
    /// Not WebAssembly at all.
    #[error("is not WebAssembly: begins with {0}, expected `\\0asm` and a version")]
    NotWasm(String),
}

/// Takes a first look.
///
/// # Errors
/// What it objects to.
pub fn validate(candidate: Candidate) -> Result<Validated, Invalid> {
    let Candidate { name, bytes } = candidate;
    check_name(&name)?;
    if bytes.len() > POLICY_BYTES_MAX {
        return Err(Invalid::TooLarge);
    }
    if !is_wasm(&bytes) {
        return Err(Invalid::NotWasm(describe_start(&bytes)));
    }
    Ok(Validated { name: name.into(), digest: Digest::of(&bytes), bytes })
}

/// Whether this can be the name of a vip, a pool or a policy.
///
/// # Errors
/// When it cannot.
pub fn check_name(name: &str) -> Result<(), Invalid> {
    let usable = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if usable { Ok(()) } else { Err(Invalid::Name(super::text::printable(name).into_owned())) }
}

/// A core module is version 1 of layer 0, a component version 13 of layer 1.
fn is_wasm(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm\x01\0\0\0") || bytes.starts_with(b"\0asm\x0d\0\x01\0")
}

fn describe_start(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing".into();
    }
    bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, bytes: &'static [u8], expected: &Result<(), Invalid>) {
        let candidate = Candidate { name: name.into(), bytes: Bytes::from_static(bytes) };
        assert_eq!(validate(candidate).map(|_| ()), *expected);
    }

    #[test]
    fn modules_and_components_pass() {
        check("shop", b"\0asm\x01\0\0\0", &Ok(()));
        check("shop.v2", b"\0asm\x0d\0\x01\0", &Ok(()));
    }

    #[test]
    fn what_is_no_policy_is_named() {
        check("shop", b"", &Err(Invalid::NotWasm("nothing".into())));
        check("shop", b"#!/bin/sh", &Err(Invalid::NotWasm("23 21 2f 62 69 6e 2f 73".into())));
        check("../shop", b"\0asm\x01\0\0\0", &Err(Invalid::Name("../shop".into())));
        check("", b"\0asm\x01\0\0\0", &Err(Invalid::Name(String::new())));
    }
}
