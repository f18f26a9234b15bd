//! Members that DNS knows: the addresses of a name, or the places of a service.
//!
//! Asked again whenever an answer is no longer to be believed, and soon when there was none. Each kind of record is
//! believed on its own: a server that is ill when asked for AAAA does not take the IPv6 members away.

pub mod answer;
pub mod resolver;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use self::answer::{Answer, Ask, Kind, NoAnswer, Record};
use super::{Finding, Found};
use crate::address::Address;
use crate::spec::member::Whereabouts;

/// Names that are asked for at once, in one service.
const ASKED_AT_ONCE: usize = 16;

/// The longest wait for the next try after a failure.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// A and AAAA records of a name; all members listen on this port.
    Host(String, u16),
    /// SRV records of a name.
    Service(String),
}

impl Sought {
    /// What finds these members; nothing where they are at an address.
    pub fn of(members: &Whereabouts) -> Option<Self> {
        match members {
            Whereabouts::Address(_) => None,
            Whereabouts::Host(name, port) => Some(Self::Host(name.clone(), *port)),
            Whereabouts::Service(name) => Some(Self::Service(name.clone())),
        }
    }
}

/// How long answers are believed, whatever they say themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// At least; also the first wait after a failure.
    pub min: Duration,
    /// At most.
    pub max: Duration,
}

impl Default for Ttl {
    fn default() -> Self {
        // Zero is common, and would never let us rest. Five minutes are how long a withdrawn member may be asked in vain.
        Self { min: Duration::from_secs(1), max: Duration::from_secs(300) }
    }
}

/// Follows what DNS says, for as long as somebody listens.
pub async fn follow(sought: Sought, dns: impl Ask, ttl: Ttl, mut finding: Finding) {
    let mut source = Source { sought, dns: Arc::new(dns), known: HashMap::new() };
    let mut back_off = ttl.min;
    loop {
        let wait = tokio::select! {
            look = source.look() => {
                // Never sooner than the least, even where the configuration's most is below it.
                let believed = look.ttl.min(ttl.max).max(ttl.min);
                let (wait, next) = match look.failure {
                    None => (believed, ttl.min),
                    Some(_) => (back_off.min(believed), (back_off * 2).min(BACK_OFF_MAX).min(ttl.max)),
                };
                back_off = next;
                finding.tell_or_keep(look.members, look.failure.as_ref());
                wait
            }
            () = finding.unheard() => return,
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = finding.unheard() => return,
        }
    }
}

struct Source<A> {
    sought: Sought,
    dns: Arc<A>,
    /// The last good answers for each name.
    known: HashMap<String, Addresses>,
}

/// What a name's records last said, for each kind.
#[derive(Clone, Default)]
struct Addresses {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
}

/// What came of asking.
struct Look {
    /// All members, with those that are known from before where nothing new is; none where nothing ever was.
    members: Vec<Found>,
    /// Until when that is to be believed.
    ttl: Duration,
    /// What could not be found out.
    failure: Option<NoAnswer>,
}

impl Look {
    fn in_vain(failure: NoAnswer) -> Self {
        Self { members: Vec::new(), ttl: Duration::MAX, failure: Some(failure) }
    }
}

impl<A: Ask> Source<A> {
    async fn look(&mut self) -> Look {
        match self.sought.clone() {
            Sought::Host(name, port) => self.look_for_host(&name, port).await,
            Sought::Service(name) => self.look_for_service(&name).await,
        }
    }

    async fn look_for_host(&mut self, name: &str, port: u16) -> Look {
        let (ttl, failure) = self.ask_for_hosts(vec![name.to_owned()]).await;
        let members = self.addresses(name).map(|ip| Found::from(Address::from(SocketAddr::new(ip, port))));
        Look { members: members.collect(), ttl, failure }
    }

