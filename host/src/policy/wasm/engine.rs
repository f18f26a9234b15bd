//! The engine's settings: what guests may use, and what is switched off.
//!
//! The child that compiles and the host that runs build the same engine; wasmtime refuses an artifact whose settings
//! differ. What the contract does not need is off: each feature is compiler code that a stranger's bytes could reach,
//! and component async alone costs four times the price of a call.

use std::thread;
use std::time::Duration;

use wasmtime::{Config, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use super::limits::MEMORY_BYTES_MAX;

/// One tick of the epoch: the resolution of a policy's deadline.
pub const TICK: Duration = Duration::from_millis(1);

/// Live instances the host can hold at once: policies kept x workers, and then plenty. Address space, not memory.
const INSTANCES_MAX: u32 = 512;

/// A wasmtime engine with the settings every policy is compiled for and runs under.
#[derive(Clone)]
pub struct Engine(wasmtime::Engine);

impl Engine {
    /// An engine that runs policies.
    ///
    /// Falls back to the slower on-demand allocator where the address space that pooling reserves is not to be had
    /// (`ulimit -v`, strict overcommit).
    ///
    /// # Errors
    /// When this machine cannot run the compiled code of any policy.
    pub fn new() -> wasmtime::Result<Self> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(INSTANCES_MAX)
            .total_core_instances(INSTANCES_MAX * 4)
            .total_memories(INSTANCES_MAX)
            .total_tables(INSTANCES_MAX * 2)
            .max_memories_per_component(2)
            .max_tables_per_component(4)
            .max_core_instances_per_component(8)
            .table_elements(20_000)
            .max_memory_size(MEMORY_BYTES_MAX)
            .linear_memory_keep_resident(256 * 1024)
            .table_keep_resident(64 * 1024);
        let mut config = settings();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = wasmtime::Engine::new(&config).or_else(|error| {
            tracing::warn!(%error, "no room for pooled instances; policies are instantiated on demand, which is slower");
            wasmtime::Engine::new(&settings())
        })?;
        Ok(Self(engine))
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
            .spawn(move || {
                while let Some(engine) = engine.upgrade() {
                    engine.increment_epoch();
                    drop(engine);
                    thread::sleep(TICK);
                }
            })
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
