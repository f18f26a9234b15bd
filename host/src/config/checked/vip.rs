//! `[vips.NAME]`

use std::collections::BTreeMap;

use toml::Spanned;

use super::{Checker, ConfigError, NAME_RULE};
use crate::config::raw::RawVip;
use crate::policy::validate::check_name;
use crate::spec::{DeciderSpec, PoolSpec, VipSpec};

impl Checker<'_> {
    pub(super) fn vip(
        &self,
        key: &str,
        raw: RawVip,
        pools: &BTreeMap<String, PoolSpec>,
    ) -> Result<VipSpec, ConfigError> {
        let listen = self.address(&format!("{key}.listen"), &raw.listen)?.to_string();
        for host in &raw.hosts {
            if !is_host_pattern(host.as_ref()) {
                let message =
                    format!("expected a host such as `shop.example` or `*.shop.example`, got `{}`", host.as_ref());
                return self.wrong(&format!("{key}.hosts"), host.span().start, message);
            }
        }
        for path in &raw.paths {
            if !path.as_ref().starts_with('/') || path.as_ref().contains(['?', '#', ' ']) {
                let message = format!("expected a path that begins with `/`, got `{}`", path.as_ref());
                return self.wrong(&format!("{key}.paths"), path.span().start, message);
            }
        }
        let pool_is_defined = |name: &str, pool: &Spanned<String>| {
            if pools.contains_key(pool.as_ref()) {
                return Ok(());
            }
            let known = pools.keys().cloned().collect::<Vec<_>>().join(", ");
            let message = format!("pool `{}` is not defined; there are: {known}", pool.as_ref());
            self.wrong(&format!("{key}.{name}"), pool.span().start, message)
        };
        let decider = match (raw.pool, raw.policy) {
            (Some(pool), None) => {
                pool_is_defined("pool", &pool)?;
                DeciderSpec::Pool(pool.into_inner())
            }
            (None, Some(policy)) => {
                if check_name(policy.as_ref()).is_err() {
                    return self.wrong(&format!("{key}.policy"), policy.span().start, NAME_RULE);
                }
                DeciderSpec::Policy(policy.into_inner())
            }
            (Some(_), Some(policy)) => {
                return self.wrong(key, policy.span().start, "has both `pool` and `policy`; only one can decide");
            }
            (None, None) => {
                return self.wrong(key, raw.listen.span().start, "needs `pool` or `policy`: what decides for it");
            }
        };
        if let Some(pool) = &raw.fallback {
            pool_is_defined("fallback", pool)?;
        }
        Ok(VipSpec {
            hosts: raw.hosts.into_iter().map(|host| host.into_inner().to_ascii_lowercase()).collect(),
            paths: raw.paths.into_iter().map(Spanned::into_inner).collect(),
            fallback: raw.fallback.map(Spanned::into_inner),
            ..VipSpec::new(vec![listen], decider)
        })
    }
}

fn is_host_pattern(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_ipv6 = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .is_some_and(|name| name.parse::<std::net::Ipv6Addr>().is_ok());
    is_ipv6 || (!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')))
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn a_vip_that_cannot_be_is_refused() {
        let vip = |rest: &str| format!("[pools.blue]\nmembers = []\n[vips.v]\nlisten = '127.0.0.1:1'\n{rest}");
        check(&vip(""), "/etc/x.toml:4: vips.v: needs `pool` or `policy`: what decides for it");
        check(
            &vip("pool = 'blue'\npolicy = 'p'"),
            "/etc/x.toml:6: vips.v: has both `pool` and `policy`; only one can decide",
        );
        check(&vip("pool = 'red'"), "/etc/x.toml:5: vips.v.pool: pool `red` is not defined; there are: blue");
        check(
            &vip("policy = 'p'\nfallback = 'red'"),
            "/etc/x.toml:6: vips.v.fallback: pool `red` is not defined; there are: blue",
        );
        check(
            &vip("pool = 'blue'\nhosts = ['a b']"),
            "/etc/x.toml:6: vips.v.hosts: expected a host such as `shop.example` or `*.shop.example`, got `a b`",
        );
        check(
            &vip("pool = 'blue'\npaths = ['x']"),
            "/etc/x.toml:6: vips.v.paths: expected a path that begins with `/`, got `x`",
        );
        check(
            "[vips.v]\nlisten = 'here'\npool = 'p'",
            "/etc/x.toml:2: vips.v.listen: expected an IP address and port such as `127.0.0.1:8080`, got `here`",
        );
    }
}