    async fn look_for_service(&mut self, name: &str) -> Look {
        let Answer { records, ttl } = match self.dns.ask(name, Kind::Srv).await {
            Ok(answer) => answer,
            Err(failure) => return Look::in_vain(failure),
        };
        let places = places(records);
        if places.is_empty() {
            return Look::in_vain(NoAnswer::NotOffered(name.to_owned()));
        }
        let mut hosts: Vec<_> = places.iter().map(|place| place.host.clone()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        self.known.retain(|host, _| hosts.binary_search(host).is_ok());
        let (ttl_of_hosts, failure) = self.ask_for_hosts(hosts).await;
        let members = places.iter().flat_map(|place| {
            // Each address of a host has the whole weight, as if each were a host.
            self.addresses(&place.host)
                .map(|ip| Found { weight: place.weight, ..Found::from(Address::from(SocketAddr::new(ip, place.port))) })
        });
        Look { members: members.collect(), ttl: ttl.min(ttl_of_hosts), failure }
    }

    fn addresses(&self, host: &str) -> impl Iterator<Item = IpAddr> {
        self.known.get(host).into_iter().flat_map(|known| known.v4.iter().chain(&known.v6).copied())
    }

    /// Learns these hosts' addresses; answers how long that can be believed, and why something is as it was before.
    async fn ask_for_hosts(&mut self, hosts: Vec<String>) -> (Duration, Option<NoAnswer>) {
        let (mut ttl, mut failure) = (Duration::MAX, None);
        for some in hosts.chunks(ASKED_AT_ONCE) {
            let mut asked = JoinSet::new();
            for host in some {
                let (dns, host) = (self.dns.clone(), host.clone());
                asked.spawn(async move {
                    let answers = tokio::join!(dns.ask(&host, Kind::A), dns.ask(&host, Kind::Aaaa));
                    (host, answers)
                });
            }
            while let Some(answered) = asked.join_next().await {
                // A panic is told elsewhere, and leaves that host as it was.
                let Ok((host, (v4, v6))) = answered else { continue };
                let known = self.known.entry(host).or_default();
                let learned = known.learn(v4, v6);
                ttl = ttl.min(learned.0);
                failure = failure.or(learned.1);
            }
        }
        (ttl, failure)
    }
}

impl Addresses {
    /// Takes in what is known now; answers how long it can be believed, and why something stays as it was.
    fn learn(&mut self, v4: Result<Answer, NoAnswer>, v6: Result<Answer, NoAnswer>) -> (Duration, Option<NoAnswer>) {
        let ttl = [&v4, &v6].into_iter().flatten().map(|answer| answer.ttl).min().unwrap_or(Duration::MAX);
        let mut next = self.clone();
        let (v4, v6) = (learn_kind(&mut next.v4, v4), learn_kind(&mut next.v6, v6));
        let (unknown, nothing) =
            [v4, v6].into_iter().flatten().partition::<Vec<_>, _>(|it| !it.says_nothing_is_there());
        let unknown = unknown.into_iter().next();
        // What there was is not given up for nothing at all: who says so may be wrong.
        if next.v4.is_empty() && next.v6.is_empty() {
            return (ttl, unknown.or(nothing.into_iter().next()));
        }
        *self = next;
        // To have addresses of one kind only is no failure.
        (ttl, unknown)
    }
}

fn learn_kind(addresses: &mut Vec<IpAddr>, answer: Result<Answer, NoAnswer>) -> Option<NoAnswer> {
    match answer {
        Ok(answer) => *addresses = answer.records.iter().filter_map(Record::address).collect(),
        Err(failure) => {
            if failure.says_nothing_is_there() {
                addresses.clear();
            }
            return Some(failure);
        }
    }
    None
}

struct Place {
    host: String,
    port: u16,
    weight: Option<u32>,
}

/// The places that are used: those of the lowest priority (RFC 2782).
fn places(records: Vec<Record>) -> Vec<Place> {
    let mut places: Vec<_> = records
        .into_iter()
        .filter_map(|record| match record {
            Record::Place { priority, weight, port, host } if host != "." && port != 0 => {
                Some((priority, weight, port, host))
            }
            _ => None,
        })
        .collect();
    let lowest = places.iter().map(|(priority, ..)| *priority).min();
    places.retain(|(priority, ..)| Some(*priority) == lowest);
    let (all_zero, some_zero) = (places.iter().all(|place| place.1 == 0), places.iter().any(|place| place.1 == 0));
    // Where nobody has a weight there is no choice to be made; beside others, 0 is a very small chance.
    let weigh = |weight: u16| match (all_zero, some_zero) {
        (true, _) => None,
        (false, false) => Some(weight.into()),
        (false, true) => Some((u32::from(weight) * 100).max(1)),
    };
    places.into_iter().map(|(_, weight, port, host)| Place { host, port, weight: weigh(weight) }).collect()
}

#[cfg(test)]
mod tests;
