//! A named set of members, and the turn they take.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::member::{Member, Members};
use super::per_worker::PerWorker;
use crate::spec::PoolSpec;
use crate::telemetry::{Counts, PoolCounts};

/// A pool as one release defines it. Its members and counts outlive the release.
pub struct Pool {
    /// Its name.
    pub name: Arc<str>,
    /// Its members, in the order of the configuration.
    pub members: Box<[Arc<Member>]>,
    /// Time to reach a member.
    pub connect_timeout: Duration,
    /// Time until a member's answer begins.
    pub response_timeout: Duration,
    /// What the pool has served, over all releases.
    pub counts: Arc<PoolCounts>,
    /// Whose turn it is, for each worker on its own.
    turns: PerWorker<AtomicUsize>,
}

impl Pool {
    /// Makes the pool that `spec` describes, from members that may be known already.
    pub fn new(name: &str, spec: &PoolSpec, members: &Members, counts: &Counts, workers: usize) -> Self {
        let members: Box<[_]> = spec.members.iter().map(|address: &SocketAddr| members.at(*address)).collect();
        // Workers start at different members, or a switch would send the first requests of all to the same one.
        let turns = PerWorker::new(workers, |worker| AtomicUsize::new(worker * members.len().div_ceil(workers)));
        Self {
            name: name.into(),
            members,
            connect_timeout: spec.connect_timeout,
            response_timeout: spec.response_timeout,
            counts: counts.pool(name),
            turns,
        }
    }

    /// The members to try, the one whose turn it is first: round-robin.
    pub fn in_turn(&self, worker: usize) -> impl Iterator<Item = &Arc<Member>> {
        let turn = self.turns.of(worker).fetch_add(1, Ordering::Relaxed);
        let (later, first) = self.members.split_at(turn % self.members.len().max(1));
        first.iter().chain(later)
    }

    /// Requests in flight to all its members.
    pub fn in_flight(&self) -> u32 {
        self.members.iter().map(|member| member.in_flight()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_take_turns_and_the_others_follow_as_spares() {
        let addresses: Vec<SocketAddr> = (1..=3).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        let spec = PoolSpec { members: addresses, ..PoolSpec::default() };
        let pool = Pool::new("blue", &spec, &Members::default(), &Counts::new(1), 1);
        let ports = |pool: &Pool| pool.in_turn(0).map(|member| member.address.port()).collect::<Vec<_>>();
        assert_eq!(ports(&pool), [1, 2, 3]);
        assert_eq!(ports(&pool), [2, 3, 1]);
        assert_eq!(ports(&pool), [3, 1, 2]);
        assert_eq!(ports(&pool), [1, 2, 3]);
    }
}
