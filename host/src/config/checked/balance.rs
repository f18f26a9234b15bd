//! `[pools.NAME]`: which member gets a request, when one is left alone, and what may be under way.

use toml::Spanned;

use super::{Checker, ConfigError};
use crate::config::raw::{RawBreaker, RawCheck, RawKeepAlive, RawPool, RawPoolLimits, RawRetries, RawSticky};
use crate::spec::check::{BadCheck, CheckKind, CheckMethod, CheckSpec, HttpCheck};
use crate::spec::pool::{
    Balance, BalanceSpec, BreakerSpec, KeepAliveSpec, KeySpec, PoolLimits, RetriesSpec, StickySpec,
};

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
        let text = raw.as_ref();
        let spec = match text.split_once(':') {
            None if text == "client-address" => Some(KeySpec::ClientAddress),
            Some(("header", name)) if hyper::header::HeaderName::try_from(name).is_ok() => {
                Some(KeySpec::Header(name.to_ascii_lowercase()))
            }
            Some(("cookie", name)) if is_cookie_name(name) => Some(KeySpec::Cookie(name.to_owned())),
            _ => None,
        };
        let message = || format!("expected `header:NAME`, `cookie:NAME` or `client-address`, got `{text}`");
        spec.map_or_else(|| self.wrong("key", raw.span().start, message()), Ok)
    }

    fn sticky(&self, raw: &RawSticky) -> Result<StickySpec, ConfigError> {
        let cookie = raw.cookie.as_ref();
        if !is_cookie_name(cookie) {
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
fn is_cookie_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
