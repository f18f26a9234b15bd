//! The text of a file of members.
//!
//! One member on each line: its address, then what is said of it, apart by spaces. What follows a `#` is a comment.

use std::collections::HashSet;
use std::str;

use super::super::Found;
use crate::address::{Address, NotAnAddress};

/// What is wrong with a file, and where: the text is `3: expected ...`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}: {what}")]
pub struct WrongFile {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: Wrong,
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The first word.
    #[error(transparent)]
    Address(#[from] NotAnAddress),
    /// Nobody can be reached there.
    #[error("a member's port cannot be 0")]
    AnyPort,
    /// The same member again.
    #[error("`{0}` is there twice")]
    Twice(Address),
    /// A word after the address.
    #[error("expected `weight=` and a number or `zone=` and a name after the address, got `{0}`")]
    Unknown(String),
    /// The same word again.
    #[error("`{0}` is there twice")]
    WordTwice(&'static str),
    /// Not a weight.
    #[error("expected a weight from 0 (none of the requests) to {WEIGHT_MAX}, got `{0}`")]
    Weight(String),
    /// Not a zone.
    #[error("expected a zone of letters, digits, `-`, `_` and `.`, 63 at most, got `{0}`")]
    Zone(String),
    /// Not text.
    #[error("expected text in UTF-8")]
    NotText,
    /// A file that is cut short looks like that.
    #[error("expected a member at least; `weight=0` keeps one without requests")]
    Nobody,
}

/// The greatest weight: more shades than can be told apart.
const WEIGHT_MAX: u32 = 65_535;

/// The members that a file lists.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse(text: &[u8]) -> Result<Vec<Found>, WrongFile> {
    let (mut members, mut known, mut last) = (Vec::new(), HashSet::new(), 1);
    for (line, text) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let wrong = |what| WrongFile { line, what };
        let text = str::from_utf8(text).map_err(|_| wrong(Wrong::NotText))?;
        let words = text.split('#').next().unwrap_or_default();
        if let Some(member) = member(words).map_err(wrong)? {
            if !known.insert(member.address.clone()) {
                return Err(wrong(Wrong::Twice(member.address)));
            }
            members.push(member);
        }
        last = line;
    }
    if members.is_empty() {
        return Err(WrongFile { line: last, what: Wrong::Nobody });
    }
    Ok(members)
}

fn member(line: &str) -> Result<Option<Found>, Wrong> {
    let mut words = line.split_ascii_whitespace();
    let Some(address) = words.next() else { return Ok(None) };
    let address: Address = address.parse()?;
    if address.is_any_port() {
        return Err(Wrong::AnyPort);
    }
    let mut member = Found::from(address);
    for word in words {
        match word.split_once('=') {
            Some(("weight", _)) if member.weight.is_some() => return Err(Wrong::WordTwice("weight")),
            Some(("zone", _)) if member.zone.is_some() => return Err(Wrong::WordTwice("zone")),
            Some(("weight", weight)) => member.weight = Some(self::weight(weight)?),
            Some(("zone", zone)) if is_zone(zone) => member.zone = Some(zone.to_owned()),
            Some(("zone", zone)) => return Err(Wrong::Zone(zone.to_owned())),
            _ => return Err(Wrong::Unknown(word.to_owned())),
        }
    }
    Ok(Some(member))
}

fn weight(text: &str) -> Result<u32, Wrong> {
    // `+3` would be a number too.
    let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let weight = digits.and_then(|text| text.parse().ok()).filter(|weight| *weight <= WEIGHT_MAX);
    weight.ok_or_else(|| Wrong::Weight(text.to_owned()))
}

fn is_zone(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_lists_a_member_on_each_line() {
        let text = b"# blue\n\n10.0.0.1:8080 weight=3 zone=a\r\n  [2001:db8::1]:80\tzone=eu-west_1.b weight=0 # resting\nunix:/run/app.sock";
        let found = |address: &str, weight, zone: Option<&str>| Found {
            address: address.parse().unwrap(),
            weight,
            zone: zone.map(str::to_owned),
        };
        let expected = [
            found("10.0.0.1:8080", Some(3), Some("a")),
            found("[2001:db8::1]:80", Some(0), Some("eu-west_1.b")),
            found("unix:/run/app.sock", None, None),
        ];
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let check = |text: &[u8], expected: &str| assert_eq!(parse(text).unwrap_err().to_string(), expected);
        let address = "expected an IP address and port such as `127.0.0.1:8080`, or `unix:` and an absolute path, got";
        check(b"10.0.0.1:80\n\napp:80", &format!("3: {address} `app:80`"));
        check(b"weight=3", &format!("1: {address} `weight=3`"));
        check(b"10.0.0.1:0", "1: a member's port cannot be 0");
        check(b"10.0.0.1:80\n10.0.0.1:80", "2: `10.0.0.1:80` is there twice");
        check(b"10.0.0.1:80 weight=1 weight=1", "1: `weight` is there twice");
        check(b"10.0.0.1:80 zone=a zone=b", "1: `zone` is there twice");
        for word in ["3", "weigth=3", "Weight=3", "10.0.0.2:80", "zone:a"] {
            let expected = "expected `weight=` and a number or `zone=` and a name after the address, got";
            check(format!("10.0.0.1:80 {word}").as_bytes(), &format!("1: {expected} `{word}`"));
        }
        for weight in ["", "-1", "+1", "65536", "99999999999", "1.5"] {
            let expected = "expected a weight from 0 (none of the requests) to 65535, got";
            check(format!("10.0.0.1:80 weight={weight}").as_bytes(), &format!("1: {expected} `{weight}`"));
        }
        for zone in ["", "a/b", &"a".repeat(64)] {
            let expected = "expected a zone of letters, digits, `-`, `_` and `.`, 63 at most, got";
            check(format!("10.0.0.1:80 zone={zone}").as_bytes(), &format!("1: {expected} `{zone}`"));
        }
        check(b"10.0.0.1:80\n\xff", "2: expected text in UTF-8");
        for nobody in [&b""[..], b"#", b" \t"] {
            check(nobody, "1: expected a member at least; `weight=0` keeps one without requests");
        }
        check(b"\n# all gone\n", "3: expected a member at least; `weight=0` keeps one without requests");
    }
}
