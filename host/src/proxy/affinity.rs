//! Reads the key of a request: what its pool or a canary keeps its client together by.

use std::net::IpAddr;

use super::head::Head;
use crate::spec::key::KeySpec;

/// The hash of a request's key; `None` where it has none.
pub fn hash_of(key: &KeySpec, head: &Head, hash: impl FnOnce(&[u8]) -> u64) -> Option<u64> {
    match key {
        KeySpec::Header(name) => head.header(name).map(hash),
        KeySpec::Cookie(name) => head.cookie(name).map(hash),
        KeySpec::ClientAddress => match head.client()? {
            IpAddr::V4(address) => Some(hash(&address.octets())),
            IpAddr::V6(address) => Some(hash(&address.octets())),
        },
    }
}
