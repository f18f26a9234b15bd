//! The configuration, checked: every value is one that can be used, every name is defined.

mod telling;
mod auto_back;
mod listener;
mod pool;
mod balance;
mod policy;
mod vip;
mod session;
mod headers;
mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use self::listener::Addresses;
use self::vip::Defined;
use super::raw::{Raw, RawDns, RawJournal};
use super::{ConfigError, line_of};
use crate::policy::validate::check_name;
use crate::proxy::finding::dns::Ttl;
use crate::proxy::finding::dns::resolver::Servers;
use crate::proxy::keeper::Names;
use crate::spec::auto_back::AutoBack;
use crate::store::journal::{Bounds, ENTRIES_MAX};
use crate::switch::change::Desired;
use crate::switch::fail_back::FailBack;
use crate::telemetry::access_log::AccessLogSpec;
use crate::telemetry::traces::TracingSpec;

/// Where the control API listens unless told otherwise.
const CONTROL_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9876);

/// Time that requests in flight get unless told otherwise: what common orchestrators wait before they kill.
const DRAIN: Duration = Duration::from_secs(30);

/// Time that a new process gets until it can take over unless told otherwise: compiling some large policies, where it
/// cannot use the code that is there.
const TAKE_OVER_TIMEOUT: Duration = Duration::from_secs(60);

/// Workers that can be asked for: each has room reserved for its policies' memories.
const WORKERS_MAX: usize = 256;

/// How long a DNS server may take unless told otherwise: long for one that is near, and there are two more tries.
const DNS_TIMEOUT: Duration = Duration::from_secs(2);

/// Requests in flight unless told otherwise: with the buffers of their connections, some hundred megabytes.
const REQUESTS_MAX: usize = 20_000;

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
    /// Where this proxy stands: members in the same zone are preferred.
    pub zone: Option<String>,
    /// Requests in flight over the whole host; one more is a 503.
    pub requests_max: usize,
    /// Time that requests in flight get when the host leaves.
    pub drain: Duration,
    /// Time between saying that the host leaves and leaving.
    pub grace: Duration,
    /// Time that a new process gets until it can take the host's place.
    pub take_over_timeout: Duration,
    /// Networks of clients that may ask for the release that decides.
    pub release_header_from: Vec<ipnet::IpNet>,
    /// The control API's address; a loopback one. Its Unix socket is in the state folder.
    pub control_listen: SocketAddr,
    /// How DNS is asked for members.
    pub names: Names,
    /// When the host goes back by itself.
    pub fail_back: FailBack,
    /// When it goes back from a release that does worse; vips may want it otherwise.
    pub auto_back: AutoBack,
    /// How large the journal may grow.
    pub journal: Bounds,
    /// Where exchanges are written to, if anywhere.
    pub access_log: Option<AccessLogSpec>,
    /// Where traces are sent to, if anywhere.
    pub tracing: Option<TracingSpec>,
    /// What it wants of a release.
    pub desired: Desired,
}

/// Finds what is wrong with the values of one table, and where.
struct Checker<'a> {
    text: &'a str,
    file: &'a Path,
    /// The table, from the top: `vips.shop`.
    key: String,
}

