//! What is known of the journal without the disk: the newest entries and receipts, the calls that have keys, and how the
//! file itself stands. `history` and `receipt` answer from here while the disk does not.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Call, Entry};
use crate::digest::Digest;

/// Entries that are known without the disk.
pub(super) const KNOWN_MAX: usize = 200;

/// Calls with a key that are remembered, here and on the disk.
pub(super) const CALLS_MAX: usize = 1_000;

/// An entry, and what else is known of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// The entry.
    pub entry: Entry,
    /// The receipt, as it was given; none for a refusal, or where the host ended before there was one.
    pub receipt: Option<Value>,
    /// Whether it is on the disk by now.
    pub durable: bool,
}

/// A call that was done.
#[derive(Clone, Debug)]
pub struct KnownCall {
    /// The digest of what was asked.
    pub request: Digest,
    /// Its entry; none where it changed nothing.
    pub entry: Option<u64>,
    /// Its receipt, where it has no entry.
    pub receipt: Option<String>,
}

/// How the journal stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stand {
    /// Entries on the disk.
    pub entries: u64,
    /// Bytes of the file that are used.
    pub bytes: u64,
    /// Links of the chain, those that were dropped included.
    pub links: u64,
    /// The hash of the last link: noted elsewhere, it proves what is before it.
    pub head: Digest,
    /// Records that are not on the disk yet.
    pub waiting: usize,
    /// Since when there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<String>,
    /// What the disk said last, where it did not take a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// What was found damaged in this life, and where it was put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
    /// Writes that failed in this life.
    pub failures: u64,
}

/// Shared by the journal's thread and everybody else; locked for moments only.
#[derive(Default)]
pub(super) struct Known {
    last_id: AtomicU64,
    inner: Mutex<Inner>,
}

struct Inner {
    entries: BTreeMap<u64, Kept>,
    calls: HashMap<String, KnownCall>,
    order: VecDeque<String>,
    stand: Stand,
}

impl Default for Inner {
    fn default() -> Self {
        let stand = Stand {
            entries: 0,
            bytes: 0,
            links: 0,
            head: super::chain::BEGINNING,
            waiting: 0,
            waiting_since: None,
            trouble: None,
            damage: None,
            failures: 0,
        };
        Self { entries: BTreeMap::new(), calls: HashMap::new(), order: VecDeque::new(), stand }
    }
}

impl Known {
    pub(super) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// No id up to this one is given any more.
    pub(super) fn given(&self, id: u64) {
        self.last_id.fetch_max(id, Ordering::Relaxed);
    }

    pub(super) fn remember(&self, entry: Entry, durable: bool) {
        let mut inner = self.inner();
        if let Some(call) = &entry.call {
            inner.remember_call(call, Some(entry.id), None);
        }
        // What was attached meanwhile stays.
        let receipt = inner.entries.remove(&entry.id).and_then(|kept| kept.receipt);
        inner.entries.insert(entry.id, Kept { entry, receipt, durable });
        inner.trim();
    }

    /// An entry that was read, with all that is known of it.
    pub(super) fn recall(&self, kept: Kept) {
        let mut inner = self.inner();
        inner.entries.insert(kept.entry.id, kept);
        inner.trim();
    }

    /// The id was taken by another process: it is on the disk under another one.
    pub(super) fn renumbered(&self, from: u64, to: u64) {
        let mut inner = self.inner();
        if let Some(mut kept) = inner.entries.remove(&from) {
            kept.entry.id = to;
            inner.entries.insert(to, kept);
        }
        for call in inner.calls.values_mut().filter(|call| call.entry == Some(from)) {
            call.entry = Some(to);
        }
    }

    pub(super) fn remember_call(&self, call: &Call, entry: Option<u64>, receipt: Option<String>) {
        self.inner().remember_call(call, entry, receipt);
    }

    pub(super) fn attach(&self, entry: u64, receipt: &str) {
        if let Some(kept) = self.inner().entries.get_mut(&entry) {
            kept.receipt = serde_json::from_str(receipt).ok();
        }
    }

    pub(super) fn entry(&self, id: u64) -> Option<Kept> {
        self.inner().entries.get(&id).cloned()
    }

    pub(super) fn call(&self, key: &str) -> Option<KnownCall> {
        self.inner().calls.get(key).cloned()
    }

    /// The newest entries of those that were read and those that are known.
    pub(super) fn newest(&self, read: Vec<Entry>, limit: usize) -> Vec<Entry> {
        let mut all: BTreeMap<u64, Entry> =
            self.inner().entries.values().map(|kept| (kept.entry.id, kept.entry.clone())).collect();
        all.extend(read.into_iter().map(|entry| (entry.id, entry)));
        all.into_values().rev().take(limit).collect()
    }

    pub(super) fn handed_over(&self) {
        let mut inner = self.inner();
        inner.stand.waiting += 1;
        inner.stand.waiting_since.get_or_insert_with(crate::time::rfc3339_now);
    }

    /// Nobody waits for it any more: it is on the disk, or given up.
    pub(super) fn settled(&self) {
        let stand = &mut self.inner().stand;
        stand.waiting = stand.waiting.saturating_sub(1);
        if stand.waiting == 0 {
            stand.waiting_since = None;
        }
    }

    pub(super) fn stand(&self) -> Stand {
        self.inner().stand.clone()
    }

    pub(super) fn change_stand(&self, change: impl FnOnce(&mut Stand)) {
        change(&mut self.inner().stand);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn trim(&mut self) {
        while self.entries.len() > KNOWN_MAX {
            self.entries.pop_first();
        }
    }

    fn remember_call(&mut self, call: &Call, entry: Option<u64>, receipt: Option<String>) {
        let known = KnownCall { request: call.request, entry, receipt };
        if self.calls.insert(call.key.clone(), known).is_none() {
            self.order.push_back(call.key.clone());
        }
        while self.order.len() > CALLS_MAX {
            let oldest = self.order.pop_front();
            oldest.and_then(|key| self.calls.remove(&key));
        }
    }
}
