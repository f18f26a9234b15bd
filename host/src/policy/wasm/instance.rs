//! A live policy: one instance in its own memory, asked by one thread at a time.
//!
//! Created and configured away from the traffic, then handed to a worker, which asks it for every request. After any
//! fault the instance is spent: its memory may hold half of something.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;

use super::artifact::{Artifact, Exports};
use super::contract::{self, Guest};
use super::limits::Meter;
use super::ticker::{self, Call};
use crate::policy::answer::{self, Answer};
use crate::policy::{Fault, Limits, Manifest, text};
use crate::proxy::head::Head;

/// Bytes a guest may hand to the host in one call or answer; what is above it traps inside wasmtime.
const HOSTCALL_BYTES_MAX: usize = 256 * 1024;

/// What one decision depends on beside the request.
#[derive(Clone, Default)]
pub struct Inputs {
    /// When the decision began, nanoseconds since 1970 UTC.
    pub now_nanos: u64,
    /// Where the decision's random sequence starts.
    pub seed: u64,
    /// How busy the pools are; `None` while a policy is configured.
    pub loads: Option<Arc<dyn Loads>>,
}

/// Answers how busy a policy's pools are at the moment it asks.
pub trait Loads: Send + Sync {
    /// Members of, and requests in flight to, the pool at this position of the manifest; zero for one that is not there.
    fn of(&self, pool: u32) -> (u32, u32);
}

/// What a guest was told and wrote before it failed, beside the request.
#[derive(Clone, Debug, Default)]
pub struct LastWords {
    /// How busy pools were when it asked.
    pub loads: Vec<LoadTold>,
    /// What it wrote to the log, made safe to show.
    pub log: Vec<String>,
}

/// An answer to how busy a pool is.
#[derive(Clone, Copy, Debug)]
pub struct LoadTold {
    /// Its position in the manifest.
    pub pool: u32,
    /// Members it had.
    pub members: u32,
    /// Requests in flight to them.
    pub in_flight: u32,
}

/// One instance of a policy, configured and ready to be asked.
pub struct Instance {
    store: Store<Guest>,
    exports: Exports,
    deadline: Duration,
    /// How many its manifest names.
    pools: usize,
}

impl Instance {
    /// Instantiates `artifact` and asks it to configure itself.
    ///
    /// # Errors
    /// The fault that ended it, or the guest's own reason for refusing the configuration.
    pub fn new(
        artifact: &Artifact,
        policy: &str,
        limits: &Limits,
        config: &str,
        pools: &[String],
    ) -> Result<(Self, Manifest), Fault> {
        let mut store = Store::new(artifact.engine(), Guest::new(policy, Meter::new(limits)));
        store.limiter(|guest| &mut guest.meter);
        store.epoch_deadline_callback(|mut context| context.data_mut().meter.overdue());
        store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);

        ticker::look_within(limits.deadline);
        let _call = Call::begin();
        // Before instantiation: a component's start function is guest code too.
        let ticks = store.data_mut().meter.start(limits.configure_deadline());
        store.set_epoch_deadline(ticks);
        store.data_mut().begin(None, Inputs { now_nanos: crate::time::wall_nanos(), ..Inputs::default() });
        let exports =
            artifact.instantiate(&mut store).map_err(|error| fault(&error, &store, limits.configure_deadline()))?;
        let manifest = exports
            .configure(&mut store, config, pools)
            .map_err(|error| fault(&error, &store, limits.configure_deadline()))?
            .map_err(|reason| Fault::Refused(text::printable(&reason).into_owned()))?;
        let manifest =
            Manifest { description: text::printable(&manifest.description).into_owned(), pools: manifest.pools };
        Ok((Self { store, exports, deadline: limits.deadline, pools: manifest.pools.len() }, manifest))
    }

    /// Asks for one decision. The head is lent to the guest and comes back, whatever happens.
    ///
    /// # Errors
    /// The fault that ended the call, or what was wrong with its answer. The instance must not be asked again.
    pub fn decide(&mut self, head: Box<Head>, inputs: Inputs) -> (Box<Head>, Result<Answer, Fault>) {
        let guest = self.store.data_mut();
        guest.begin(Some(head), inputs);
        let ticks = guest.meter.start(self.deadline);
        self.store.set_epoch_deadline(ticks);
        let call = Call::begin();
        let decision = self.exports.decide(&mut self.store);
        drop(call);
        let head = self.store.data_mut().head.take().expect("the head stays with the guest for the whole call");
        let answer = match decision {
            Ok(contract::Decision::Route(route)) => answer::route(route, self.store.data().timeouts, self.pools),
            Ok(contract::Decision::Respond(response)) => answer::response(response),
            Err(error) => Err(fault(&error, &self.store, self.deadline)),
        };
        (head, answer)
    }

    /// What the guest was told and wrote in its last call.
    pub fn last_words(&self) -> LastWords {
        self.store.data().last_words()
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instance({})", self.store.data().policy)
    }
}

/// Says in our words why a call ended.
fn fault(error: &wasmtime::Error, store: &Store<Guest>, deadline: Duration) -> Fault {
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return Fault::NoRoom;
    }
    let meter = &store.data().meter;
    if meter.overran() {
        return Fault::Overran { deadline };
    }
    let reason = match error.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::StackOverflow) => return Fault::StackOverflow,
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    match meter.denied_bytes() {
        Some(wanted_bytes) => Fault::Memory { wanted_bytes, reason },
        None => Fault::Trapped { reason: text::printable(&reason).into_owned(), backtrace: backtrace(error) },
    }
}

fn backtrace(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<wasmtime::WasmBacktrace>() else { return Vec::new() };
    backtrace
        .frames()
        .iter()
        .filter_map(|frame| frame.func_name().map(|name| text::printable(name).into_owned()))
        .collect()
}