pub(super) fn check(raw: Raw, text: &str, path: &Path) -> Result<Config, ConfigError> {
    let top = Checker { text, file: path, key: String::new() };
    let control_listen = raw.control.listen.as_ref();
    let control_listen = control_listen.map_or(Ok(CONTROL_LISTEN), |listen| top.loopback("control.listen", listen))?;
    let workers = match &raw.workers {
        None => std::thread::available_parallelism().map_or(1, usize::from),
        Some(workers) => top.within("workers", workers, 1..=WORKERS_MAX)?,
    };
    let (falls, within) = (raw.fail_back.falls.as_ref(), raw.fail_back.within.as_ref());
    let fail_back = FailBack {
        falls: top.within_or("fail_back.falls", falls, FailBack::default().falls, 1..=1_000_000)?,
        within: top.duration_or("fail_back.within", within, FailBack::default().within)?,
    };
    let mut taken = Addresses::new();
    let listeners = top.table("listeners", raw.listeners, |at, listener| at.listener(&listener, &mut taken))?;
    let pools = top.table("pools", raw.pools, |at, pool| at.pool(&pool))?;
    let policies = top.table("policies", raw.policies, Checker::policy)?;
    let defined = Defined { listeners: &listeners, addresses: &taken, pools: &pools };
    let vips = top.table("vips", raw.vips, |at, vip| at.vip(vip, &defined))?;
    Ok(Config {
        file: path.to_owned(),
        state: top.folder().join(raw.state.as_deref().unwrap_or("state")),
        policy_folder: top.folder().join(raw.policy_folder.as_deref().unwrap_or("policies")),
        workers,
        zone: raw.zone.as_ref().map(|zone| top.name_of("zone", zone)).transpose()?,
        requests_max: top.within_or("requests_max", raw.requests_max.as_ref(), REQUESTS_MAX, 1..=1_000_000)?,
        drain: top.duration_or("drain", raw.drain.as_ref(), DRAIN)?,
        grace: top.duration_or_none("grace", raw.grace.as_ref())?,
        take_over_timeout: top.duration_or("take_over_timeout", raw.take_over_timeout.as_ref(), TAKE_OVER_TIMEOUT)?,
        release_header_from: top.networks("release_header_from", &raw.release_header_from)?,
        control_listen,
        names: top.inner("dns").names(&raw.dns)?,
        fail_back,
        journal: top.inner("journal").journal(&raw.journal)?,
        auto_back: AutoBack::default().with(&top.inner("auto_back").auto_back(&raw.auto_back)?),
        access_log: raw.access_log.as_ref().map(|log| top.inner("access_log").access_log(log)).transpose()?,
        tracing: raw.tracing.as_ref().map(|tracing| top.inner("tracing").tracing(tracing)).transpose()?,
        desired: Desired { listeners, vips, pools, policies },
    })
}

impl<'a> Checker<'a> {
    /// `name` is a key of the table; empty is the table itself.
    fn wrong<T>(&self, name: &str, at: usize, message: impl Into<String>) -> Result<T, ConfigError> {
        let (line, message) = (line_of(self.text, at), message.into());
        Err(ConfigError::Value { file: self.file.to_owned(), line, key: self.key_of(name), message })
    }

    fn table<R, T>(
        &self,
        table: &str,
        entries: BTreeMap<Spanned<String>, R>,
        mut check: impl FnMut(&Checker<'a>, R) -> Result<T, ConfigError>,
    ) -> Result<BTreeMap<String, T>, ConfigError> {
        let checked = entries.into_iter().map(|(name, entry)| {
            let inner = self.inner(&format!("{table}.{}", name.as_ref()));
            if check_name(name.as_ref()).is_err() {
                return inner.wrong("", name.span().start, NAME_RULE);
            }
            Ok((name.into_inner(), check(&inner, entry)?))
        });
        checked.collect()
    }

    /// For a table in this one.
    fn inner(&self, name: &str) -> Checker<'a> {
        Checker { key: self.key_of(name), ..*self }
    }

    fn key_of(&self, name: &str) -> String {
        match (&*self.key, name) {
            (key, "") => key.to_owned(),
            ("", name) => name.to_owned(),
            (key, name) => format!("{key}.{name}"),
        }
    }

    fn names(&self, raw: &RawDns) -> Result<Names, ConfigError> {
        let servers = match &raw.servers {
            None => Servers::System,
            Some(servers) => {
                let servers = servers.iter().map(|server| self.dns_server(server)).collect::<Result<_, _>>()?;
                Servers::These { servers, timeout: self.duration_or("timeout", raw.timeout.as_ref(), DNS_TIMEOUT)? }
            }
        };
        let default = Ttl::default();
        let max = self.duration_or("ttl_max", raw.ttl_max.as_ref(), default.max)?;
        Ok(Names { servers, ttl: Ttl { min: default.min.min(max), max } })
    }

    fn journal(&self, raw: &RawJournal) -> Result<Bounds, ConfigError> {
        let default = Bounds::default();
        let entries = self.within_or("entries_max", raw.entries_max.as_ref(), ENTRIES_MAX, 100..=10_000_000)?;
        let bytes =
            raw.bytes_max.as_ref().map(|max| self.bytes_within("bytes_max", max, ["1MiB", "64GiB"])).transpose()?;
        let bytes_max = bytes.map_or(default.bytes_max, |bytes| bytes as u64);
        Ok(Bounds { entries_max: entries as u64, bytes_max, ..default })
    }

