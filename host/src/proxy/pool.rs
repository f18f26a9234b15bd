//! A named set of members, and the turn they take.

use std::cmp::Reverse;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::iter::Chain;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{io, slice, vec};

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsConnector;

use super::connector::ConnectionKey;
use super::exchange::Client;
use super::member::{Member, Members};
use super::per_worker::PerWorker;
use super::proxy_protocol;
use super::stream::{Plain, Stream};
use super::tls::TlsError;
use super::tls::certificates::Certificates;
use super::tls::client::PoolTls;
use crate::address::Address;
use crate::spec::PoolSpec;
use crate::spec::pool::{Protocol, ProxyVersion};
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
    /// How members are spoken to.
    pub transport: Arc<Transport>,
    /// What the pool has served, over all releases.
    pub counts: Arc<PoolCounts>,
    /// Whose turn it is, for each worker on its own.
    turns: PerWorker<AtomicUsize>,
}

impl Pool {
    /// Makes the pool that `spec` describes, from members that may be known already.
    ///
    /// # Errors
    /// What is wrong with its certificates.
    pub fn new(
        name: &str,
        spec: &PoolSpec,
        members: &Members,
        certificates: &Certificates,
        counts: &Counts,
        workers: usize,
    ) -> Result<Self, TlsError> {
        let tls = spec.tls.as_ref().map(|tls| PoolTls::new(tls, spec.protocol, &spec.members, certificates));
        let members: Box<[_]> = spec.members.iter().map(|address| members.at(address)).collect();
        // Workers start at different members, or a switch would send the first requests of all to the same one.
        let turns = PerWorker::new(workers, |worker| AtomicUsize::new(worker * members.len().div_ceil(workers)));
        Ok(Self {
            name: name.into(),
            members,
            connect_timeout: spec.connect_timeout,
            response_timeout: spec.response_timeout,
            transport: Arc::new(Transport::new(spec, tls.transpose()?)),
            counts: counts.pool(name),
            turns,
        })
    }

    /// The members to try, best first: round-robin, or by `key` where the policy gave one.
    pub fn candidates(&self, worker: usize, key: Option<&[u8]>) -> Candidates<'_> {
        match key {
            Some(key) => Candidates::ByKey(self.by_key(key).into_iter()),
            None => {
                let turn = self.turns.of(worker).fetch_add(1, Ordering::Relaxed);
                let (later, first) = self.members.split_at(turn % self.members.len().max(1));
                Candidates::InTurn(first.iter().chain(later))
            }
        }
    }

    /// Rendezvous hashing (Thaler, Ravishankar 1998): equal keys meet the same member first, and when one leaves only
    /// its keys move.
    fn by_key(&self, key: &[u8]) -> Vec<&Arc<Member>> {
        let score = |member: &Arc<Member>| {
            // DefaultHasher has fixed keys: the same in every worker and after every start of this version.
            let mut hasher = DefaultHasher::new();
            (&member.address, key).hash(&mut hasher);
            hasher.finish()
        };
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by_cached_key(|member| Reverse(score(member)));
        members
    }

    /// Requests in flight to all its members.
    pub fn in_flight(&self) -> u32 {
        self.members.iter().map(|member| member.in_flight()).sum()
    }
}

/// How a pool's members are spoken to.
pub struct Transport {
    /// Equal for equal ways: connections are shared between pools and releases whose ways are the same.
    pub id: u64,
    /// What is spoken.
    pub protocol: Protocol,
    /// What connections begin with.
    pub proxy_protocol: Option<ProxyVersion>,
    /// How they are secured; `None` is plain text.
    pub tls: Option<PoolTls>,
}

impl Transport {
    fn new(spec: &PoolSpec, tls: Option<PoolTls>) -> Self {
        let mut hasher = DefaultHasher::new();
        (spec.protocol, spec.proxy_protocol, &spec.tls).hash(&mut hasher);
        Self { id: hasher.finish(), protocol: spec.protocol, proxy_protocol: spec.proxy_protocol, tls }
    }

    /// Which connections to this member are alike.
    pub fn key(&self, address: &Address) -> ConnectionKey {
        // A PROXY protocol header speaks for one client.
        ConnectionKey { address: address.clone(), transport: self.id, is_private: self.proxy_protocol.is_some() }
    }

    /// Makes a new connection one that requests can be sent on.
    ///
    /// # Errors
    /// Why it cannot be.
    pub async fn secure(&self, address: &Address, mut plain: Plain, client: &Client) -> io::Result<Stream> {
        if let Some(version) = self.proxy_protocol {
            let mut header = BytesMut::new();
            proxy_protocol::write(version, client.address, client.local, &mut header);
            plain.write_all(&header).await?;
        }
        let Some(tls) = &self.tls else { return Ok(Stream::Plain(plain)) };
        let name = tls.server_name(address).ok_or(io::ErrorKind::InvalidInput)?.clone();
        let stream = TlsConnector::from(tls.config.clone()).connect(name, plain).await?;
        // RFC 9113, 3.3: over TLS it is agreed on, never assumed.
        if self.protocol == Protocol::Http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::other("the member does not speak HTTP/2 (ALPN)"));
        }
        Ok(Stream::Tls(Box::new(stream.into())))
    }
}

/// Members to try, best first.
pub enum Candidates<'a> {
    /// Each takes its turn.
    InTurn(Chain<slice::Iter<'a, Arc<Member>>, slice::Iter<'a, Arc<Member>>>),
    /// By what the policy's key says.
    ByKey(vec::IntoIter<&'a Arc<Member>>),
}

impl<'a> Iterator for Candidates<'a> {
    type Item = &'a Arc<Member>;

    fn next(&mut self) -> Option<&'a Arc<Member>> {
        match self {
            Self::InTurn(members) => members.next(),
            Self::ByKey(members) => members.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(members: u16) -> Pool {
        let members = (1..=members).map(|port| std::net::SocketAddr::from(([127, 0, 0, 1], port)).into()).collect();
        let spec = PoolSpec { members, ..PoolSpec::default() };
        Pool::new("blue", &spec, &Members::default(), &Certificates::default(), &Counts::new(1), 1).unwrap()
    }

    fn ports(pool: &Pool, key: Option<&[u8]>) -> Vec<u16> {
        pool.candidates(0, key).map(|member| member.address.tcp().unwrap().port()).collect()
    }

    #[test]
    fn members_take_turns_and_the_others_follow_as_spares() {
        let pool = pool(3);
        assert_eq!(ports(&pool, None), [1, 2, 3]);
        assert_eq!(ports(&pool, None), [2, 3, 1]);
        assert_eq!(ports(&pool, None), [3, 1, 2]);
        assert_eq!(ports(&pool, None), [1, 2, 3]);
    }

    #[test]
    fn a_key_keeps_its_member_and_only_those_of_one_that_leaves_move() {
        let (ten, nine) = (pool(10), pool(9));
        let mut moved = 0;
        for key in 0..1000_u32 {
            let (before, after) = (ports(&ten, Some(&key.to_le_bytes())), ports(&nine, Some(&key.to_le_bytes())));
            assert_eq!(before.len(), 10);
            assert!(before[0] == after[0] || before[0] == 10);
            moved += u32::from(before[0] == 10);
        }
        // A tenth, and four standard deviations of a binomial on either side.
        assert!((62..=138).contains(&moved), "{moved}");
    }
}
