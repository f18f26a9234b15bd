//! Values of one key: addresses, numbers, times, sizes, paths.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::{Checker, ConfigError};
use crate::address::Address;

impl Checker<'_> {
    pub(super) fn address(&self, name: &str, value: &Spanned<String>) -> Result<Address, ConfigError> {
        let address = value.as_ref().parse::<Address>();
        address.or_else(|error| self.wrong(name, value.span().start, error.to_string()))
    }

    pub(super) fn loopback(&self, name: &str, value: &Spanned<String>) -> Result<SocketAddr, ConfigError> {
        let text = value.as_ref();
        let message = match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => return Ok(address),
            Ok(address) => format!("expected a loopback address, got `{address}`: the control API speaks plain HTTP"),
            Err(_) => format!("expected an IP address and port such as `127.0.0.1:8080`, got `{text}`"),
        };
        self.wrong(name, value.span().start, message)
    }

    pub(super) fn within<T: TryFrom<usize>>(
        &self,
        name: &str,
        value: &Spanned<usize>,
        range: RangeInclusive<usize>,
    ) -> Result<T, ConfigError> {
        let number = *value.as_ref();
        match T::try_from(number) {
            Ok(fits) if range.contains(&number) => Ok(fits),
            _ => {
                let message = format!("expected {} to {}, got {number}", range.start(), range.end());
                self.wrong(name, value.span().start, message)
            }
        }
    }

    pub(super) fn within_or<T: TryFrom<usize>>(
        &self,
        name: &str,
        value: Option<&Spanned<usize>>,
        default: T,
        range: RangeInclusive<usize>,
    ) -> Result<T, ConfigError> {
        value.map_or(Ok(default), |value| self.within(name, value, range))
    }

    pub(super) fn duration_or(
        &self,
        name: &str,
        value: Option<&Spanned<String>>,
        default: Duration,
    ) -> Result<Duration, ConfigError> {
        value.map_or(Ok(default), |value| self.duration(name, value))
    }

    /// A time that need not be there.
    pub(super) fn maybe_duration(
        &self,
        name: &str,
        value: Option<&Spanned<String>>,
    ) -> Result<Option<Duration>, ConfigError> {
        value.map(|value| self.duration(name, value)).transpose()
    }

    /// A number that need not be there.
    pub(super) fn maybe_within<T: TryFrom<usize>>(
        &self,
        name: &str,
        value: Option<&Spanned<usize>>,
        range: RangeInclusive<usize>,
    ) -> Result<Option<T>, ConfigError> {
        value.map(|value| self.within(name, value, range)).transpose()
    }

    pub(super) fn duration(&self, name: &str, value: &Spanned<String>) -> Result<Duration, ConfigError> {
        match humantime::parse_duration(value.as_ref()) {
            // A day: more is a mistake, and far from what timers can do.
            Ok(duration) if !duration.is_zero() && duration <= Duration::from_secs(86_400) => Ok(duration),
            _ => {
                let message =
                    format!("expected a time such as `250ms` or `30s`, up to a day, got `{}`", value.as_ref());
                self.wrong(name, value.span().start, message)
            }
        }
    }

    /// A time that may be none at all.
    pub(super) fn duration_or_none(
        &self,
        name: &str,
        value: Option<&Spanned<String>>,
    ) -> Result<Duration, ConfigError> {
        let is_none = |value: &&Spanned<String>| humantime::parse_duration(value.as_ref()) == Ok(Duration::ZERO);
        self.duration_or(name, value.filter(|value| !is_none(value)), Duration::ZERO)
    }

    /// A size from the first of `range` to the second.
    pub(super) fn bytes_within(
        &self,
        name: &str,
        value: &Spanned<String>,
        range: [&str; 2],
    ) -> Result<usize, ConfigError> {
        let [min, max] = range.map(|text| bytes(text).expect("ranges are written as values are"));
        let text = value.as_ref().trim();
        match bytes(text).filter(|bytes| (min..=max).contains(bytes)).and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => Ok(bytes),
            None => {
                let message = format!("expected `{}` to `{}`, got `{text}`", range[0], range[1]);
                self.wrong(name, value.span().start, message)
            }
        }
    }

    /// A size without a limit of its own.
    pub(super) fn bytes(&self, name: &str, value: &Spanned<String>) -> Result<u64, ConfigError> {
        bytes(value.as_ref()).map_or_else(
            || {
                let message = format!("expected a size such as `64KiB`, `10MiB` or `1GiB`, got `{}`", value.as_ref());
                self.wrong(name, value.span().start, message)
            },
            Ok,
        )
    }

    /// A path; a relative one begins at the file.
    pub(super) fn path(&self, name: &str, value: &Spanned<String>) -> Result<PathBuf, ConfigError> {
        if value.as_ref().is_empty() {
            return self.wrong(name, value.span().start, "expected a path, got none");
        }
        Ok(self.folder().join(value.as_ref()))
    }

    /// One of some words.
    pub(super) fn choice<T, const N: usize>(
        &self,
        name: &str,
        value: &Spanned<String>,
        choices: [(&str, T); N],
    ) -> Result<T, ConfigError> {
        let words = choices.each_ref().map(|(word, _)| format!("`{word}`"));
        let chosen = choices.into_iter().find(|(word, _)| value.as_ref() == word);
        chosen.map_or_else(
            || {
                let (last, first) = words.split_last().expect("there is something to choose");
                let message = format!("expected {} or {last}, got `{}`", first.join(", "), value.as_ref());
                self.wrong(name, value.span().start, message)
            },
            |(_, chosen)| Ok(chosen),
        )
    }

    pub(super) fn choice_or_default<T: Default, const N: usize>(
        &self,
        name: &str,
        value: Option<&Spanned<String>>,
        choices: [(&str, T); N],
    ) -> Result<T, ConfigError> {
        value.map_or_else(|| Ok(T::default()), |value| self.choice(name, value, choices))
    }
}

fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit = match unit.trim() {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_whole_number_and_a_unit() {
        let check = |text, expected| assert_eq!(bytes(text), expected, "{text}");
        check("0KiB", Some(0));
        check("64KiB", Some(65_536));
        check(" 10 MiB ", Some(10 << 20));
        check("1GiB", Some(1 << 30));
        for text in ["", "10", "MiB", "1MB", "1.5MiB", "-1KiB", "99999999999999999999KiB", "99999999999GiB"] {
            check(text, None);
        }
    }
}
