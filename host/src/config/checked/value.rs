//! Values of one key: addresses, numbers, times, sizes.

use std::net::SocketAddr;
use std::time::Duration;

use toml::Spanned;

use super::{Checker, ConfigError};

/// The memory a policy may be given: less than one page of 64 KiB is none, more is not reserved.
const MEMORY_BYTES: [usize; 2] = [64 * 1024, 64 * 1024 * 1024];

impl Checker<'_> {
    pub(super) fn address(&self, key: &str, value: &Spanned<String>) -> Result<SocketAddr, ConfigError> {
        value.as_ref().parse().or_else(|_| {
            let message = format!("expected an IP address and port such as `127.0.0.1:8080`, got `{}`", value.as_ref());
            self.wrong(key, value.span().start, message)
        })
    }

    pub(super) fn loopback(&self, key: &str, value: &Spanned<String>) -> Result<SocketAddr, ConfigError> {
        let address = self.address(key, value)?;
        if address.ip().is_loopback() {
            return Ok(address);
        }
        let message = format!("expected a loopback address, got `{address}`: the control API speaks plain HTTP");
        self.wrong(key, value.span().start, message)
    }

    pub(super) fn within(
        &self,
        key: &str,
        value: &Spanned<usize>,
        min: usize,
        max: usize,
    ) -> Result<usize, ConfigError> {
        if (min..=max).contains(value.as_ref()) {
            return Ok(*value.as_ref());
        }
        self.wrong(key, value.span().start, format!("expected {min} to {max}, got {}", value.as_ref()))
    }

    pub(super) fn duration_or(
        &self,
        key: &str,
        value: Option<&Spanned<String>>,
        default: Duration,
    ) -> Result<Duration, ConfigError> {
        value.map_or(Ok(default), |value| self.duration(key, value))
    }

    pub(super) fn duration(&self, key: &str, value: &Spanned<String>) -> Result<Duration, ConfigError> {
        match humantime::parse_duration(value.as_ref()) {
            // A day: more is a mistake, and far from what timers can do.
            Ok(duration) if !duration.is_zero() && duration <= Duration::from_secs(86_400) => Ok(duration),
            _ => {
                let message =
                    format!("expected a time such as `250ms` or `30s`, up to a day, got `{}`", value.as_ref());
                self.wrong(key, value.span().start, message)
            }
        }
    }

    pub(super) fn bytes(&self, key: &str, value: &Spanned<String>) -> Result<usize, ConfigError> {
        let text = value.as_ref().trim();
        let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let unit = match unit.trim() {
            "KiB" => Some(1024),
            "MiB" => Some(1024 * 1024),
            _ => None,
        };
        let bytes = digits.parse::<usize>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
        match bytes {
            Some(bytes) if (MEMORY_BYTES[0]..=MEMORY_BYTES[1]).contains(&bytes) => Ok(bytes),
            _ => self.wrong(key, value.span().start, format!("expected `64KiB` to `64MiB`, got `{text}`")),
        }
    }
}
