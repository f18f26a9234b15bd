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

impl Checker<'_> {
    pub(super) fn policy(&self, key: &str, raw: RawPolicy) -> Result<PolicySpec, ConfigError> {
        let mut limits = Limits::default();
        if let Some(deadline) = &raw.deadline {
            let key = format!("{key}.deadline");
            limits.deadline = self.duration(&key, deadline)?;
            if limits.deadline < DEADLINE[0] || limits.deadline > DEADLINE[1] {
                return self.wrong(
                    &key,
                    deadline.span().start,
                    format!("expected 2ms to 1s, got `{}`", deadline.as_ref()),
                );
            }
        }
        if let Some(memory) = &raw.memory {
            limits.memory_bytes = self.bytes(&format!("{key}.memory"), memory)?;
        }
        if let Some(isolation) = &raw.isolation {
            limits.isolation = match isolation.as_ref().as_str() {
                "worker" => Isolation::Worker,
                "request" => Isolation::Request,
                other => {
                    let message = format!("expected `worker` or `request`, got `{other}`");
                    return self.wrong(&format!("{key}.isolation"), isolation.span().start, message);
                }
            };
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
