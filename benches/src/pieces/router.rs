//! Finding a request's vip among 1, 100, 10,000.

use switchback::spec::{DeciderSpec, PoolSpec, Spec, VipSpec};

use crate::Planned;
use crate::rig::{ground, release};

/// Where all vips listen.
const LISTEN: &str = "127.0.0.1:80";

/// By how many vips there are, and by what finds one.
pub fn pieces() -> Vec<Planned> {
    let mut all = Vec::new();
    for count in [1, 100, 10_000] {
        // The last one, lest it be near the front of anything.
        let last = count - 1;
        all.push(finds(format!("router/{count} vips, by host"), count, format!("shop-{last}.example")));
        all.push(finds(format!("router/{count} vips, by wildcard"), count, format!("a.b.wild-{last}.example")));
    }
    all
}

fn finds(name: String, count: usize, host: String) -> Planned {
    Planned::new(name, move || {
        let (ground, _news) = ground();
        let release = release(1, vips(count), &[], &ground);
        let id = release.listeners.keys().next().expect("they listen").clone();
        move |times| {
            for _ in 0..times {
                let found = release.router.find(&id, std::hint::black_box(&host), "/shop/cart/items");
                assert!(found.is_some(), "one of them serves {host}");
            }
        }
    })
}

/// Each with a host, a wildcard and two path prefixes.
fn vips(count: usize) -> Spec {
    let vip = |at: usize| {
        let mut vip = VipSpec::new(vec![LISTEN.into()], DeciderSpec::Pool("blue".into()));
        vip.hosts = vec![format!("shop-{at}.example"), format!("*.wild-{at}.example")];
        vip.paths = vec!["/shop/cart".into(), "/shop/admin".into()];
        (format!("vip-{at}"), vip)
    };
    Spec {
        vips: (0..count).map(vip).collect(),
        pools: [("blue".to_owned(), PoolSpec::default())].into(),
        ..Spec::default()
    }
}
