//! The configuration, checked: every value is one that can be used, every name is defined.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::raw::{Raw, RawPolicy, RawPool, RawVip};
use super::{ConfigError, line_of};
use crate::address::Address;
use crate::policy::validate::check_name;
use crate::policy::{Isolation, Limits};
use crate::spec::{DeciderSpec, PolicySpec, PoolSpec, VipSpec};
use crate::switch::change::Desired;
use crate::switch::fail_back::FailBack;

/// Where the control API listens unless told otherwise.
const CONTROL_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9876);

/// Time that requests in flight get unless told otherwise: what common orchestrators wait before they kill.
const DRAIN: Duration = Duration::from_secs(30);

/// Workers that can be asked for: each has room reserved for its policies' memories.
const WORKERS_MAX: usize = 256;

/// The deadlines a policy may be given. Below the first the clock's resolution is felt; above the second a policy holds
/// up everybody on its worker for too long.
const DEADLINE: [Duration; 2] = [Duration::from_millis(2), Duration::from_secs(1)];

/// The memory a policy may be given: less than one page of 64 KiB is none, more is not reserved.
const MEMORY_BYTES: [usize; 2] = [64 * 1024, 64 * 1024 * 1024];

/// A configuration that cannot be wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// The state folder.
    pub state: PathBuf,
    /// The policy folder.
    pub policy_folder: PathBuf,
    /// Worker threads: one per core unless told otherwise.
    pub workers: usize,
    /// Time that requests in flight get when the host leaves.
    pub drain: Duration,
    /// The control API's address; a loopback one. Its Unix socket is in the state folder.
    pub control_listen: SocketAddr,
    /// When the host goes back by itself.
    pub fail_back: FailBack,
    /// What it wants of a release.
    pub desired: Desired,
}

/// Finds what is wrong with a value, and where.
struct Checker<'a> {
    text: &'a str,
    file: &'a Path,
}

pub(super) fn check(raw: Raw, text: &str, path: &Path) -> Result<Config, ConfigError> {
    let checker = Checker { text, file: path };
    let folder = path.parent().unwrap_or(Path::new(""));
    let state = folder.join(raw.state.as_deref().unwrap_or("state"));
    let control_listen = raw.control.listen.as_ref();
    let control_listen =
        control_listen.map_or(Ok(CONTROL_LISTEN), |listen| checker.loopback("control.listen", listen))?;
    let workers = match &raw.workers {
        None => std::thread::available_parallelism().map_or(1, usize::from),
        Some(workers) => checker.within("workers", workers, 1, WORKERS_MAX)?,
    };
    let fail_back = FailBack {
        falls: raw
            .fail_back
            .falls
            .as_ref()
            .map_or(Ok(FailBack::default().falls), |falls| checker.within("fail_back.falls", falls, 1, 1_000_000))?,
        within: checker.duration_or("fail_back.within", raw.fail_back.within.as_ref(), FailBack::default().within)?,
    };
    let drain = checker.duration_or("drain", raw.drain.as_ref(), DRAIN)?;
    let pools = checker.table("pools", raw.pools, |key, pool| checker.pool(key, &pool))?;
    let policies = checker.table("policies", raw.policies, |key, policy| checker.policy(key, policy))?;
    let vips = checker.table("vips", raw.vips, |key, vip| checker.vip(key, vip, &pools))?;
    Ok(Config {
        file: path.to_owned(),
        policy_folder: folder.join(raw.policy_folder.as_deref().unwrap_or("policies")),
        state,
        workers,
        drain,
        control_listen,
        fail_back,
        desired: Desired { listeners: BTreeMap::new(), vips, pools, policies },
    })
}

