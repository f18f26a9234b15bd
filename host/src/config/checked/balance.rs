//! `[pools.NAME]`: which member gets a request, when one is left alone, and what may be under way.

use toml::Spanned;

use super::{Checker, ConfigError};
use crate::config::raw::{RawBreaker, RawCheck, RawKeepAlive, RawPool, RawPoolLimits, RawRetries, RawSticky};
use crate::grammar::is_token;
use crate::spec::check::{BadCheck, CheckKind, CheckMethod, CheckSpec, HttpCheck};
use crate::spec::key::{KeySpec, NotAKey};
use crate::spec::pool::{Balance, BalanceSpec, BreakerSpec, KeepAliveSpec, PoolLimits, RetriesSpec, StickySpec};

impl Checker<'_> {
    pub(super) fn balance(&self, raw: &RawPool) -> Result<BalanceSpec, ConfigError> {
        let default = BalanceSpec::default();
        let ways = [("round-robin", Balance::RoundRobin), ("least-requests", Balance::LeastRequests)];
        let (slow_start, drain_limit) = (raw.slow_start.as_ref(), raw.drain_limit.as_ref());
        Ok(BalanceSpec {
            by: self.choice_or_default("balance", raw.balance.as_ref(), ways)?,
            key: raw.key.as_ref().map(|key| self.key_spec(key)).transpose()?,
            sticky: raw.sticky.as_ref().map(|sticky| self.inner("sticky").sticky(sticky)).transpose()?,
            slow_start: self.maybe_duration("slow_start", slow_start)?.unwrap_or(default.slow_start),
            panic_below: self.percent_or("panic_below", raw.panic_below.as_ref(), default.panic_below)?,
            drain_limit: self.duration_or("drain_limit", drain_limit, default.drain_limit)?,
        })
    }

    fn key_spec(&self, raw: &Spanned<String>) -> Result<KeySpec, ConfigError> {
        let key = raw.as_ref().parse();
        key.or_else(|error: NotAKey| self.wrong("key", raw.span().start, error.to_string()))
    }

    fn sticky(&self, raw: &RawSticky) -> Result<StickySpec, ConfigError> {
        let cookie = raw.cookie.as_ref();
        if !is_token(cookie.as_bytes()) {
            let message = format!("expected the name of a cookie such as `member`, got `{cookie}`");
            return self.wrong("cookie", raw.cookie.span().start, message);
        }
        Ok(StickySpec { cookie: cookie.clone(), max_age: self.maybe_duration("max_age", raw.max_age.as_ref())? })
    }

    pub(super) fn check(&self, raw: &RawCheck) -> Result<CheckSpec, ConfigError> {
        let default = CheckSpec::default();
        let kind = self.choice("kind", &raw.kind, [("http", 0), ("tcp", 1), ("grpc", 2)])?;
        let of_http = [&raw.path, &raw.host, &raw.method, &raw.statuses, &raw.body].into_iter().flatten().next();
        if let Some(value) = of_http.filter(|_| kind != 0) {
            return self.wrong("", value.span().start, "has what only a check of kind `http` can have");
        }
        if let Some(value) = raw.service.as_ref().filter(|_| kind != 2) {
            return self.wrong("service", value.span().start, "is for checks of kind `grpc` only");
        }
        let kind = match kind {
            0 => CheckKind::Http(self.http_check(raw)?),
            1 => CheckKind::Tcp,
            _ => CheckKind::Grpc { service: text(raw.service.as_ref()).unwrap_or_default() },
        };
        let times = [("interval", &raw.interval), ("settle_interval", &raw.settle_interval), ("timeout", &raw.timeout)];
        let [interval, settle_interval, timeout] = times.map(|(name, raw)| self.maybe_duration(name, raw.as_ref()));
        let spec = CheckSpec {
            kind,
            interval: interval?.unwrap_or(default.interval),
            settle_interval: settle_interval?.unwrap_or(default.settle_interval),
            timeout: timeout?.unwrap_or(default.timeout),
            rise: self
                .maybe_within::<u32>("rise", raw.rise.as_ref(), 1..=100)?
                .and_then(|rise| rise.try_into().ok())
                .unwrap_or(default.rise),
            fall: self
                .maybe_within::<u32>("fall", raw.fall.as_ref(), 1..=100)?
                .and_then(|fall| fall.try_into().ok())
                .unwrap_or(default.fall),
            port: self.maybe_within::<u16>("port", raw.port.as_ref(), 1..=65535)?.and_then(|port| port.try_into().ok()),
        };
        let at = |error: &BadCheck| {
            let (name, value) = match error {
                BadCheck::Path(_) => ("path", &raw.path),
                BadCheck::Host(_) => ("host", &raw.host),
                BadCheck::Body(_) | BadCheck::HeadWithBody => ("body", &raw.body),
                BadCheck::Service(_) => ("service", &raw.service),
                BadCheck::Time(name) => (*name, &raw.interval),
            };
            (name, value.as_ref().map_or(raw.kind.span().start, |value| value.span().start))
        };
        spec.verify().or_else(|error| {
            let (name, start) = at(&error);
            self.wrong(name, start, error.to_string())
        })?;
        Ok(spec)
    }

    fn http_check(&self, raw: &RawCheck) -> Result<HttpCheck, ConfigError> {
        let default = HttpCheck::default();
        let methods = [("GET", CheckMethod::Get), ("HEAD", CheckMethod::Head)];
        let statuses = match &raw.statuses {
            None => default.statuses,
            Some(text) => match text.as_ref().parse() {
                Ok(statuses) => statuses,
                Err(error) => {
                    let error: crate::spec::check::NotStatuses = error;
                    return self.wrong("statuses", text.span().start, error.to_string());
                }
            },
        };
        Ok(HttpCheck {
            path: text(raw.path.as_ref()).unwrap_or(default.path),
            host: text(raw.host.as_ref()),
            method: self.choice_or_default("method", raw.method.as_ref(), methods)?,
            statuses,
            body: text(raw.body.as_ref()),
        })
    }

    pub(super) fn breaker(&self, raw: &RawBreaker) -> Result<BreakerSpec, ConfigError> {
        let default = BreakerSpec::default();
        Ok(BreakerSpec {
            failures: self.within_or("failures", raw.failures.as_ref(), default.failures, 0..=1000)?,
            failure_percent: self.percent_or(
                "failure_percent",
                raw.failure_percent.as_ref(),
                default.failure_percent,
            )?,
            slow_factor: self.within_or("slow_factor", raw.slow_factor.as_ref(), default.slow_factor, 0..=1000)?,
            rest: self.duration_or("rest", raw.rest.as_ref(), default.rest)?,
            share_max: self.percent_or("share_max", raw.share_max.as_ref(), default.share_max)?,
        })
    }

    pub(super) fn retries(&self, raw: &RawRetries) -> Result<RetriesSpec, ConfigError> {
        let default = RetriesSpec::default();
        let statuses = match &raw.statuses {
            None => default.statuses,
            Some(statuses) => {
                let status = |status| self.within("statuses", status, 400..=599);
                statuses.iter().map(status).collect::<Result<_, _>>()?
            }
        };
        Ok(RetriesSpec {
            tries_max: self.within_or("tries_max", raw.tries_max.as_ref(), default.tries_max, 1..=10)?,
            statuses,
            budget: self.percent_or("budget", raw.budget.as_ref(), default.budget)?,
        })
    }

    pub(super) fn pool_limits(&self, raw: &RawPoolLimits) -> Result<PoolLimits, ConfigError> {
        let default = PoolLimits::default();
        let maybe = |name, value: &Option<_>| self.maybe_within(name, value.as_ref(), 1..=1_000_000);
        Ok(PoolLimits {
            requests_max: maybe("requests_max", &raw.requests_max)?,
            member_requests_max: maybe("member_requests_max", &raw.member_requests_max)?,
            member_connections_max: maybe("member_connections_max", &raw.member_connections_max)?,
            queue_max: self.within_or("queue_max", raw.queue_max.as_ref(), default.queue_max, 0..=1_000_000)?,
            queue_timeout: self.duration_or("queue_timeout", raw.queue_timeout.as_ref(), default.queue_timeout)?,
        })
    }

    pub(super) fn keep_alive(&self, raw: &RawKeepAlive) -> Result<KeepAliveSpec, ConfigError> {
        let default = KeepAliveSpec::default();
        Ok(KeepAliveSpec {
            idle_max: self.within_or("idle_max", raw.idle_max.as_ref(), default.idle_max, 0..=10_000)?,
            idle_timeout: self.duration_or("idle_timeout", raw.idle_timeout.as_ref(), default.idle_timeout)?,
            age_max: self.maybe_duration("age_max", raw.age_max.as_ref())?,
        })
    }

    fn percent_or(&self, name: &str, value: Option<&Spanned<usize>>, default: u8) -> Result<u8, ConfigError> {
        self.within_or(name, value, default, 0..=100)
    }
}

