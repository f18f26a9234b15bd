//! What is probed: one member, and one check that it is put to.

use std::sync::Arc;

use crate::spec::check::CheckSpec;
use crate::spec::pool::Protocol;

/// One member and one check that it is put to: what is probed, and what a standing is of. Equal pairs are one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pair<M> {
    /// The member, as the one who connects knows it: its address, and how connections to it are secured.
    pub member: M,
    /// The check.
    pub check: Arc<CheckSpec>,
    /// What the pool speaks.
    pub protocol: Protocol,
    /// Whether connections are TLS, for the scheme that HTTP/2 requests name.
    pub is_tls: bool,
    /// The host that is asked for where the check names none.
    pub authority: Arc<str>,
}
