//! Finds the vip that a request enters, by listener, host and path.
//!
//! The most specific wins: an exact host before a wildcard, a longer wildcard before a shorter one, any host last; among
//! the vips of one host the exact path, then the longest path prefix, by whole segments. A host without a matching path
//! falls through to the next less specific one. Every step is a hash lookup of text that is there already, so the number
//! of vips does not matter; and no more steps are taken, over no more bytes, than the longest host or path of a vip has,
//! so what a client sends does not matter either.

use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use super::vip::Vip;
use crate::spec::VipSpec;

/// What is in it is the configuration's, so nobody can fill it with texts that hash alike.
type Table<T> = HashMap<Box<str>, T, FxBuildHasher>;

/// All vips of a release, arranged for lookup.
#[derive(Default)]
pub struct Router {
    listeners: Table<Hosts>,
}

#[derive(Default)]
struct Hosts {
    exact: Table<Paths>,
    /// By what follows the `*`, dot included.
    wildcards: Table<Paths>,
    longest_wildcard: usize,
    any: Paths,
}

#[derive(Default)]
struct Paths {
    exact: Table<Arc<Vip>>,
    longest_exact: usize,
    by_prefix: Table<Arc<Vip>>,
    longest_prefix: usize,
}

/// Two vips claim the same place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("vips `{0}` and `{1}` both serve {2}")]
pub struct Overlap(pub String, pub String, pub String);

impl Router {
    /// Gives a vip its places at the listener of this id.
    ///
    /// # Errors
    /// When another vip has one of them already.
    pub fn add(&mut self, listener: &str, vip: &Arc<Vip>, spec: &VipSpec) -> Result<(), Overlap> {
        let any = [String::new()];
        let hosts = if spec.hosts.is_empty() { &any[..] } else { &spec.hosts };
        let root = ["/".to_owned()];
        let paths = if spec.paths.is_empty() { &root[..] } else { &spec.paths };
        for (host, path) in hosts.iter().flat_map(|host| paths.iter().map(move |path| (host, path))) {
            let Some(other) = self.listener(listener).table(host).add(path, vip.clone()) else { continue };
            let host = if host.is_empty() { "*" } else { host };
            let place = match path.strip_prefix('=') {
                Some(path) => format!("exactly {host}{path} on {listener}"),
                None => format!("{host}{path} on {listener}"),
            };
            return Err(Overlap(other.name.to_string(), vip.name.to_string(), place));
        }
        Ok(())
    }

    /// The vip for a request that came to `listener`, asking for `authority` and `path`.
    pub fn find(&self, listener: &str, authority: &str, path: &str) -> Option<&Arc<Vip>> {
        let hosts = self.listeners.get(listener)?;
        let host = without_port(authority);
        let exact = hosts.exact.get(host).into_iter();
        // Where a suffix that some vip has could begin.
        let tail = host.ceil_char_boundary(host.len().saturating_sub(hosts.longest_wildcard));
        let dots = host[tail..].match_indices('.').map(|(dot, _)| tail + dot);
        let wildcards = dots.filter_map(|dot| hosts.wildcards.get(&host[dot..]));
        exact.chain(wildcards).chain([&hosts.any]).find_map(|paths| paths.find(path))
    }

    fn listener(&mut self, listener: &str) -> &mut Hosts {
        self.listeners.entry(listener.into()).or_default()
    }
}

impl Hosts {
    fn table(&mut self, host: &str) -> &mut Paths {
        let host = host.to_ascii_lowercase();
        match host.strip_prefix('*') {
            Some(suffix) => {
                self.longest_wildcard = self.longest_wildcard.max(suffix.len());
                self.wildcards.entry(suffix.into()).or_default()
            }
            None if host.is_empty() => &mut self.any,
            None => self.exact.entry(host.into()).or_default(),
        }
    }
}

impl Paths {
    /// Gives a vip this path; answers who had it.
    fn add(&mut self, path: &str, vip: Arc<Vip>) -> Option<Arc<Vip>> {
        if let Some(exact) = path.strip_prefix('=') {
            self.longest_exact = self.longest_exact.max(exact.len());
            return self.exact.insert(exact.into(), vip);
        }
        // `/cart/` and `/cart` are the same prefix.
        let prefix = path.trim_end_matches('/');
        self.longest_prefix = self.longest_prefix.max(prefix.len());
        self.by_prefix.insert(prefix.into(), vip)
    }

    fn find(&self, path: &str) -> Option<&Arc<Vip>> {
        if path.len() <= self.longest_exact
            && let Some(vip) = self.exact.get(path)
        {
            return Some(vip);
        }
        // One byte more than the longest prefix: enough to see whether it ends there.
        let mut prefix = &path[..path.floor_char_boundary(self.longest_prefix + 1)];
        loop {
            if let Some(vip) = self.by_prefix.get(prefix.trim_end_matches('/')) {
                return Some(vip);
            }
            prefix = &prefix[..prefix.rfind('/')?];
        }
    }
}

