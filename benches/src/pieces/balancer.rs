//! Which of 2, 100, 10,000 members gets a request, by each way of choosing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use switchback::address::Address;
use switchback::proxy::balancer;
use switchback::proxy::pool::{Choice, Pool};
use switchback::proxy::roster::Wanted;
use switchback::random;
use switchback::release::Ground;
use switchback::spec::PoolSpec;
use switchback::spec::member::{MemberSpec, Whereabouts};
use switchback::spec::pool::{Balance, StickySpec};

use crate::Planned;
use crate::rig::ground;

/// By how many members there are, and by what chooses.
pub fn pieces() -> Vec<Planned> {
    let mut all = Vec::new();
    for count in [2, 100, 10_000] {
        all.push(chooses(format!("balancer/{count} members, in turn"), count, By::Turn));
        all.push(chooses(format!("balancer/{count} members, least requests"), count, By::Load));
        all.push(chooses(format!("balancer/{count} members, by key"), count, By::Key));
        all.push(chooses(format!("balancer/{count} members, bound by a cookie"), count, By::Bond));
    }
    all
}

/// What chooses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Turn,
    Load,
    Key,
    Bond,
}

fn chooses(name: String, count: usize, by: By) -> Planned {
    Planned::new(name, move || {
        let (ground, news) = ground();
        let pool = pool(count, by, &ground);
        let bound = (by == By::Bond).then(|| pool.roster().seats[count / 2].member.id);
        let mut seed = 7;
        move |times| {
            // Both outlive the piece: a pool tells what becomes of its members.
            let _ = (&ground, &news);
            for _ in 0..times {
                seed = random::after(seed);
                let random = random::mix(seed);
                let key = (by == By::Key).then(|| balancer::hash(&random.to_le_bytes()));
                let wanted = Wanted { bound, key, tried: &[], random };
                let chosen = pool.choose(0, &wanted, |_| false);
                assert!(matches!(chosen, Choice::Member(_)), "all of them are fit");
            }
        }
    })
}

fn pool(count: usize, by: By, ground: &Ground) -> Arc<Pool> {
    let member = |at: usize| {
        let at = u32::try_from(at).expect("there are not so many");
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0001 + at)), 80);
        MemberSpec { at: Whereabouts::Address(Address::Tcp(address)), weight: 1, zone: None, drain: false }
    };
    let mut spec = PoolSpec { members: (0..count).map(member).collect(), ..PoolSpec::default() };
    match by {
        By::Turn => {}
        By::Load => spec.balance.by = Balance::LeastRequests,
        By::Key => spec.balance.key = "cookie:uid".parse().ok(),
        By::Bond => spec.balance.sticky = Some(StickySpec { cookie: "member".into(), max_age: None }),
    }
    ground.pools.like("blue", &spec, ground).expect("it needs no certificate")
}
