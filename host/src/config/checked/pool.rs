//! `[pools.NAME]`

use toml::Spanned;

use super::{Checker, ConfigError};
use crate::address::Address;
use crate::config::raw::RawPool;
use crate::spec::PoolSpec;

impl Checker<'_> {
    pub(super) fn pool(&self, key: &str, raw: &RawPool) -> Result<PoolSpec, ConfigError> {
        let members_key = format!("{key}.members");
        let mut members = Vec::new();
        for member in &raw.members {
            let address = self.address(&members_key, member)?;
            if address.port() == 0 {
                return self.wrong(&members_key, member.span().start, "a member's port cannot be 0");
            }
            let address = Address::Tcp(address);
            if members.contains(&address) {
                return self.wrong(&members_key, member.span().start, format!("`{address}` is there twice"));
            }
            members.push(address);
        }
        let default = PoolSpec::default();
        let timeout = |name: &str, value: Option<&Spanned<String>>, default| {
            self.duration_or(&format!("{key}.{name}"), value, default)
        };
        Ok(PoolSpec {
            members,
            connect_timeout: timeout("connect_timeout", raw.connect_timeout.as_ref(), default.connect_timeout)?,
            response_timeout: timeout("response_timeout", raw.response_timeout.as_ref(), default.response_timeout)?,
            ..default
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::NAME_RULE;
    use super::super::tests::check;

    #[test]
    fn a_pool_that_cannot_be_is_refused() {
        let pool = |rest: &str| format!("[pools.blue]\n{rest}");
        check(
            &pool("members = ['blue:80']"),
            "/etc/x.toml:2: pools.blue.members: expected an IP address and port such as `127.0.0.1:8080`, got `blue:80`",
        );
        check(&pool("members = ['1.1.1.1:0']"), "/etc/x.toml:2: pools.blue.members: a member's port cannot be 0");
        check(
            &pool("members = ['1.1.1.1:1',\n'1.1.1.1:1']"),
            "/etc/x.toml:3: pools.blue.members: `1.1.1.1:1` is there twice",
        );
        check(
            &pool("members = []\nconnect_timeout = '0s'"),
            "/etc/x.toml:3: pools.blue.connect_timeout: expected a time such as `250ms` or `30s`, up to a day, got `0s`",
        );
        check("[pools.'b lue']\nmembers = []", &format!("/etc/x.toml:1: pools.b lue: {NAME_RULE}"));
    }
}
