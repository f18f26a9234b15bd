//! The engine's settings: what guests may use, and what is switched off.
//!
//! The child that compiles and the host that runs build the same engine; wasmtime refuses an artifact whose settings
//! differ. What the contract does not need is off: each feature is compiler code that a stranger's bytes could reach,
//! and component async alone costs four times the price of a call.

use std::thread;

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use super::limits::{CORE_INSTANCES_MAX, MEMORIES_MAX, MEMORY_BYTES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};
use super::ticker;

/// Instances that one worker can hold: distinct policies of the releases that are kept ready. Address space, not memory.
const INSTANCES_PER_WORKER: u32 = 64;

/// Instances there is room for at least: 4 TiB of address space, of the 128 that a process has.
const INSTANCES_MIN: u32 = 1024;

/// Rooms whose instance is gone and that keep some of its memory, up to 320 KiB each, for the next one. A switch needs one
/// for each worker and policy that it brings, and `isolation = "request"` one for each worker; what is beyond is made anew.
const WARM_SLOTS_MAX: u32 = 16;

/// A wasmtime engine with the settings every policy is compiled for and runs under.
#[derive(Clone)]
pub struct Engine(wasmtime::Engine);

impl Engine {
    /// An engine that runs policies on this many workers.
    ///
    /// # Errors
    /// When this machine cannot run the compiled code of any policy.
    pub fn new(workers: usize) -> wasmtime::Result<Self> {
        Self::with_room_for(Self::room(workers))
    }

    /// An engine that has room for this many instances.
    ///
    /// Falls back to the slower on-demand allocator where the address space that pooling reserves is not to be had
    /// (`ulimit -v`, strict overcommit).
    ///
    /// # Errors
    /// When this machine cannot run the compiled code of any policy.
    pub fn with_room_for(instances: u32) -> wasmtime::Result<Self> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(instances)
            .total_core_instances(instances * 4)
            .total_memories(instances)
            .total_tables(instances * 2)
            .max_memories_per_component(MEMORIES_MAX as u32)
            .max_tables_per_component(TABLES_MAX as u32)
            .max_core_instances_per_component(CORE_INSTANCES_MAX as u32)
            .table_elements(TABLE_ELEMENTS_MAX)
            .max_memory_size(MEMORY_BYTES_MAX)
            .max_unused_warm_slots(WARM_SLOTS_MAX)
            .linear_memory_keep_resident(256 * 1024)
            .table_keep_resident(64 * 1024)
            // Puts back only the pages that were written, where the kernel tells which (Linux 6.7): without it all that is
            // kept resident is copied, for each instance.
            .pagemap_scan(Enabled::Auto);
        let mut config = settings();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = wasmtime::Engine::new(&config).or_else(|error| {
            tracing::warn!(%error, "no room for pooled instances; policies are instantiated on demand, which is slower");
            wasmtime::Engine::new(&settings())
        })?;
        Ok(Self(engine))
    }

    /// How many instances there can be at a time.
    pub fn room(workers: usize) -> u32 {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX);
        workers.saturating_mul(INSTANCES_PER_WORKER).max(INSTANCES_MIN)
    }

    /// An engine that only compiles.
    pub(super) fn for_compiling() -> wasmtime::Result<Self> {
        Ok(Self(wasmtime::Engine::new(&settings())?))
    }

    pub(super) fn inner(&self) -> &wasmtime::Engine {
        &self.0
    }

    /// Names the engine's version and settings: an artifact of another fingerprint cannot be loaded here.
    pub fn fingerprint(&self) -> String {
        use std::hash::{Hash, Hasher};
        // Only a file name depends on it: wasmtime itself checks what it loads.
        #[allow(deprecated, reason = "the one hasher in std whose output does not change between runs")]
        let mut hasher = std::hash::SipHasher::new();
        self.0.precompile_compatibility_hash().hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    /// Starts the thread that advances the epoch, by which a policy that overruns is cut. It ends with the last engine.
    ///
    /// A thread of its own and not a task: a guest that hogs the runtime's threads must not stop its own clock.
    pub fn tick(&self) {
        let engine = self.0.weak();
        thread::Builder::new()
            .name("epoch".into())
            .spawn(move || ticker::run(&engine))
            .expect("a thread can be started while the host starts");
    }
}

fn settings() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false)
        .max_wasm_stack(512 * 1024)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16));
    config
}
