//! `[policies.NAME]`

use std::time::Duration;

use toml::Spanned;

use super::{Checker, ConfigError};
use crate::config::raw::RawPolicy;
use crate::policy::{Isolation, Limits};
use crate::spec::PolicySpec;

/// The deadlines a policy may be given. Below the first the clock's resolution is felt; above the second a policy holds
/// up everybody on its worker for too long.
const DEADLINE: [Duration; 2] = [Duration::from_millis(2), Duration::from_secs(1)];

/// The memory a policy may be given: less than one page of 64 KiB is none, more is not reserved.
const MEMORY: [&str; 2] = ["64KiB", "64MiB"];

impl Checker<'_> {
    pub(super) fn policy(&self, raw: RawPolicy) -> Result<PolicySpec, ConfigError> {
        let mut limits = Limits::default();
        if let Some(deadline) = &raw.deadline {
            limits.deadline = self.duration("deadline", deadline)?;
            if limits.deadline < DEADLINE[0] || limits.deadline > DEADLINE[1] {
                let message = format!("expected 2ms to 1s, got `{}`", deadline.as_ref());
                return self.wrong("deadline", deadline.span().start, message);
            }
        }
        if let Some(memory) = &raw.memory {
            limits.memory_bytes = self.bytes_within("memory", memory, MEMORY)?;
        }
        if let Some(isolation) = &raw.isolation {
            let choices = [("worker", Isolation::Worker), ("request", Isolation::Request)];
            limits.isolation = self.choice("isolation", isolation, choices)?;
        }
        let config = match raw.config.map(Spanned::into_inner) {
            None => String::new(),
            Some(toml::Value::String(text)) => text,
            Some(value) => serde_json::to_string(&value).expect("TOML values are JSON values, dates as text"),
        };
        Ok(PolicySpec { digest: None, config, limits })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, parse};
    use super::*;

    #[test]
    fn a_policy_is_told_its_table_as_json_or_its_text_as_it_is() {
        let text = "[policies.a]\nconfig = { percent = 5, key = 'uid' }\n[policies.b]\nconfig = 'anything'\nmemory = '1MiB'\ndeadline = '10ms'\nisolation = 'request'";
        let policies = parse(text).unwrap().desired.policies;
        assert_eq!(policies["a"].config, r#"{"key":"uid","percent":5}"#);
        assert_eq!(policies["b"].config, "anything");
        let limits =
            Limits { deadline: Duration::from_millis(10), memory_bytes: 1 << 20, isolation: Isolation::Request };
        assert_eq!(policies["b"].limits, limits);
    }

    #[test]
    fn a_policy_that_cannot_be_is_refused() {
        let policy = |rest: &str| format!("[policies.p]\n{rest}");
        check(&policy("deadline = '1ms'"), "/etc/x.toml:2: policies.p.deadline: expected 2ms to 1s, got `1ms`");
        check(&policy("memory = '1GB'"), "/etc/x.toml:2: policies.p.memory: expected `64KiB` to `64MiB`, got `1GB`");
        check(
            &policy("isolation = 'total'"),
            "/etc/x.toml:2: policies.p.isolation: expected `worker` or `request`, got `total`",
        );
    }
}