/// A host, of a host and perhaps a port.
pub(super) fn without_port(authority: &str) -> &str {
    // Byte by byte: a host is too short for what looks at many at once.
    match authority.bytes().rposition(|byte| byte == b':') {
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::header_rules::HeaderRules;
    use crate::proxy::outcomes::Outcomes;
    use crate::proxy::vip::Decider;
    use crate::spec::vip::VipTimeouts;
    use crate::spec::{DeciderSpec, VipLimits};
    use crate::telemetry::Counts;

    const HERE: &str = "127.0.0.1:80";

    fn router(vips: &[(&str, &[&str], &[&str])]) -> Result<Router, Overlap> {
        let mut router = Router::default();
        for (name, hosts, paths) in vips {
            let vip = Vip {
                name: (*name).into(),
                decider: Decider::Awaited,
                fallback: None,
                redirect_to_https: None,
                request_rules: HeaderRules::default(),
                response_rules: HeaderRules::default(),
                limits: VipLimits::default(),
                timeouts: VipTimeouts::default(),
                mirror: None,
                session: None,
                counts: Counts::new(1).vip(name),
                outcomes: Outcomes::new(1, std::iter::empty()).into(),
            };
            let spec = VipSpec {
                hosts: hosts.iter().map(|&host| host.into()).collect(),
                paths: paths.iter().map(|&path| path.into()).collect(),
                ..VipSpec::new(vec![HERE.into()], DeciderSpec::Pool("blue".into()))
            };
            router.add(HERE, &Arc::new(vip), &spec)?;
        }
        Ok(router)
    }

    fn check(router: &Router, authority: &str, path: &str, expected: Option<&str>) {
        let found = router.find(HERE, authority, path).map(|vip| &*vip.name);
        assert_eq!(found, expected, "{authority} {path}");
    }

    #[test]
    fn the_most_specific_vip_wins() {
        let router = router(&[
            ("any", &[], &[]),
            ("shop", &["shop.example"], &[]),
            ("cart", &["shop.example"], &["/cart", "/basket/"]),
            ("wild", &["*.example"], &["/"]),
            ("deep", &["*.eu.example"], &["/only"]),
        ])
        .unwrap();
        check(&router, "shop.example", "/", Some("shop"));
        check(&router, "shop.example:8080", "/cart/1", Some("cart"));
        check(&router, "shop.example", "/cart", Some("cart"));
        check(&router, "shop.example", "/basket", Some("cart"));
        check(&router, "shop.example", "/cartoon", Some("shop"));
        check(&router, "a.example", "/", Some("wild"));
        check(&router, "a.eu.example", "/only/x", Some("deep"));
        check(&router, "a.eu.example", "/else", Some("wild"));
        check(&router, "example", "/", Some("any"));
        check(&router, "[::1]:80", "/", Some("any"));
    }

    #[test]
    fn an_exact_path_wins_over_every_prefix_of_its_host() {
        let router = router(&[
            ("any", &[], &["=/ping"]),
            ("shop", &["shop.example"], &["/", "/healthz/deep"]),
            ("health", &["shop.example"], &["=/healthz", "=/healthz/deep"]),
            ("prefix", &["shop.example"], &["/healthz"]),
            ("alone", &["alone.example"], &["=/", "=/dir/"]),
        ])
        .unwrap();
        check(&router, "shop.example", "/healthz", Some("health"));
        check(&router, "shop.example", "/healthz/deep", Some("health"));
        check(&router, "shop.example", "/healthz/deep/er", Some("shop"));
        check(&router, "shop.example", "/healthz/", Some("prefix"));
        check(&router, "shop.example", "/healthz/more", Some("prefix"));
        check(&router, "shop.example", "/healthzz", Some("shop"));
        // A more specific host comes first, whatever its path.
        check(&router, "shop.example", "/ping", Some("shop"));
        check(&router, "other.example", "/ping", Some("any"));
        check(&router, "alone.example", "/", Some("alone"));
        check(&router, "alone.example", "/dir/", Some("alone"));
        check(&router, "alone.example", "/dir", None);
        check(&router, "alone.example", &"/".repeat(1000), None);
    }

    #[test]
    fn a_place_that_nobody_serves_is_none() {
        let router = router(&[("shop", &["shop.example"], &["/cart"])]).unwrap();
        check(&router, "shop.example", "/", None);
        check(&router, "other.example", "/cart", None);
        assert!(router.find("127.0.0.1:81", "shop.example", "/cart").is_none());
    }

    #[test]
    fn long_hosts_and_paths_find_the_same() {
        let router = router(&[("any", &[], &[]), ("wild", &["*.b.example"], &["/x/y"])]).unwrap();
        check(&router, &format!("{}b.example", "a.".repeat(1000)), &format!("/x/y{}", "/z".repeat(1000)), Some("wild"));
        check(&router, &".".repeat(1000), &"/".repeat(1000), Some("any"));
        check(&router, "a.b.example", "/x/yy", Some("any"));
        check(&router, "a.b.example", "/x/é", Some("any"));
    }

    #[test]
    fn two_vips_in_one_place_are_refused() {
        let overlap = router(&[("a", &["x.example"], &["/p"]), ("b", &["X.example"], &["/p/"])]).err().unwrap();
        assert_eq!(overlap.to_string(), "vips `a` and `b` both serve X.example/p/ on 127.0.0.1:80");
        let overlap = router(&[("a", &[], &["=/p", "/p"]), ("b", &[], &["=/p"])]).err().unwrap();
        assert_eq!(overlap.to_string(), "vips `a` and `b` both serve exactly */p on 127.0.0.1:80");
    }
}
