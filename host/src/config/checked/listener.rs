//! `[listeners.NAME]`

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use toml::Spanned;

use super::{Checker, ConfigError};
use crate::address::Address;
use crate::config::raw::{RawCertificate, RawListener};
use crate::spec::ListenerSpec;
use crate::spec::listener::{Believe, CertificateSpec, ClientCertificate, ListenerLimits, ListenerTlsSpec, TlsVersion};

/// Bytes of a head: below the first are heads of ordinary browsers; above the second one client's heads fill a core's
/// cache.
const HEAD_BYTES: [&str; 2] = ["4KiB", "1MiB"];

/// More than a process can have sockets, as Linux comes.
const CONNECTIONS_MAX: usize = 1_000_000;

/// Which listener has which address; any free port is nobody's.
pub(super) type Addresses = BTreeMap<Address, String>;

impl Checker<'_> {
    /// Checks a listener, and notes its address in `taken`.
    pub(super) fn listener(&self, raw: &RawListener, taken: &mut Addresses) -> Result<ListenerSpec, ConfigError> {
        let address = self.address("address", &raw.address)?;
        if !address.is_any_port()
            && let Some(other) = taken.insert(address.clone(), self.name().to_owned())
        {
            let message = format!("`{address}` is the address of listener `{other}` as well");
            return self.wrong("address", raw.address.span().start, message);
        }
        let believe = [("x-forwarded", Believe::XForwarded), ("forwarded", Believe::Forwarded)];
        Ok(ListenerSpec {
            address,
            tls: self.listener_tls(raw)?,
            proxy_protocol: raw.proxy_protocol,
            trusted: self.networks("trusted", &raw.trusted)?,
            believe: self.choice_or_default("believe", raw.believe.as_ref(), believe)?,
            limits: self.listener_limits(raw)?,
        })
    }

    fn listener_tls(&self, raw: &RawListener) -> Result<Option<ListenerTlsSpec>, ConfigError> {
        let Some(certificates) = &raw.certificates else {
            // To go on without TLS would be to go on without what somebody thought to have asked for.
            let of_tls = [
                ("client_ca", &raw.client_ca),
                ("client_certificate", &raw.client_certificate),
                ("min_tls_version", &raw.min_tls_version),
            ];
            return match of_tls.into_iter().find_map(|(name, value)| Some((name, value.as_ref()?))) {
                Some((name, value)) => self.wrong(
                    name,
                    value.span().start,
                    "needs `certificates`: the listener is plain text without them",
                ),
                None => Ok(None),
            };
        };
        if certificates.as_ref().is_empty() {
            return self.wrong("certificates", certificates.span().start, "expected one certificate at least");
        }
        if let Some(value) = raw.client_certificate.as_ref().filter(|_| raw.client_ca.is_none()) {
            let message = "needs `client_ca`: who may sign clients' certificates";
            return self.wrong("client_certificate", value.span().start, message);
        }
        let presence = [("required", ClientCertificate::Required), ("optional", ClientCertificate::Optional)];
        let versions = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
        let certificate = |raw: &RawCertificate| {
            Ok(CertificateSpec {
                cert: self.path("certificates", &raw.cert)?,
                key: self.path("certificates", &raw.key)?,
            })
        };
        Ok(Some(ListenerTlsSpec {
            certificates: certificates.as_ref().iter().map(certificate).collect::<Result<_, _>>()?,
            client_ca: raw.client_ca.as_ref().map(|path| self.path("client_ca", path)).transpose()?,
            client_certificate: self.choice_or_default(
                "client_certificate",
                raw.client_certificate.as_ref(),
                presence,
            )?,
            min_version: self.choice_or_default("min_tls_version", raw.min_tls_version.as_ref(), versions)?,
        }))
    }

    /// Networks, each without bits beyond its prefix.
    pub(super) fn networks(&self, key: &str, values: &[Spanned<String>]) -> Result<Vec<IpNet>, ConfigError> {
        values.iter().map(|value| self.network(key, value)).collect()
    }

    fn network(&self, key: &str, value: &Spanned<String>) -> Result<IpNet, ConfigError> {
        let text = value.as_ref();
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        let message = match network {
            Some(network) if network.trunc() == network => return Ok(canonical(network)),
            // Whoever writes this means a network or a host, and one of them would be trusted by mistake.
            Some(network) => format!("`{network}` has bits beyond its prefix; the network is `{}`", network.trunc()),
            None => format!("expected a network such as `10.0.0.0/8`, or an IP address, got `{text}`"),
        };
        self.wrong(key, value.span().start, message)
    }

    fn listener_limits(&self, raw: &RawListener) -> Result<ListenerLimits, ConfigError> {
        let default = ListenerLimits::default();
        let head_bytes_max = raw.head_bytes_max.as_ref();
        let connections = 1..=CONNECTIONS_MAX;
        Ok(ListenerLimits {
            head_timeout: self.duration_or("head_timeout", raw.head_timeout.as_ref(), default.head_timeout)?,
            idle_timeout: self.duration_or("idle_timeout", raw.idle_timeout.as_ref(), default.idle_timeout)?,
            head_bytes_max: head_bytes_max
                .map_or(Ok(default.head_bytes_max), |value| self.bytes_within("head_bytes_max", value, HEAD_BYTES))?,
            fields_max: self.within_or("fields_max", raw.fields_max.as_ref(), default.fields_max, 10..=1000)?,
            connections_max: self.within_or(
                "connections_max",
                raw.connections_max.as_ref(),
                default.connections_max,
                connections.clone(),
            )?,
            connections_per_client_max: self.within_or(
                "connections_per_client_max",
                raw.connections_per_client_max.as_ref(),
                default.connections_per_client_max,
                connections,
            )?,
            streams_max: self.within_or("streams_max", raw.streams_max.as_ref(), default.streams_max, 1..=10_000)?,
        })
    }
}

