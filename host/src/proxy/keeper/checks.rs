//! Which members are probed, and where what comes of it goes.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::address::Address;
use crate::proxy::events::EventKind;
use crate::proxy::health::pair::Pair;
use crate::proxy::health::prober::{self, AT_ONCE, Prober};
use crate::proxy::health::standing::Changed;
use crate::proxy::health::{Checked, Health};
use crate::proxy::pool::Pool;
use crate::proxy::seat::Seat;
use crate::proxy::stream::Stream;
use crate::release::Ground;
use crate::time;

/// The probing of all watched pools.
#[derive(Clone)]
pub(super) struct Checks {
    prober: prober::Checks<Arc<Checked>>,
    /// Those that are probed, in the order of their places in memory.
    probed: Arc<Mutex<Vec<Arc<Checked>>>>,
    /// Until it is begun, on the keeper's own runtime.
    run: Arc<Mutex<Option<Run>>>,
}

type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Checks {
    /// No probing yet. `probed` is told of each change.
    pub(super) fn new(ground: Arc<Ground>, probed: Arc<Notify>) -> Self {
        let told = move |pair: &Pair<Arc<Checked>>, changed: Changed| {
            hear(&ground, &pair.member, &changed);
            probed.notify_one();
        };
        let seed = getrandom::u64().expect("the system has randomness");
        let (prober, checks) = Prober::new(connect, told, AT_ONCE, seed);
        Self { prober: checks, probed: Arc::default(), run: Arc::new(Mutex::new(Some(Box::pin(prober.run())))) }
    }

    /// Begins, beside the caller.
    pub(super) fn begin(&self) {
        if let Some(run) = self.run.lock().unwrap_or_else(PoisonError::into_inner).take() {
            tokio::spawn(run);
        }
    }

    /// Probes the members of these pools, and no others.
    pub(super) fn keep(&self, pools: &[Arc<Pool>]) {
        let pairs: Vec<_> = pools.iter().flat_map(|pool| pairs(pool)).collect();
        let mut now: Vec<_> = pairs.iter().map(|pair| pair.member.clone()).collect();
        now.sort_unstable_by_key(Arc::as_ptr);
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        let has_left = |checked: &&Arc<Checked>| now.binary_search_by_key(&Arc::as_ptr(checked), Arc::as_ptr).is_err();
        probed.iter().filter(has_left).for_each(|checked| checked.set_probed(false));
        *probed = now;
        self.prober.keep(pairs);
    }

    /// Probes now who has not answered since it is probed: what was known of it before may be from long ago, or from
    /// another check. Answers whether there was anybody.
    pub(super) async fn probe_new(&self, pools: &[Arc<Pool>], at_most: Duration) -> bool {
        let known = self.prober.of(pools.iter().flat_map(|pool| pairs(pool))).await;
        let new: Vec<_> = known.into_iter().filter(|known| known.last.is_none()).map(|known| known.pair).collect();
        if new.is_empty() {
            return false;
        }
        self.prober.probe_now(new, at_most).await;
        true
    }
}

/// What is probed of a pool.
fn pairs(pool: &Pool) -> Vec<Pair<Arc<Checked>>> {
    let pair = |seat: &Seat| {
        let member = seat.checked.clone()?;
        let authority = match &member.address {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(_) => "localhost".to_owned(),
        };
        Some(Pair {
            check: member.check.clone(),
            protocol: member.check.protocol(member.transport.protocol),
            is_tls: member.transport.tls.is_some(),
            authority: authority.into(),
            member,
        })
    };
    pool.roster().seats.iter().filter_map(pair).collect()
}

/// Opens the connection of one probe, as requests would, but for the port.
fn connect(pair: &Pair<Arc<Checked>>) -> impl Future<Output = io::Result<Stream>> + Send + use<> {
    let (member, time) = (pair.member.clone(), pair.check.timeout);
    async move {
        let address = match (&member.address, member.check.port) {
            (Address::Tcp(address), Some(port)) => {
                let mut address = *address;
                address.set_port(port.get());
                Address::Tcp(address)
            }
            (address, _) => address.clone(),
        };
        let stream = member.transport.connect(&address, None, time).await?;
        // Nothing more is said: a reset spares the member, and us, a connection that waits for its end.
        stream.plain().reset_on_close();
        Ok(stream)
    }
}

/// A member got well, or sick.
fn hear(ground: &Ground, checked: &Checked, changed: &Changed) {
    let reason = changed.reason.to_string();
    // A check that is new confirms what another one knew.
    let is_news = checked.health() != changed.to;
    checked.set(changed.to, &reason);
    // Not when it was begun: what was known of it until now may be from long ago.
    checked.set_probed(true);
    if !is_news {
        return;
    }
    let kind = if changed.to == Health::Healthy { EventKind::Healthy } else { EventKind::Sick };
    if kind == EventKind::Healthy {
        let (member, now) = (ground.members.at(&checked.address), time::nanos_since_start());
        member.came_back(now);
        // It was away, and is back: what it did before says nothing any more.
        if changed.from == Health::Sick {
            member.breaker.close(now);
        }
    }
    ground.events.tell(kind, None, Some(&checked.address), reason);
}
