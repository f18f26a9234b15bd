//! The proxy as a policy under test sees it: what the contract's interface `host` answers, natively.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

pub(crate) use super::facts::Facts as Request;
use crate::Load;
use crate::log::Level;

/// What a policy is told when it asks, and what it said.
#[derive(Default)]
pub(crate) struct Inputs {
    pub(crate) now: Cell<Duration>,
    pub(crate) seed: Cell<u64>,
    /// By position in the manifest.
    pub(crate) loads: RefCell<HashMap<u32, Load>>,
    pub(crate) log: RefCell<Vec<(Level, String)>>,
}

impl Inputs {
    /// Calls a policy, and answers its questions from here meanwhile.
    pub(crate) fn during<T>(self: &Rc<Self>, call: impl FnOnce() -> T) -> T {
        CURRENT.set(Some(Rc::clone(self)));
        let answer = call();
        CURRENT.set(None);
        answer
    }
}

pub(crate) fn log(level: Level, message: &str) {
    current().log.borrow_mut().push((level, message.to_owned()));
}

pub(crate) fn now() -> u64 {
    current().now.get().as_nanos() as u64
}

/// SplitMix64: the shortest sequence that no test can tell from chance.
pub(crate) fn random() -> u64 {
    let inputs = current();
    let state = inputs.seed.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    inputs.seed.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

pub(crate) fn pool_load(pool: u32) -> Load {
    current().loads.borrow().get(&pool).copied().unwrap_or_default()
}

fn current() -> Rc<Inputs> {
    CURRENT.with_borrow(Clone::clone).expect("outside a policy nobody answers: ask through `test::configure`")
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Inputs>>> = const { RefCell::new(None) };
}
