//! `[vips.NAME]`

use std::collections::BTreeMap;
use std::net::IpAddr;

use toml::{Spanned, Value};

use super::listener::Addresses;
use super::{Checker, ConfigError, NAME_RULE};
use crate::address::Address;
use crate::config::raw::{OneOrMany, RawMirror, RawVip};
use crate::policy::validate::check_name;
use crate::spec::vip::{MirrorSpec, VipTimeouts};
use crate::spec::{DeciderSpec, ListenerSpec, PoolSpec, VipLimits, VipSpec};

/// What vips can name.
pub(super) struct Defined<'a> {
    pub(super) listeners: &'a BTreeMap<String, ListenerSpec>,
    pub(super) addresses: &'a Addresses,
    pub(super) pools: &'a BTreeMap<String, PoolSpec>,
}

impl Checker<'_> {
    pub(super) fn vip(&self, raw: RawVip, defined: &Defined<'_>) -> Result<VipSpec, ConfigError> {
        let listen = self.listen(&raw.listen, defined)?;
        for host in &raw.hosts {
            if !is_host_pattern(host.as_ref()) {
                let message =
                    format!("expected a host such as `shop.example` or `*.shop.example`, got `{}`", host.as_ref());
                return self.wrong("hosts", host.span().start, message);
            }
        }
        for path in &raw.paths {
            let text = path.as_ref().strip_prefix('=').unwrap_or(path.as_ref());
            if !text.starts_with('/') || text.contains(['?', '#', ' ']) {
                let message = format!("expected a path that begins with `/`, got `{}`", path.as_ref());
                return self.wrong("paths", path.span().start, message);
            }
        }
        let decider = self.decider(&raw, defined.pools)?;
        if let Some(pool) = &raw.fallback {
            self.defined_pool("fallback", pool, defined.pools)?;
        }
        Ok(VipSpec {
            listen,
            decider,
            redirect_to_https: raw.redirect_to_https.as_ref().map_or(Ok(None), |port| self.redirect(port))?,
            limits: self.vip_limits(&raw)?,
            timeouts: self.vip_timeouts(&raw)?,
            mirror: raw.mirror.as_ref().map(|mirror| self.inner("mirror").mirror(mirror, defined.pools)).transpose()?,
            session: self.inner("session").session(&raw.session)?,
            auto_back: self.inner("auto_back").auto_back(&raw.auto_back)?,
            request_headers: self.inner("request_headers").header_rules(raw.request_headers)?,
            response_headers: self.inner("response_headers").header_rules(raw.response_headers)?,
            hosts: raw.hosts.into_iter().map(|host| host.into_inner().to_ascii_lowercase()).collect(),
            paths: raw.paths.into_iter().map(Spanned::into_inner).collect(),
            fallback: raw.fallback.map(Spanned::into_inner),
        })
    }

    fn listen(&self, raw: &Spanned<OneOrMany>, defined: &Defined<'_>) -> Result<Vec<String>, ConfigError> {
        let start = raw.span().start;
        let texts: Vec<(&str, usize)> = match raw.as_ref() {
            OneOrMany::One(text) => vec![(text, start)],
            OneOrMany::Many(texts) => texts.iter().map(|text| (text.as_ref().as_str(), text.span().start)).collect(),
        };
        if texts.is_empty() {
            return self.wrong("listen", start, "expected one listener or address at least");
        }
        let mut listen = Vec::new();
        for (text, at) in texts {
            let listener = self.listener_name(text, at, defined)?;
            if listen.contains(&listener) {
                return self.wrong("listen", at, format!("`{listener}` is there twice"));
            }
            listen.push(listener);
        }
        Ok(listen)
    }

    /// The name of a listener, or an address at which there is none of those that have a name.
    fn listener_name(&self, text: &str, at: usize, defined: &Defined<'_>) -> Result<String, ConfigError> {
        if defined.listeners.contains_key(text) {
            return Ok(text.to_owned());
        }
        let message = match text.parse::<Address>() {
            Ok(address) => match defined.addresses.get(&address) {
                None => return Ok(address.to_string()),
                Some(name) => format!("`{address}` is the address of listener `{name}`; hint: write `{name}`"),
            },
            // An address without a port looks like a name, too.
            Err(_) if !defined.listeners.is_empty() && check_name(text).is_ok() && text.parse::<IpAddr>().is_err() => {
                format!("listener `{text}` is not defined; there are: {}", names(defined.listeners))
            }
            Err(error) => error.to_string(),
        };
        self.wrong("listen", at, message)
    }

    fn decider(&self, raw: &RawVip, pools: &BTreeMap<String, PoolSpec>) -> Result<DeciderSpec, ConfigError> {
        match (&raw.pool, &raw.policy) {
            (Some(pool), None) => {
                self.defined_pool("pool", pool, pools)?;
                Ok(DeciderSpec::Pool(pool.as_ref().clone()))
            }
            (None, Some(policy)) if check_name(policy.as_ref()).is_err() => {
                self.wrong("policy", policy.span().start, NAME_RULE)
            }
            (None, Some(policy)) => Ok(DeciderSpec::Policy(policy.as_ref().clone())),
            (Some(_), Some(policy)) => {
                self.wrong("", policy.span().start, "has both `pool` and `policy`; only one can decide")
            }
            (None, None) => self.wrong("", raw.listen.span().start, "needs `pool` or `policy`: what decides for it"),
        }
    }

    fn defined_pool(
        &self,
        key: &str,
        pool: &Spanned<String>,
        pools: &BTreeMap<String, PoolSpec>,
    ) -> Result<(), ConfigError> {
        if pools.contains_key(pool.as_ref()) {
            return Ok(());
        }
        let message = format!("pool `{}` is not defined; there are: {}", pool.as_ref(), names(pools));
        self.wrong(key, pool.span().start, message)
    }

    fn redirect(&self, value: &Spanned<Value>) -> Result<Option<u16>, ConfigError> {
        let port = match value.as_ref() {
            Value::Boolean(redirect) => return Ok(redirect.then_some(443)),
            Value::Integer(port) => u16::try_from(*port).ok().filter(|port| *port > 0),
            _ => None,
        };
        if port.is_some() {
            return Ok(port);
        }
        let text = serde_json::to_string(value.as_ref()).expect("TOML values are JSON values, dates as text");
        self.wrong("redirect_to_https", value.span().start, format!("expected `true` or a port, got `{text}`"))
    }

    fn vip_limits(&self, raw: &RawVip) -> Result<VipLimits, ConfigError> {
        let default = VipLimits::default();
        let body = raw.request_body_max.as_ref().map(|size| self.bytes("request_body_max", size)).transpose()?;
        let requests = raw.requests_max.as_ref();
        let requests = requests.map(|max| self.within("requests_max", max, 1..=1_000_000)).transpose()?;
        let (client, tunnel) = (raw.client_timeout.as_ref(), raw.tunnel_timeout.as_ref());
        let rate = raw.client_rate_min.as_ref();
        Ok(VipLimits {
            request_body_bytes_max: body,
            requests_max: requests,
            client_timeout: self.duration_or("client_timeout", client, default.client_timeout)?,
            client_rate_min: self.within_or("client_rate_min", rate, default.client_rate_min, 0..=1_000_000)?,
            tunnel_timeout: self.duration_or("tunnel_timeout", tunnel, default.tunnel_timeout)?,
        })
    }

    fn vip_timeouts(&self, raw: &RawVip) -> Result<VipTimeouts, ConfigError> {
        let max = raw.policy_timeout_max.as_ref();
        Ok(VipTimeouts {
            connect: self.maybe_duration("connect_timeout", raw.connect_timeout.as_ref())?,
            response: self.maybe_duration("response_timeout", raw.response_timeout.as_ref())?,
            between_bytes: self.maybe_duration("between_bytes_timeout", raw.between_bytes_timeout.as_ref())?,
            whole: self.maybe_duration("whole_timeout", raw.whole_timeout.as_ref())?,
            policy_max: self.duration_or("policy_timeout_max", max, VipTimeouts::default().policy_max)?,
        })
    }

    fn mirror(&self, raw: &RawMirror, pools: &BTreeMap<String, PoolSpec>) -> Result<MirrorSpec, ConfigError> {
        self.defined_pool("pool", &raw.pool, pools)?;
        let default = MirrorSpec::to(raw.pool.as_ref().clone());
        let body =
            raw.body_max.as_ref().map(|max| self.bytes_within("body_max", max, ["0KiB", "16MiB"])).transpose()?;
        Ok(MirrorSpec {
            percent: self.within_or("percent", raw.percent.as_ref(), default.percent, 1..=100)?,
            requests_max: self.within_or(
                "requests_max",
                raw.requests_max.as_ref(),
                default.requests_max,
                1..=100_000,
            )?,
            body_bytes_max: body.unwrap_or(default.body_bytes_max),
            ..default
        })
    }
}

