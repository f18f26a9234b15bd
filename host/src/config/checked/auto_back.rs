//! `[auto_back]`, `[vips.NAME.auto_back]`

use toml::Spanned;

use super::{Checker, ConfigError};
use crate::config::raw::RawAutoBack;
use crate::spec::auto_back::{AutoBackSpec, Mode, Share};

impl Checker<'_> {
    pub(super) fn auto_back(&self, raw: &RawAutoBack) -> Result<AutoBackSpec, ConfigError> {
        let modes = [("on", Mode::Act), ("report", Mode::Report), ("off", Mode::Off)];
        Ok(AutoBackSpec {
            mode: raw.mode.as_ref().map(|mode| self.choice("mode", mode, modes)).transpose()?,
            failures: raw.failures.as_ref().map(|share| self.share("failures", share)).transpose()?,
            slow_factor: self.maybe_within("slow_factor", raw.slow_factor.as_ref(), 0..=1000)?,
            samples_min: self.maybe_within("samples_min", raw.samples_min.as_ref(), 10..=1_000_000)?,
            watch: self.maybe_duration("watch", raw.watch.as_ref())?,
        })
    }

    /// A share that is written as percents: none is not asked for, and all cannot be.
    fn share(&self, name: &str, value: &Spanned<String>) -> Result<Share, ConfigError> {
        let text = value.as_ref();
        let percent = text.trim().strip_suffix('%').and_then(|percent| percent.trim().parse::<f64>().ok());
        match percent.map(|percent| (percent * 100.0).round()) {
            Some(hundredths) if (1.0..10_000.0).contains(&hundredths) => Ok(Share(hundredths as u32)),
            _ => {
                let message = format!("expected a share such as `2%`, from `0.01%` to `99.99%`, got `{text}`");
                self.wrong(name, value.span().start, message)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{check, parse};
    use super::*;
    use crate::spec::auto_back::AutoBack;

    #[test]
    fn a_vip_is_watched_as_the_file_says_for_all_unless_it_says_otherwise() {
        let text = "[auto_back]\nmode = 'report'\nfailures = '0.5%'\n[pools.blue]\nmembers = []\n[vips.v]\nlisten = '127.0.0.1:80'\npool = 'blue'\nauto_back = { mode = 'on', slow_factor = 0, samples_min = 100, watch = '1h' }";
        let config = parse(text).unwrap();
        let expected = AutoBack {
            mode: Mode::Act,
            failures: Share(50),
            slow_factor: 0,
            samples_min: 100,
            watch: Duration::from_secs(3600),
        };
        assert_eq!(config.auto_back.with(&config.desired.vips["v"].auto_back), expected);
        assert_eq!(parse("").unwrap().auto_back, AutoBack::default());
    }

    #[test]
    fn what_cannot_be_watched_so_is_refused() {
        let check = |line: &str, expected: &str| {
            check(&format!("[auto_back]\n{line}"), &format!("/etc/x.toml:2: auto_back.{expected}"));
        };
        check("mode = 'dry'", "mode: expected `on`, `report` or `off`, got `dry`");
        for text in ["2", "0%", "100%", "-1%", "x%", "nan%"] {
            let expected = format!("failures: expected a share such as `2%`, from `0.01%` to `99.99%`, got `{text}`");
            check(&format!("failures = '{text}'"), &expected);
        }
        check("slow_factor = 1001", "slow_factor: expected 0 to 1000, got 1001");
        check("samples_min = 9", "samples_min: expected 10 to 1000000, got 9");
        check("watch = '0s'", "watch: expected a time such as `250ms` or `30s`, up to a day, got `0s`");
    }
}
