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
use crate::proxy::roster::Seat;
use crate::proxy::stream::Stream;
use crate::release::Ground;
use crate::time;

/// The probing of all watched pools.
#[derive(Clone)]
pub(super) struct Checks {
    prober: prober::Checks<Arc<Checked>>,
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
        Self { prober: checks, run: Arc::new(Mutex::new(Some(Box::pin(prober.run())))) }
    }

    /// Begins, beside the caller.
    pub(super) fn begin(&self) {
        if let Some(run) = self.run.lock().unwrap_or_else(PoisonError::into_inner).take() {
            tokio::spawn(run);
        }
    }

    /// Probes the members of these pools, and no others.
    pub(super) fn keep(&self, pools: &[Arc<Pool>]) {
        self.prober.keep(pools.iter().flat_map(|pool| pairs(pool, |_| true)));
    }

    /// Probes now who has not answered yet; answers whether there was anybody.
    pub(super) async fn probe_unknown(&self, pools: &[Arc<Pool>], at_most: Duration) -> bool {
        let is_unknown = |checked: &Checked| checked.health() == Health::Unknown;
        let unknown: Vec<_> = pools.iter().flat_map(|pool| pairs(pool, is_unknown)).collect();
        if unknown.is_empty() {
            return false;
        }
        self.prober.probe_now(unknown, at_most).await;
        true
    }
}

/// What is probed of a pool.
fn pairs(pool: &Pool, of: impl Fn(&Checked) -> bool) -> Vec<Pair<Arc<Checked>>> {
    let pair = |seat: &Seat| {
        let member = seat.checked.clone().filter(|checked| of(checked))?;
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
    checked.set(changed.to, &reason);
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