fn names<T>(defined: &BTreeMap<String, T>) -> String {
    defined.keys().cloned().collect::<Vec<_>>().join(", ")
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
    use std::time::Duration;

    use super::super::tests::{check, parse};
    use super::*;

    const FRONT: &str = "[pools.blue]\nmembers = []\n[listeners.front]\naddress = '0.0.0.0:80'\n[listeners.side]\naddress = 'unix:/run/x'\n[vips.v]\npool = 'blue'\n";

    fn vip(rest: &str) -> VipSpec {
        parse(&format!("{FRONT}{rest}")).unwrap_or_else(|error| panic!("{error}")).desired.vips["v"].clone()
    }

    fn refuse(rest: &str, expected: &str) {
        check(&format!("{FRONT}{rest}"), &format!("/etc/x.toml:9: vips.v.{expected}"));
    }

    #[test]
    fn a_vip_listens_at_names_and_addresses() {
        assert_eq!(vip("listen = 'front'").listen, ["front"]);
        assert_eq!(vip("listen = 'unix:/run/y'").listen, ["unix:/run/y"]);
        assert_eq!(vip("listen = ['side', 'front', '[::0]:81']").listen, ["side", "front", "[::]:81"]);
    }

    #[test]
    fn a_vip_that_says_no_more_has_the_defaults() {
        let expected = VipSpec::new(vec!["front".into()], DeciderSpec::Pool("blue".into()));
        assert_eq!(vip("listen = 'front'"), expected);
    }

    #[test]
    fn a_vip_has_limits_of_its_own() {
        let limits = vip(
            "listen = 'front'\nrequest_body_max = '10MiB'\nrequests_max = 100\nclient_timeout = '5s'\nclient_rate_min = 0\ntunnel_timeout = '1h'",
        )
        .limits;
        let expected = VipLimits {
            request_body_bytes_max: Some(10 << 20),
            requests_max: Some(100),
            client_timeout: Duration::from_secs(5),
            client_rate_min: 0,
            tunnel_timeout: Duration::from_secs(3600),
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn a_vip_has_times_and_a_mirror_of_its_own() {
        let spec = vip(
            "listen = 'front'\nconnect_timeout = '1s'\nresponse_timeout = '2s'\nbetween_bytes_timeout = '3s'\nwhole_timeout = '4s'\npolicy_timeout_max = '5s'\nmirror = { pool = 'blue', percent = 5, requests_max = 1, body_max = '0KiB' }",
        );
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let timeouts = VipTimeouts {
            connect: seconds(1),
            response: seconds(2),
            between_bytes: seconds(3),
            whole: seconds(4),
            policy_max: Duration::from_secs(5),
        };
        assert_eq!(spec.timeouts, timeouts);
        let mirror = MirrorSpec { pool: "blue".into(), percent: 5, requests_max: 1, body_bytes_max: 0 };
        assert_eq!(spec.mirror, Some(mirror));
        let least = vip("listen = 'front'\nmirror = { pool = 'blue' }").mirror;
        assert_eq!(least, Some(MirrorSpec::to("blue".into())));
    }

    #[test]
    fn a_time_or_mirror_that_cannot_be_is_refused() {
        for key in
            ["connect_timeout", "response_timeout", "between_bytes_timeout", "whole_timeout", "policy_timeout_max"]
        {
            refuse(
                &format!("{key} = '0s'\nlisten = 'front'"),
                &format!("{key}: expected a time such as `250ms` or `30s`, up to a day, got `0s`"),
            );
        }
        let mirror = |rest: &str, expected: &str| {
            refuse(&format!("mirror = {{ {rest} }}\nlisten = 'front'"), &format!("mirror.{expected}"));
        };
        mirror("pool = 'red'", "pool: pool `red` is not defined; there are: blue");
        for percent in ["0", "101"] {
            mirror(
                &format!("pool = 'blue', percent = {percent}"),
                &format!("percent: expected 1 to 100, got {percent}"),
            );
        }
        mirror("pool = 'blue', requests_max = 0", "requests_max: expected 1 to 100000, got 0");
        mirror("pool = 'blue', body_max = '17MiB'", "body_max: expected `0KiB` to `16MiB`, got `17MiB`");
        check(&format!("{FRONT}mirror = {{ percent = 5 }}"), "/etc/x.toml:9: missing field `pool`");
    }

    #[test]
    fn a_redirect_is_to_443_or_another_port() {
        let port = |value: &str| vip(&format!("listen = 'front'\nredirect_to_https = {value}")).redirect_to_https;
        assert_eq!((port("true"), port("false"), port("8443")), (Some(443), None, Some(8443)));
    }

    #[test]
    fn a_path_may_be_exact() {
        assert_eq!(vip("listen = 'front'\npaths = ['=/healthz', '/cart']").paths, ["=/healthz", "/cart"]);
    }

    #[test]
    fn a_listener_that_cannot_be_is_refused() {
        refuse("listen = 'frnt'", "listen: listener `frnt` is not defined; there are: front, side");
        refuse(
            "listen = '0.0.0.0'",
            "listen: expected an IP address and port such as `127.0.0.1:8080`, or `unix:` and an absolute path, got `0.0.0.0`",
        );
        refuse("listen = '0.0.0.0:80'", "listen: `0.0.0.0:80` is the address of listener `front`; hint: write `front`");
        refuse(
            "listen = ['unix:/run/x']",
            "listen: `unix:/run/x` is the address of listener `side`; hint: write `side`",
        );
        refuse("listen = []", "listen: expected one listener or address at least");
        refuse("listen = ['front', 'front']", "listen: `front` is there twice");
        check(
            &format!("{FRONT}listen = ['front',\n'else']"),
            "/etc/x.toml:10: vips.v.listen: listener `else` is not defined; there are: front, side",
        );
        check(
            &format!("{FRONT}listen = 80"),
            "/etc/x.toml:9: invalid type: integer `80`, expected a text or a list of texts",
        );
    }

    #[test]
    fn a_limit_or_redirect_that_cannot_be_is_refused() {
        let limit = |rest: &str, expected: &str| refuse(&format!("{rest}\nlisten = 'front'"), expected);
        limit(
            "request_body_max = '10'",
            "request_body_max: expected a size such as `64KiB`, `10MiB` or `1GiB`, got `10`",
        );
        limit("requests_max = 0", "requests_max: expected 1 to 1000000, got 0");
        limit(
            "client_timeout = '-1s'",
            "client_timeout: expected a time such as `250ms` or `30s`, up to a day, got `-1s`",
        );
        limit("client_rate_min = 1000001", "client_rate_min: expected 0 to 1000000, got 1000001");
        limit(
            "tunnel_timeout = 'never'",
            "tunnel_timeout: expected a time such as `250ms` or `30s`, up to a day, got `never`",
        );
        for value in ["0", "65536", "-1", "1.5", "\"yes\""] {
            limit(
                &format!("redirect_to_https = {value}"),
                &format!("redirect_to_https: expected `true` or a port, got `{value}`"),
            );
        }
    }

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
            &vip("pool = 'blue'\npaths = ['=x']"),
            "/etc/x.toml:6: vips.v.paths: expected a path that begins with `/`, got `=x`",
        );
        check(
            "[vips.v]\nlisten = 'here'\npool = 'p'",
            "/etc/x.toml:2: vips.v.listen: expected an IP address and port such as `127.0.0.1:8080`, or `unix:` and an absolute path, got `here`",
        );
    }
}