fn text(value: Option<&Spanned<String>>) -> Option<String> {
    value.map(|value| value.as_ref().clone())
}

/// RFC 6265, 4.1.1: a token.
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{check, parse};
    use crate::spec::PoolSpec;

    use super::*;

    const TIME: &str = "expected a time such as `250ms` or `30s`, up to a day, got";

    fn pool(rest: &str) -> PoolSpec {
        let text = format!("[pools.blue]\n{rest}");
        parse(&text).unwrap_or_else(|error| panic!("{error}")).desired.pools["blue"].clone()
    }

    fn refuse(rest: &str, expected: &str) {
        check(&format!("[pools.blue]\n{rest}"), &format!("/etc/x.toml:{expected}"));
    }

    /// A table of the pool with one key, which is wrong.
    fn refuse_in(table: &str, key: &str, value: &str, expected: &str) {
        refuse(
            &format!("[pools.blue.{table}]\n{key} = {value}"),
            &format!("3: pools.blue.{table}.{key}: {expected} {}", value.trim_matches(['\'', '[', ']'])),
        );
    }

    #[test]
    fn a_pool_that_says_no_more_has_the_defaults() {
        assert_eq!(pool(""), PoolSpec::default());
        let tables = "[pools.blue.breaker]\n[pools.blue.retries]\n[pools.blue.limits]\n[pools.blue.keep_alive]";
        assert_eq!(pool(tables), PoolSpec::default());
    }

    #[test]
    fn a_pool_says_who_gets_a_request() {
        let balance = pool(
            "balance = 'least-requests'\nkey = 'header:X-User'\nsticky = { cookie = 'm', max_age = '1h' }\nslow_start = '30s'\npanic_below = 0\ndrain_limit = '1m'",
        )
        .balance;
        let expected = BalanceSpec {
            by: Balance::LeastRequests,
            key: Some(KeySpec::Header("x-user".into())),
            sticky: Some(StickySpec { cookie: "m".into(), max_age: Some(Duration::from_secs(3600)) }),
            slow_start: Duration::from_secs(30),
            panic_below: 0,
            drain_limit: Duration::from_secs(60),
        };
        assert_eq!(balance, expected);
        // Names of cookies are not those of fields: their case counts.
        assert_eq!(pool("key = 'cookie:Uid'").balance.key, Some(KeySpec::Cookie("Uid".into())));
        assert_eq!(pool("key = 'client-address'").balance.key, Some(KeySpec::ClientAddress));
    }

    #[test]
    fn a_balance_that_cannot_be_is_refused() {
        refuse("balance = 'random'", "2: pools.blue.balance: expected `round-robin` or `least-requests`, got `random`");
        for key in
            ["", "uid", "cookie", "cookie:", "cookie:a b", "header:", "header:a:b", "header:ä", "client-address:"]
        {
            refuse(
                &format!("key = '{key}'"),
                &format!("2: pools.blue.key: expected `header:NAME`, `cookie:NAME` or `client-address`, got `{key}`"),
            );
        }
        refuse("slow_start = '0s'", &format!("2: pools.blue.slow_start: {TIME} `0s`"));
        refuse("drain_limit = '2days'", &format!("2: pools.blue.drain_limit: {TIME} `2days`"));
        refuse("panic_below = 101", "2: pools.blue.panic_below: expected 0 to 100, got 101");
        for name in ["", "a=b", "a b", "a;b", "ä"] {
            refuse(
                &format!("[pools.blue.sticky]\ncookie = '{name}'"),
                &format!("3: pools.blue.sticky.cookie: expected the name of a cookie such as `member`, got `{name}`"),
            );
        }
        refuse("[pools.blue.sticky]\nmax_age = '1h'", "2: missing field `cookie`");
        refuse(
            "[pools.blue.sticky]\ncookie = 'm'\nmax_age = 'long'",
            &format!("4: pools.blue.sticky.max_age: {TIME} `long`"),
        );
    }

    #[test]
    fn a_check_is_of_one_of_three_kinds() {
        let kind = |text: &str| pool(&format!("[pools.blue.check]\n{text}")).check.unwrap();
        assert_eq!(kind("kind = 'tcp'"), CheckSpec::default());
        assert_eq!(kind("kind = 'http'").kind, CheckKind::Http(HttpCheck::default()));
        assert_eq!(kind("kind = 'grpc'\nservice = 'a.B'").kind, CheckKind::Grpc { service: "a.B".into() });
        let http = kind(
            "kind = 'http'\npath = '/up?deep'\nhost = 'app.example:81'\nmethod = 'HEAD'\nstatuses = '200, 204'\ninterval = '1s'\nsettle_interval = '100ms'\ntimeout = '50ms'\nrise = 1\nfall = 4\nport = 81",
        );
        assert_eq!((http.rise.get(), http.fall.get(), http.port.unwrap().get()), (1, 4, 81));
        assert_eq!([http.interval, http.settle_interval, http.timeout].map(|time| time.as_millis()), [1000, 100, 50]);
        let CheckKind::Http(http) = http.kind else { panic!("expected a check by HTTP") };
        assert_eq!(
            (&*http.path, http.host.as_deref(), http.method),
            ("/up?deep", Some("app.example:81"), CheckMethod::Head)
        );
    }

    #[test]
    fn a_check_that_cannot_be_is_refused() {
        let refuse = |rest: &str, expected: &str| refuse(&format!("[pools.blue.check]\n{rest}"), expected);
        refuse("interval = '1s'", "2: missing field `kind`");
        refuse("kind = 'ping'", "3: pools.blue.check.kind: expected `http`, `tcp` or `grpc`, got `ping`");
        for key in ["path = '/'", "host = 'a'", "method = 'GET'", "statuses = '200'", "body = 'ok'"] {
            for kind in ["tcp", "grpc"] {
                refuse(
                    &format!("kind = '{kind}'\n{key}"),
                    "4: pools.blue.check: has what only a check of kind `http` can have",
                );
            }
        }
        refuse("kind = 'http'\nservice = 'a'", "4: pools.blue.check.service: is for checks of kind `grpc` only");
        let http = |key: &str, expected: &str| refuse(&format!("kind = 'http'\n{key}"), expected);
        http(
            "path = 'up'",
            "4: pools.blue.check.path: expected a path such as `/healthz`, of visible ASCII up to 1024 bytes, got `up`",
        );
        http(
            "host = 'a b'",
            "4: pools.blue.check.host: expected a host such as `app.example` or `app.example:8080`, got `a b`",
        );
        http("method = 'POST'", "4: pools.blue.check.method: expected `GET` or `HEAD`, got `POST`");
        http(
            "statuses = '199'",
            "4: pools.blue.check.statuses: expected statuses from 200 to 599, such as `200-299, 304`, got `199`",
        );
        http("body = ''", "4: pools.blue.check.body: expected 1 to 1024 bytes of text to look for, got 0");
        http(
            "body = 'ok'\nmethod = 'HEAD'",
            "4: pools.blue.check.body: expected `GET` beside a text to look for, got `HEAD`, which has no body",
        );
        for key in ["interval", "settle_interval", "timeout"] {
            http(&format!("{key} = '0s'"), &format!("4: pools.blue.check.{key}: {TIME} `0s`"));
        }
        http("rise = 0", "4: pools.blue.check.rise: expected 1 to 100, got 0");
        http("fall = 101", "4: pools.blue.check.fall: expected 1 to 100, got 101");
        http("port = 0", "4: pools.blue.check.port: expected 1 to 65535, got 0");
    }

    #[test]
    fn a_pool_says_what_it_bears() {
        let pool = pool(
            "[pools.blue.breaker]\nfailures = 0\nfailure_percent = 100\nslow_factor = 3\nrest = '1s'\nshare_max = 100\n[pools.blue.retries]\ntries_max = 1\nstatuses = []\nbudget = 0\n[pools.blue.limits]\nrequests_max = 1\nmember_requests_max = 2\nmember_connections_max = 3\nqueue_max = 0\nqueue_timeout = '1ms'\n[pools.blue.keep_alive]\nidle_max = 0\nidle_timeout = '1s'\nage_max = '1m'",
        );
        let second = Duration::from_secs(1);
        let breaker = BreakerSpec { failures: 0, failure_percent: 100, slow_factor: 3, rest: second, share_max: 100 };
        assert_eq!(pool.breaker, breaker);
        assert_eq!(pool.retries, RetriesSpec { tries_max: 1, statuses: vec![], budget: 0 });
        let limits = PoolLimits {
            requests_max: Some(1),
            member_requests_max: Some(2),
            member_connections_max: Some(3),
            queue_max: 0,
            queue_timeout: Duration::from_millis(1),
        };
        assert_eq!(pool.limits, limits);
        let keep_alive = KeepAliveSpec { idle_max: 0, idle_timeout: second, age_max: Some(second * 60) };
        assert_eq!(pool.keep_alive, keep_alive);
    }

    #[test]
    fn what_no_pool_can_bear_is_refused() {
        for (key, max) in [("failures", 1000), ("failure_percent", 100), ("slow_factor", 1000), ("share_max", 100)] {
            refuse_in("breaker", key, &(max + 1).to_string(), &format!("expected 0 to {max}, got"));
        }
        refuse("[pools.blue.breaker]\nrest = '0s'", &format!("3: pools.blue.breaker.rest: {TIME} `0s`"));
        refuse_in("retries", "tries_max", "0", "expected 1 to 10, got");
        refuse_in("retries", "tries_max", "11", "expected 1 to 10, got");
        refuse_in("retries", "statuses", "[399]", "expected 400 to 599, got");
        refuse_in("retries", "statuses", "[600]", "expected 400 to 599, got");
        refuse_in("retries", "budget", "101", "expected 0 to 100, got");
        for key in ["requests_max", "member_requests_max", "member_connections_max"] {
            refuse_in("limits", key, "0", "expected 1 to 1000000, got");
            refuse_in("limits", key, "1000001", "expected 1 to 1000000, got");
        }
        refuse_in("limits", "queue_max", "1000001", "expected 0 to 1000000, got");
        refuse(
            "[pools.blue.limits]\nqueue_timeout = '0s'",
            &format!("3: pools.blue.limits.queue_timeout: {TIME} `0s`"),
        );
        refuse_in("keep_alive", "idle_max", "10001", "expected 0 to 10000, got");
        for key in ["idle_timeout", "age_max"] {
            refuse(
                &format!("[pools.blue.keep_alive]\n{key} = '-1s'"),
                &format!("3: pools.blue.keep_alive.{key}: {TIME} `-1s`"),
            );
        }
    }
}
