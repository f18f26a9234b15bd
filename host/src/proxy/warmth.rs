//! Keeps a few connections open to the pools that `back` would bring into use: the first requests after it pay nothing.

use std::rc::Rc;
use std::sync::Arc;

use super::connector::Way;
use super::pool::Pool;
use super::worker::Worker;

/// Members of one pool that this worker keeps a connection to.
const MEMBERS: usize = 2;

/// Pools that are kept warm: `back` goes to a release that differs in a few from the current one.
pub const POOLS_MAX: usize = 64;

/// Opens what is missing. Called from time to time, as idle connections end.
pub(super) fn keep_warm(worker: &Rc<Worker>) {
    for pool in worker.ground.warm.load().iter().take(POOLS_MAX) {
        let (worker, pool) = (worker.clone(), pool.clone());
        tokio::task::spawn_local(async move { warm_up(&worker, &pool).await });
    }
}

async fn warm_up(worker: &Worker, pool: &Arc<Pool>) {
    let now = crate::time::nanos_since_start();
    let roster = pool.roster();
    // Workers begin at different members.
    let fit = roster.seats.iter().filter(|seat| seat.is_fit(now)).skip(worker.id % roster.fit.max(1));
    for seat in fit.take(MEMBERS) {
        let member = &seat.member;
        let key = pool.transport.key(&member.address);
        let way = Way { member, pool, key: &key, client: None, timeout: pool.timeouts.connect };
        if let Err(error) = worker.connector.warm_up(way).await {
            tracing::debug!(member = %member.address, %error, "a connection could not be opened ahead");
        }
    }
}