    fn dns_server(&self, raw: &Spanned<String>) -> Result<SocketAddr, ConfigError> {
        raw.as_ref().parse().or_else(|_| {
            let message = format!("expected an IP address and port such as `127.0.0.1:53`, got `{}`", raw.as_ref());
            self.wrong("servers", raw.span().start, message)
        })
    }

    /// A name that is a value.
    fn name_of(&self, key: &str, name: &Spanned<String>) -> Result<String, ConfigError> {
        if check_name(name.as_ref()).is_err() {
            return self.wrong(key, name.span().start, NAME_RULE);
        }
        Ok(name.as_ref().clone())
    }

    /// What the table is called among those of its kind.
    fn name(&self) -> &str {
        self.key.split_once('.').map_or(&*self.key, |(_, name)| name)
    }

    /// Where relative paths begin.
    fn folder(&self) -> &'a Path {
        self.file.parent().unwrap_or(Path::new(""))
    }
}

const NAME_RULE: &str = "a name is 1 to 64 of a-z, A-Z, 0-9, `-`, `_` and `.`, beginning with a letter or digit";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::DeciderSpec;

    const VIP: &str = "[vips.shop]\nlisten = '127.0.0.1:80'\npool = 'blue'\n[pools.blue]\nmembers = ['127.0.0.1:1']\n";

    pub(super) fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("/etc/x.toml")).map_err(|error| error.to_string())
    }

    pub(super) fn check(text: &str, expected: &str) {
        assert_eq!(parse(text).unwrap_err(), expected, "{text}");
    }

    #[test]
    fn defaults_are_filled_in_and_paths_begin_at_the_file() {
        let config = parse(VIP).unwrap();
        assert_eq!(config.state, Path::new("/etc/state"));
        assert_eq!(config.policy_folder, Path::new("/etc/policies"));
        assert_eq!(config.requests_max, 20_000);
        assert_eq!((config.grace, config.take_over_timeout), (Duration::ZERO, Duration::from_secs(60)));
        assert_eq!(config.desired.pools["blue"].connect_timeout, Duration::from_secs(2));
        assert_eq!(config.desired.vips["shop"].decider, DeciderSpec::Pool("blue".into()));
    }

    #[test]
    fn what_is_wrong_is_named_with_file_line_and_key() {
        check("a = ", "/etc/x.toml:1: string values must be quoted, expected literal string");
        check(
            "\nsate = 'x'",
            "/etc/x.toml:2: unknown field `sate`, expected one of `state`, `policy_folder`, `workers`, `zone`, `requests_max`, `drain`, `grace`, `take_over_timeout`, `release_header_from`, `control`, `dns`, `fail_back`, `auto_back`, `journal`, `access_log`, `tracing`, `listeners`, `pools`, `policies`, `vips`",
        );
        check("requests_max = 0", "/etc/x.toml:1: requests_max: expected 1 to 1000000, got 0");
        check("zone = 'a b'", &format!("/etc/x.toml:1: zone: {NAME_RULE}"));
        check("workers = 0", "/etc/x.toml:1: workers: expected 1 to 256, got 0");
        check(
            "drain = 'soon'",
            "/etc/x.toml:1: drain: expected a time such as `250ms` or `30s`, up to a day, got `soon`",
        );
        check(
            "grace = 'soon'",
            "/etc/x.toml:1: grace: expected a time such as `250ms` or `30s`, up to a day, got `soon`",
        );
        check(
            "take_over_timeout = '0s'",
            "/etc/x.toml:1: take_over_timeout: expected a time such as `250ms` or `30s`, up to a day, got `0s`",
        );
        check(
            "[control]\nlisten = '0.0.0.0:1'",
            "/etc/x.toml:2: control.listen: expected a loopback address, got `0.0.0.0:1`: the control API speaks plain HTTP",
        );
        check(
            "[control]\nlisten = 'here'",
            "/etc/x.toml:2: control.listen: expected an IP address and port such as `127.0.0.1:8080`, got `here`",
        );
        check("[journal]\nentries_max = 5", "/etc/x.toml:2: journal.entries_max: expected 100 to 10000000, got 5");
        check(
            "[journal]\nbytes_max = '1KiB'",
            "/etc/x.toml:2: journal.bytes_max: expected `1MiB` to `64GiB`, got `1KiB`",
        );
        check("[fail_back]\nfalls = 0", "/etc/x.toml:2: fail_back.falls: expected 1 to 1000000, got 0");
    }
}
