//! One upstream address, and what is known of it for as long as it is known.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::address::Address;

/// One upstream. Every release that names an address shares the same member.
#[derive(Debug)]
pub struct Member {
    /// Where it listens.
    pub address: Address,
    in_flight: AtomicU32,
    requests: AtomicU64,
    failures: AtomicU64,
}

impl Member {
    /// Requests sent to it that have not ended yet.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Requests sent to it since it became known.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests that it did not answer, or not whole.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn fail(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

/// All members that some release still names, by address.
#[derive(Default)]
pub struct Members {
    known: Mutex<HashMap<Address, Weak<Member>>>,
}

impl Members {
    /// The member at this address: the one that is known, or a new one.
    pub fn at(&self, address: &Address) -> Arc<Member> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(member) = known.get(address).and_then(Weak::upgrade) {
            return member;
        }
        known.retain(|_, member| member.strong_count() > 0);
        let member =
            Arc::new(Member { address: address.clone(), in_flight: 0.into(), requests: 0.into(), failures: 0.into() });
        known.insert(address.clone(), Arc::downgrade(&member));
        member
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_shared_while_it_is_known_and_forgotten_after() {
        let members = Members::default();
        let address = &"127.0.0.1:1".parse().unwrap();
        let first = members.at(address);
        first.begin();
        assert_eq!(members.at(address).in_flight(), 1);
        drop(first);
        assert_eq!(members.at(address).in_flight(), 0);
    }
}
