//! Lookups whose answers come with the call: a policy mostly asks every request the same, and each question that it need not
//! ask saves the way into the host and back.
//!
//! Which they are is not declared but seen: the first two lookups of a decision. An instance that decides only once has
//! nothing of it, so the first decision does not count.

use std::cell::{Cell, RefCell};

use super::bindings::switchback::policy::brief::{self, Attribute, Found};

/// How many answers come with a call.
const TOLD: usize = 2;

/// Bytes of a name that may be expected.
const NAME_BYTES_MAX: usize = 256;

thread_local! {
    static EXPECTED: RefCell<Vec<(Attribute, String)>> = const { RefCell::new(Vec::new()) };
    static IS_FIRST: Cell<bool> = const { Cell::new(true) };
}

/// What came with a call.
#[derive(Default)]
pub(super) struct Told {
    found: [Option<Found>; TOLD],
    /// Whether lookups of this call may be expected in the next.
    learns: bool,
}

impl Told {
    /// A call begins.
    pub(super) fn begin(found: [Found; TOLD]) -> Self {
        let expected = EXPECTED.with_borrow(Vec::len);
        let mut at = 0..TOLD;
        let found = found.map(|found| at.next().filter(|at| *at < expected).map(|_| found));
        Self { found, learns: expected < TOLD && !IS_FIRST.replace(false) }
    }

    /// What was told, or what the host finds now.
    pub(super) fn look_up(&self, attribute: Attribute, name: &str) -> Found {
        let at = EXPECTED.with_borrow(|all| all.iter().position(|it| it.0 == attribute && it.1 == name));
        match at {
            Some(at) => self.found[at].unwrap_or_else(|| brief::look_up(attribute, name)),
            None => {
                if self.learns {
                    expect(attribute, name);
                }
                brief::look_up(attribute, name)
            }
        }
    }
}

/// Has it come with the next call, if there is a place left.
fn expect(attribute: Attribute, name: &str) {
    EXPECTED.with_borrow_mut(|all| {
        if all.len() < TOLD && name.len() <= NAME_BYTES_MAX {
            all.push((attribute, name.to_owned()));
            brief::expect(attribute, name);
        }
    });
}
