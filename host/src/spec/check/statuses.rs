//! Statuses that are good, as ranges.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

/// Ranges of statuses. Its text is `200`, `200-299` or `200-299, 304`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Statuses(Vec<RangeInclusive<u16>>);

/// Not the text of statuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected statuses from 200 to 599, such as `200-299, 304`, got `{0}`")]
pub struct NotStatuses(pub String);

/// Statuses that end an exchange: those below only announce them, and are skipped.
const FINAL: RangeInclusive<u16> = 200..=599;

impl Statuses {
    /// Whether this one is among them.
    pub fn contain(&self, status: StatusCode) -> bool {
        self.0.iter().any(|range| range.contains(&status.as_u16()))
    }
}

impl Default for Statuses {
    fn default() -> Self {
        Self(vec![200..=299])
    }
}

impl FromStr for Statuses {
    type Err = NotStatuses;

    fn from_str(text: &str) -> Result<Self, NotStatuses> {
        let ranges: Option<Vec<_>> = text.split(',').map(|range| self::range(range.trim())).collect();
        ranges.map(Self).ok_or_else(|| NotStatuses(text.to_owned()))
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (status(first)?, status(last)?);
    (first <= last).then_some(first..=last)
}

fn status(text: &str) -> Option<u16> {
    // `parse` would take `+200` as well.
    let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|status| digits && FINAL.contains(status))
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, range) in self.0.iter().enumerate() {
            f.write_str(if at > 0 { ", " } else { "" })?;
            match (range.start(), range.end()) {
                (first, last) if first == last => first.fmt(f)?,
                (first, last) => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Statuses {
    type Error = NotStatuses;

    fn try_from(text: String) -> Result<Self, NotStatuses> {
        text.parse()
    }
}

impl From<Statuses> for String {
    fn from(statuses: Statuses) -> Self {
        statuses.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_as_they_are_written() {
        for text in ["200", "200-299", "200-299, 304", "204, 301-302"] {
            assert_eq!(text.parse::<Statuses>().unwrap().to_string(), text);
        }
        for text in ["", "ok", "2xx", "99", "100", "600", "299-200", "200-", "-299", "+200", "200,,204", "0200"] {
            assert_eq!(text.parse::<Statuses>(), Err(NotStatuses(text.into())), "{text}");
        }
    }

    #[test]
    fn a_range_holds_both_its_ends() {
        let statuses: Statuses = "200-299, 304".parse().unwrap();
        for (status, is_good) in [(200, true), (299, true), (300, false), (304, true), (503, false)] {
            assert_eq!(statuses.contain(StatusCode::from_u16(status).unwrap()), is_good, "{status}");
        }
    }
}
