//! Finds members that a release only names.

use crate::address::Address;

/// A member that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub address: Address,
    /// Its part of the requests, where the source says.
    pub weight: Option<u32>,
    /// Its zone, where the source says.
    pub zone: Option<String>,
}
