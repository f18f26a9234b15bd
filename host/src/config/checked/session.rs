//! `[vips.NAME.session]`

use std::time::Duration;

use toml::Spanned;

use super::{Checker, ConfigError};
use crate::config::raw::RawSession;
use crate::spec::session::{SessionMode, SessionSpec};

/// Time for sessions to end where they began, unless told otherwise: a visit to a shop.
const LIMIT: Duration = Duration::from_secs(600);

/// Time that new requests wait unless told otherwise: nearly all requests have ended by then, and few clients have gone.
const HOLD_MAX: Duration = Duration::from_secs(2);

/// What can be asked for: clients that wait for longer have gone, or come again.
const HOLD_MAX_MAX: Duration = Duration::from_secs(60);

impl Checker<'_> {
    pub(super) fn session(&self, raw: &RawSession) -> Result<SessionSpec, ConfigError> {
        let modes = [("cut", 0), ("drain-sticky", 1), ("hold", 2)];
        let mode = self.choice_or_default("mode", raw.mode.as_ref(), modes)?;
        self.only_for("limit", raw.limit.as_ref(), mode == 1, "drain-sticky")?;
        self.only_for("hold_max", raw.hold_max.as_ref(), mode == 2, "hold")?;
        let mode = match mode {
            0 => SessionMode::Cut,
            1 => SessionMode::DrainSticky(self.duration_or("limit", raw.limit.as_ref(), LIMIT)?),
            _ => SessionMode::Hold(self.hold_max(raw.hold_max.as_ref())?),
        };
        let upgraded_limit = self.maybe_duration("upgraded_limit", raw.upgraded_limit.as_ref())?;
        Ok(SessionSpec { mode, upgraded_limit })
    }

    fn hold_max(&self, raw: Option<&Spanned<String>>) -> Result<Duration, ConfigError> {
        let max = self.duration_or("hold_max", raw, HOLD_MAX)?;
        match raw {
            Some(raw) if max > HOLD_MAX_MAX => {
                self.wrong("hold_max", raw.span().start, format!("expected up to `1m`, got `{}`", raw.as_ref()))
            }
            _ => Ok(max),
        }
    }

    fn only_for(&self, key: &str, raw: Option<&Spanned<String>>, is_mode: bool, mode: &str) -> Result<(), ConfigError> {
        match raw {
            Some(raw) if !is_mode => self.wrong(key, raw.span().start, format!("is for mode `{mode}` only")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, parse};
    use super::*;

    fn text(session: &str) -> String {
        format!("[pools.blue]\n[vips.v]\nlisten = '127.0.0.1:1'\npool = 'blue'\nsession = {{ {session} }}")
    }

    #[test]
    fn a_session_has_a_mode_and_the_times_that_are_the_modes() {
        let session = |rest: &str| parse(&text(rest)).unwrap().desired.vips["v"].session.clone();
        let seconds = Duration::from_secs;
        assert_eq!(session(""), SessionSpec::default());
        assert_eq!(session("mode = 'cut'").mode, SessionMode::Cut);
        assert_eq!(session("mode = 'drain-sticky'").mode, SessionMode::DrainSticky(seconds(600)));
        assert_eq!(session("mode = 'drain-sticky', limit = '1h'").mode, SessionMode::DrainSticky(seconds(3600)));
        assert_eq!(session("mode = 'hold'").mode, SessionMode::Hold(seconds(2)));
        assert_eq!(session("mode = 'hold', hold_max = '5s'").mode, SessionMode::Hold(seconds(5)));
        assert_eq!(session("upgraded_limit = '10m'").upgraded_limit, Some(seconds(600)));
    }

    #[test]
    fn a_session_that_cannot_be_is_refused() {
        let refuse =
            |rest: &str, expected: &str| check(&text(rest), &format!("/etc/x.toml:5: vips.v.session.{expected}"));
        refuse("mode = 'drain'", "mode: expected `cut`, `drain-sticky` or `hold`, got `drain`");
        refuse("limit = '1m'", "limit: is for mode `drain-sticky` only");
        refuse("mode = 'hold', limit = '1m'", "limit: is for mode `drain-sticky` only");
        refuse("mode = 'drain-sticky', hold_max = '1s'", "hold_max: is for mode `hold` only");
        refuse("mode = 'hold', hold_max = '61s'", "hold_max: expected up to `1m`, got `61s`");
        let time = "expected a time such as `250ms` or `30s`, up to a day, got `0s`";
        refuse("mode = 'drain-sticky', limit = '0s'", &format!("limit: {time}"));
        refuse("mode = 'hold', hold_max = '0s'", &format!("hold_max: {time}"));
        refuse("upgraded_limit = '0s'", &format!("upgraded_limit: {time}"));
    }
}