/// Peers are compared as what they are: `::ffff:192.0.2.7` is the IPv4 address in it.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    v4.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()).map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::super::tests::{check, parse};
    use super::*;

    fn listener(rest: &str) -> ListenerSpec {
        let text = format!("[listeners.front]\naddress = '0.0.0.0:443'\n{rest}");
        parse(&text).unwrap_or_else(|error| panic!("{error}")).desired.listeners["front"].clone()
    }

    fn refuse(rest: &str, expected: &str) {
        let text = format!("[listeners.front]\naddress = '0.0.0.0:443'\n{rest}");
        check(&text, &format!("/etc/x.toml:3: listeners.front.{expected}"));
    }

    #[test]
    fn a_listener_that_says_no_more_than_its_address_is_plain() {
        assert_eq!(listener(""), ListenerSpec::plain("0.0.0.0:443".parse().unwrap()));
        let unix = parse("[listeners.front]\naddress = 'unix:/run/x.sock'").unwrap().desired.listeners;
        assert_eq!(unix["front"].address, Address::Unix("/run/x.sock".into()));
    }

    #[test]
    fn certificates_make_it_tls_and_begin_at_the_file() {
        let tls = listener(
            "certificates = [{ cert = 'a.pem', key = '/keys/a.key' }]\nclient_ca = 'ca.pem'\nclient_certificate = 'optional'\nmin_tls_version = '1.3'",
        );
        let expected = ListenerTlsSpec {
            certificates: vec![CertificateSpec { cert: "/etc/a.pem".into(), key: "/keys/a.key".into() }],
            client_ca: Some("/etc/ca.pem".into()),
            client_certificate: ClientCertificate::Optional,
            min_version: TlsVersion::Tls13,
        };
        assert_eq!(tls.tls, Some(expected));
        let tls = listener("certificates = [{ cert = 'a.pem', key = 'a.key' }]").tls.unwrap();
        assert_eq!(tls.certificates[0].key, Path::new("/etc/a.key"));
        assert_eq!((tls.client_ca, tls.min_version), (None, TlsVersion::Tls12));
    }

    #[test]
    fn who_is_trusted_is_a_network_or_one_address() {
        let front = listener(
            "trusted = ['10.0.0.0/8', '192.0.2.7', '2001:db8::/32', '::1', '::ffff:10.1.0.0/112']\nbelieve = 'forwarded'\nproxy_protocol = true",
        );
        let trusted: Vec<_> = front.trusted.iter().map(ToString::to_string).collect();
        assert_eq!(trusted, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "::1/128", "10.1.0.0/16"]);
        assert_eq!((front.believe, front.proxy_protocol), (Believe::Forwarded, true));
    }

    #[test]
    fn a_listener_has_limits_of_its_own() {
        let limits = listener(
            "head_timeout = '5s'\nidle_timeout = '1m'\nhead_bytes_max = '16KiB'\nfields_max = 50\nconnections_max = 7\nconnections_per_client_max = 3\nstreams_max = 10",
        )
        .limits;
        let expected = ListenerLimits {
            head_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            head_bytes_max: 16 * 1024,
            fields_max: 50,
            connections_max: 7,
            connections_per_client_max: 3,
            streams_max: 10,
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn a_listener_that_cannot_be_is_refused() {
        check(
            "[listeners.front]\naddress = ':443'",
            "/etc/x.toml:2: listeners.front.address: expected an IP address and port such as `127.0.0.1:8080`, or `unix:` and an absolute path, got `:443`",
        );
        refuse("trusted = ['lan']", "trusted: expected a network such as `10.0.0.0/8`, or an IP address, got `lan`");
        refuse(
            "trusted = ['10.1.2.3/8']",
            "trusted: `10.1.2.3/8` has bits beyond its prefix; the network is `10.0.0.0/8`",
        );
        refuse("believe = 'all'", "believe: expected `x-forwarded` or `forwarded`, got `all`");
        refuse("head_timeout = '0s'", "head_timeout: expected a time such as `250ms` or `30s`, up to a day, got `0s`");
        refuse(
            "idle_timeout = '2days'",
            "idle_timeout: expected a time such as `250ms` or `30s`, up to a day, got `2days`",
        );
        refuse("head_bytes_max = '2MiB'", "head_bytes_max: expected `4KiB` to `1MiB`, got `2MiB`");
        refuse("fields_max = 9", "fields_max: expected 10 to 1000, got 9");
        refuse("connections_max = 0", "connections_max: expected 1 to 1000000, got 0");
        refuse(
            "connections_per_client_max = 1000001",
            "connections_per_client_max: expected 1 to 1000000, got 1000001",
        );
        refuse("streams_max = 10001", "streams_max: expected 1 to 10000, got 10001");
    }

    #[test]
    fn tls_that_cannot_be_is_refused() {
        let needs = "needs `certificates`: the listener is plain text without them";
        refuse("client_ca = 'ca.pem'", &format!("client_ca: {needs}"));
        refuse("client_certificate = 'optional'", &format!("client_certificate: {needs}"));
        refuse("min_tls_version = '1.3'", &format!("min_tls_version: {needs}"));
        refuse("certificates = []", "certificates: expected one certificate at least");
        refuse("certificates = [{ cert = '', key = 'a.key' }]", "certificates: expected a path, got none");
        let tls = |rest: &str, expected: &str| {
            refuse(&format!("{rest}\ncertificates = [{{ cert = 'a.pem', key = 'a.key' }}]"), expected);
        };
        tls("client_ca = ''", "client_ca: expected a path, got none");
        tls("min_tls_version = '1.1'", "min_tls_version: expected `1.2` or `1.3`, got `1.1`");
        tls(
            "client_certificate = 'optional'",
            "client_certificate: needs `client_ca`: who may sign clients' certificates",
        );
        tls(
            "client_certificate = 'no'\nclient_ca = 'ca.pem'",
            "client_certificate: expected `required` or `optional`, got `no`",
        );
        check(
            "[listeners.front]\naddress = '0.0.0.0:443'\ncertificates = [{ cert = 'a.pem' }]",
            "/etc/x.toml:3: missing field `key`",
        );
    }

    #[test]
    fn two_listeners_at_one_address_are_refused() {
        let two = |first, second| format!("[listeners.a]\naddress = '{first}'\n[listeners.b]\naddress = '{second}'");
        check(
            &two("127.0.0.1:80", "127.0.0.1:80"),
            "/etc/x.toml:4: listeners.b.address: `127.0.0.1:80` is the address of listener `a` as well",
        );
        check(
            &two("unix:/run/x", "unix:/run//x"),
            "/etc/x.toml:4: listeners.b.address: `unix:/run//x` is the address of listener `a` as well",
        );
        assert_eq!(parse(&two("127.0.0.1:0", "127.0.0.1:0")).unwrap().desired.listeners.len(), 2);
    }
}
