//! `[pools.NAME]`

use std::net::IpAddr;

use toml::Spanned;

use super::{Checker, ConfigError};
use crate::address::Address;
use crate::config::raw::{RawMember, RawMemberTls, RawPool};
use crate::spec::PoolSpec;
use crate::spec::listener::CertificateSpec;
use crate::spec::member::{MemberSpec, Whereabouts, is_name};
use crate::spec::pool::{MemberTlsSpec, Protocol, ProxyVersion};

impl Checker<'_> {
    pub(super) fn pool(&self, raw: &RawPool) -> Result<PoolSpec, ConfigError> {
        let members = self.members(&raw.members)?;
        let default = PoolSpec::default();
        let protocols = [("http1", Protocol::Http1), ("http2", Protocol::Http2)];
        let versions = [("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)];
        let proxy_protocol = raw.proxy_protocol.as_ref();
        let (connect, response) = (raw.connect_timeout.as_ref(), raw.response_timeout.as_ref());
        let between_bytes = raw.between_bytes_timeout.as_ref();
        let members_file = raw.members_file.as_ref();
        Ok(PoolSpec {
            protocol: self.choice_or_default("protocol", raw.protocol.as_ref(), protocols)?,
            tls: raw.tls.as_ref().map(|tls| self.inner("tls").member_tls(tls, raw, &members)).transpose()?,
            proxy_protocol: proxy_protocol
                .map(|version| self.choice("proxy_protocol", version, versions))
                .transpose()?,
            connect_timeout: self.duration_or("connect_timeout", connect, default.connect_timeout)?,
            response_timeout: self.duration_or("response_timeout", response, default.response_timeout)?,
            between_bytes_timeout: self.duration_or(
                "between_bytes_timeout",
                between_bytes,
                default.between_bytes_timeout,
            )?,
            whole_timeout: self.maybe_duration("whole_timeout", raw.whole_timeout.as_ref())?,
            members_file: members_file.map(|file| self.path("members_file", file)).transpose()?,
            balance: self.balance(raw)?,
            check: raw.check.as_ref().map(|check| self.inner("check").check(check)).transpose()?,
            breaker: self.inner("breaker").breaker(&raw.breaker)?,
            retries: self.inner("retries").retries(&raw.retries)?,
            limits: self.inner("limits").pool_limits(&raw.limits)?,
            keep_alive: self.inner("keep_alive").keep_alive(&raw.keep_alive)?,
            members,
        })
    }

    fn members(&self, raw: &[Spanned<RawMember>]) -> Result<Vec<MemberSpec>, ConfigError> {
        let mut members: Vec<MemberSpec> = Vec::new();
        for raw in raw {
            let start = raw.span().start;
            let member = match raw.as_ref() {
                RawMember::Plain(text) => MemberSpec::at(self.whereabouts(text, start)?),
                RawMember::Table(table) => {
                    let zone = table.zone.as_ref().map(|zone| self.name_of("members.zone", zone)).transpose()?;
                    MemberSpec {
                        at: self.whereabouts(table.at.as_ref(), table.at.span().start)?,
                        weight: self.within_or("members.weight", table.weight.as_ref(), 1, 1..=1000)?,
                        zone,
                        drain: table.drain,
                    }
                }
            };
            if members.iter().any(|other| other.at == member.at) {
                return self.wrong("members", start, format!("`{}` is there twice", member.at));
            }
            members.push(member);
        }
        Ok(members)
    }

    fn whereabouts(&self, text: &str, start: usize) -> Result<Whereabouts, ConfigError> {
        match text.parse() {
            Ok(Whereabouts::Address(address)) if address.is_any_port() => {
                self.wrong("members", start, "a member's port cannot be 0")
            }
            Ok(at) => Ok(at),
            Err(error) => self.wrong("members", start, error.to_string()),
        }
    }

    fn member_tls(
        &self,
        raw: &RawMemberTls,
        pool: &RawPool,
        members: &[MemberSpec],
    ) -> Result<MemberTlsSpec, ConfigError> {
        let nameless = members.iter().find(|member| !matches!(member.at, Whereabouts::Address(Address::Tcp(_))));
        match (&raw.server_name, nameless) {
            (Some(name), _) if !is_server_name(name.as_ref()) => {
                let message =
                    format!("expected a name such as `app.example`, or an IP address, got `{}`", name.as_ref());
                return self.wrong("server_name", name.span().start, message);
            }
            (None, Some(member)) => {
                let message = format!("needs `server_name`: `{}` has no address to check certificates by", member.at);
                return self.wrong("", raw.ca.span().start, message);
            }
            (None, None) if pool.members_file.is_some() => {
                let message = "needs `server_name`: `members_file` may name members without an IP address";
                return self.wrong("", raw.ca.span().start, message);
            }
            _ => {}
        }
        let certificate = match (&raw.cert, &raw.key) {
            (Some(cert), Some(key)) => {
                Some(CertificateSpec { cert: self.path("cert", cert)?, key: self.path("key", key)? })
            }
            (None, None) => None,
            (Some(cert), None) => return self.wrong("cert", cert.span().start, "needs `key`: its private key"),
            (None, Some(key)) => return self.wrong("key", key.span().start, "needs `cert`: the certificate it is of"),
        };
        let server_name = raw.server_name.as_ref().map(|name| name.as_ref().clone());
        Ok(MemberTlsSpec { ca: self.path("ca", &raw.ca)?, server_name, certificate })
    }
}

/// Whether certificates can have this name.
fn is_server_name(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok() || is_name(name)
}

#[cfg(test)]
mod tests {
    use super::super::NAME_RULE;
    use super::super::tests::{check, parse};
    use super::*;

    fn pool(rest: &str) -> String {
        format!("[pools.blue]\n{rest}")
    }

    #[test]
    fn members_are_spoken_to_as_the_pool_says() {
        let config = parse(&pool(
            "members = ['10.0.0.1:443', 'unix:/run/a.sock']\nprotocol = 'http2'\nproxy_protocol = 'v2'\n[pools.blue.tls]\nca = 'ca.pem'\nserver_name = 'app.example'\ncert = 'us.pem'\nkey = 'us.key'",
        ));
        let pool = &config.unwrap().desired.pools["blue"];
        assert_eq!(
            pool.members,
            ["10.0.0.1:443", "unix:/run/a.sock"].map(|text| MemberSpec::at(text.parse().unwrap()))
        );
        assert_eq!((pool.protocol, pool.proxy_protocol), (Protocol::Http2, Some(ProxyVersion::V2)));
        let tls = MemberTlsSpec {
            ca: "/etc/ca.pem".into(),
            server_name: Some("app.example".into()),
            certificate: Some(CertificateSpec { cert: "/etc/us.pem".into(), key: "/etc/us.key".into() }),
        };
        assert_eq!(pool.tls, Some(tls));
    }

    #[test]
    fn a_member_may_say_more_than_where_it_is() {
        let config = parse(&pool(
            "members_file = 'more'\nmembers = ['APP.internal:80', { at = 'srv:_http._tcp.App.internal', weight = 1000 }, { at = '[::1]:80', zone = 'a', drain = true }]\nbetween_bytes_timeout = '1s'\nwhole_timeout = '2s'",
        ));
        let pool = &config.unwrap().desired.pools["blue"];
        let at = |text: &str| MemberSpec::at(text.parse().unwrap());
        let expected = [
            at("app.internal:80"),
            MemberSpec { weight: 1000, ..at("srv:_http._tcp.app.internal") },
            MemberSpec { zone: Some("a".into()), drain: true, ..at("[::1]:80") },
        ];
        assert_eq!(pool.members, expected);
        assert_eq!(pool.members_file.as_deref(), Some(std::path::Path::new("/etc/more")));
        assert_eq!((pool.between_bytes_timeout.as_secs(), pool.whole_timeout.unwrap().as_secs()), (1, 2));
    }

    #[test]
    fn a_member_that_cannot_be_is_refused() {
        let member = |member: &str, expected: &str| {
            check(&pool(&format!("members = [{member}]")), &format!("/etc/x.toml:2: {expected}"));
        };
        let at = "expected an IP address and port such as `127.0.0.1:8080`, a host name and port such as `app.internal:8080`, `srv:` and a service such as `_http._tcp.app.internal`, or `unix:` and an absolute path";
        for text in ["app", "app:0", "10.0.0.256:80", "srv:", "unix:run/x", ":80"] {
            member(&format!("'{text}'"), &format!("pools.blue.members: {at}, got `{text}`"));
            member(&format!("{{ at = '{text}' }}"), &format!("pools.blue.members: {at}, got `{text}`"));
        }
        member("80", "invalid type: integer `80`, expected a text or a table with `at`");
        member("{ weight = 2 }", "missing field `at`");
        member(
            "{ at = '[::1]:80', port = 1 }",
            "unknown field `port`, expected one of `at`, `weight`, `zone`, `drain`",
        );
        for weight in ["0", "1001"] {
            member(
                &format!("{{ at = '[::1]:80', weight = {weight} }}"),
                &format!("pools.blue.members.weight: expected 1 to 1000, got {weight}"),
            );
        }
        member("{ at = '[::1]:80', zone = 'a b' }", &format!("pools.blue.members.zone: {NAME_RULE}"));
        member("'[::1]:80', { at = '[0::1]:80', weight = 2 }", "pools.blue.members: `[::1]:80` is there twice");
        member("'app.internal:80', 'APP.internal:80'", "pools.blue.members: `app.internal:80` is there twice");
    }

    #[test]
    fn members_with_addresses_need_no_name() {
        let config = parse(&pool("members = ['10.0.0.1:443']\ntls = { ca = 'ca.pem' }"));
        let tls = MemberTlsSpec { ca: "/etc/ca.pem".into(), server_name: None, certificate: None };
        assert_eq!(config.unwrap().desired.pools["blue"].tls, Some(tls));
    }

    #[test]
    fn tls_that_cannot_be_is_refused() {
        let tls = |rest: &str, expected: &str| {
            let text = pool(&format!("members = ['10.0.0.1:443']\n[pools.blue.tls]\n{rest}"));
            check(&text, &format!("/etc/x.toml:{expected}"));
        };
        tls("server_name = 'a'", "3: missing field `ca`");
        tls("ca = ''", "4: pools.blue.tls.ca: expected a path, got none");
        for name in ["", "a b", "-a.example", "a..b", "10.0.0.256", "https://a", &"a".repeat(64)] {
            tls(
                &format!("ca = 'ca.pem'\nserver_name = '{name}'"),
                &format!(
                    "5: pools.blue.tls.server_name: expected a name such as `app.example`, or an IP address, got `{name}`"
                ),
            );
        }
        tls("ca = 'ca.pem'\ncert = 'us.pem'", "5: pools.blue.tls.cert: needs `key`: its private key");
        tls("ca = 'ca.pem'\nkey = 'us.key'", "5: pools.blue.tls.key: needs `cert`: the certificate it is of");
        check(
            &pool("members = ['unix:/run/a.sock']\n[pools.blue.tls]\nca = 'ca.pem'"),
            "/etc/x.toml:4: pools.blue.tls: needs `server_name`: `unix:/run/a.sock` has no address to check certificates by",
        );
    }

    #[test]
    fn a_pool_that_cannot_be_is_refused() {
        check(
            &pool("members = ['blue']"),
            "/etc/x.toml:2: pools.blue.members: expected an IP address and port such as `127.0.0.1:8080`, a host name and port such as `app.internal:8080`, `srv:` and a service such as `_http._tcp.app.internal`, or `unix:` and an absolute path, got `blue`",
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
        check(
            &pool("members = ['unix:/a',\n'unix:/a']"),
            "/etc/x.toml:3: pools.blue.members: `unix:/a` is there twice",
        );
        check(
            &pool("members = []\nprotocol = 'http3'"),
            "/etc/x.toml:3: pools.blue.protocol: expected `http1` or `http2`, got `http3`",
        );
        check(
            &pool("members = []\nproxy_protocol = 'v3'"),
            "/etc/x.toml:3: pools.blue.proxy_protocol: expected `v1` or `v2`, got `v3`",
        );
        for timeout in ["response_timeout", "between_bytes_timeout", "whole_timeout"] {
            check(
                &pool(&format!("{timeout} = '25h'")),
                &format!(
                    "/etc/x.toml:2: pools.blue.{timeout}: expected a time such as `250ms` or `30s`, up to a day, got `25h`"
                ),
            );
        }
        check(&pool("members_file = ''"), "/etc/x.toml:2: pools.blue.members_file: expected a path, got none");
        check(
            &pool("members_file = 'm'\ntls = { ca = 'ca.pem' }"),
            "/etc/x.toml:3: pools.blue.tls: needs `server_name`: `members_file` may name members without an IP address",
        );
        check(
            &pool("members = ['app.internal:80']\ntls = { ca = 'ca.pem' }"),
            "/etc/x.toml:3: pools.blue.tls: needs `server_name`: `app.internal:80` has no address to check certificates by",
        );
        check("[pools.'b lue']\nmembers = []", &format!("/etc/x.toml:1: pools.b lue: {NAME_RULE}"));
    }
}
