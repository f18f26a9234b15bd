//! What checks say of a member, where requests can read it.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::standing::Health;
use crate::address::Address;
use crate::proxy::transport::Transport;
use crate::spec::check::CheckSpec;

/// A member as one check knows it. Every release that checks it in that way shares the same.
pub struct Checked {
    /// The member.
    pub address: Address,
    /// How it is spoken to.
    pub transport: Arc<Transport>,
    /// The check.
    pub check: Arc<CheckSpec>,
    health: AtomicU8,
    /// Whether it was probed since it is: if not, what is believed of it may be from long ago.
    is_probed: AtomicBool,
    reason: Mutex<Arc<str>>,
}

impl Checked {
    /// A member of which nothing is known.
    pub fn new(address: Address, transport: Arc<Transport>, check: Arc<CheckSpec>) -> Self {
        let (health, is_probed, reason) = (AtomicU8::default(), AtomicBool::default(), Mutex::new("".into()));
        Self { address, transport, check, health, is_probed, reason }
    }

    /// What is believed of it.
    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            0 => Health::Unknown,
            1 => Health::Sick,
            _ => Health::Healthy,
        }
    }

    /// Why.
    pub fn reason(&self) -> Arc<str> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it is probed, and has been since that began.
    pub fn is_probed(&self) -> bool {
        self.is_probed.load(Ordering::Relaxed)
    }

    /// Says whether it is.
    pub fn set_probed(&self, is_probed: bool) {
        self.is_probed.store(is_probed, Ordering::Relaxed);
    }

    /// What is believed of it from now on.
    pub fn set(&self, health: Health, reason: &str) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason.into();
        self.health.store(health as u8, Ordering::Relaxed);
    }
}

impl PartialEq for Checked {
    fn eq(&self, other: &Self) -> bool {
        (&self.address, self.transport.id, &self.check) == (&other.address, other.transport.id, &other.check)
    }
}

impl Eq for Checked {}

impl Hash for Checked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.address, self.transport.id, &self.check).hash(state);
    }
}