impl Checker<'_> {
    fn wrong<T>(&self, key: &str, at: usize, message: impl Into<String>) -> Result<T, ConfigError> {
        let (line, message) = (line_of(self.text, at), message.into());
        Err(ConfigError::Value { file: self.file.to_owned(), line, key: key.to_owned(), message })
    }

    fn table<R, T>(
        &self,
        table: &str,
        entries: BTreeMap<Spanned<String>, R>,
        check: impl Fn(&str, R) -> Result<T, ConfigError>,
    ) -> Result<BTreeMap<String, T>, ConfigError> {
        let checked = entries.into_iter().map(|(name, entry)| {
            let key = format!("{table}.{}", name.as_ref());
            if check_name(name.as_ref()).is_err() {
                return self.wrong(&key, name.span().start, NAME_RULE);
            }
            Ok((name.into_inner(), check(&key, entry)?))
        });
        checked.collect()
    }

    fn pool(&self, key: &str, raw: &RawPool) -> Result<PoolSpec, ConfigError> {
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

    fn policy(&self, key: &str, raw: RawPolicy) -> Result<PolicySpec, ConfigError> {
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

    fn vip(&self, key: &str, raw: RawVip, pools: &BTreeMap<String, PoolSpec>) -> Result<VipSpec, ConfigError> {
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

    fn address(&self, key: &str, value: &Spanned<String>) -> Result<SocketAddr, ConfigError> {
        value.as_ref().parse().or_else(|_| {
            let message = format!("expected an IP address and port such as `127.0.0.1:8080`, got `{}`", value.as_ref());
            self.wrong(key, value.span().start, message)
        })
    }

    fn loopback(&self, key: &str, value: &Spanned<String>) -> Result<SocketAddr, ConfigError> {
        let address = self.address(key, value)?;
        if address.ip().is_loopback() {
            return Ok(address);
        }
        let message = format!("expected a loopback address, got `{address}`: the control API speaks plain HTTP");
        self.wrong(key, value.span().start, message)
    }

    fn within(&self, key: &str, value: &Spanned<usize>, min: usize, max: usize) -> Result<usize, ConfigError> {
        if (min..=max).contains(value.as_ref()) {
            return Ok(*value.as_ref());
        }
        self.wrong(key, value.span().start, format!("expected {min} to {max}, got {}", value.as_ref()))
    }

    fn duration_or(
        &self,
        key: &str,
        value: Option<&Spanned<String>>,
        default: Duration,
    ) -> Result<Duration, ConfigError> {
        value.map_or(Ok(default), |value| self.duration(key, value))
    }

    fn duration(&self, key: &str, value: &Spanned<String>) -> Result<Duration, ConfigError> {
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

    fn bytes(&self, key: &str, value: &Spanned<String>) -> Result<usize, ConfigError> {
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

const NAME_RULE: &str = "a name is 1 to 64 of a-z, A-Z, 0-9, `-`, `_` and `.`, beginning with a letter or digit";

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
    use super::*;

    const VIP: &str = "[vips.shop]\nlisten = '127.0.0.1:80'\npool = 'blue'\n[pools.blue]\nmembers = ['127.0.0.1:1']\n";

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("/etc/x.toml")).map_err(|error| error.to_string())
    }

    fn check(text: &str, expected: &str) {
        assert_eq!(parse(text).unwrap_err(), expected, "{text}");
    }

    #[test]
    fn defaults_are_filled_in_and_paths_begin_at_the_file() {
        let config = parse(VIP).unwrap();
        assert_eq!(config.state, Path::new("/etc/state"));
        assert_eq!(config.policy_folder, Path::new("/etc/policies"));
        assert_eq!(config.desired.pools["blue"].connect_timeout, Duration::from_secs(2));
        assert_eq!(config.desired.vips["shop"].decider, DeciderSpec::Pool("blue".into()));
    }

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
    fn what_is_wrong_is_named_with_file_line_and_key() {
        check("a = ", "/etc/x.toml:1: string values must be quoted, expected literal string");
        check(
            "\nsate = 'x'",
            "/etc/x.toml:2: unknown field `sate`, expected one of `state`, `policy_folder`, `workers`, `drain`, `control`, `fail_back`, `pools`, `policies`, `vips`",
        );
        check("workers = 0", "/etc/x.toml:1: workers: expected 1 to 256, got 0");
        check(
            "drain = 'soon'",
            "/etc/x.toml:1: drain: expected a time such as `250ms` or `30s`, up to a day, got `soon`",
        );
        check(
            "[control]\nlisten = '0.0.0.0:1'",
            "/etc/x.toml:2: control.listen: expected a loopback address, got `0.0.0.0:1`: the control API speaks plain HTTP",
        );
        check("[fail_back]\nfalls = 0", "/etc/x.toml:2: fail_back.falls: expected 1 to 1000000, got 0");
    }

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
