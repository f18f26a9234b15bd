//! THE POLICY LINE: from bytes at a door to a policy that can be put in front of traffic.
//!
//! `Candidate` -> `Validated` -> `Compiled` -> `Policy` (staged): each stage consumes the one before, so what was not
//! validated cannot be activated. `admit` is the line; `intake` are the doors it starts at.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

pub mod admit;
pub mod intake;
pub mod validate;
pub mod compile;
pub mod stage;
pub mod answer;
pub mod text;
pub mod wasm;

/// What a policy may use while it decides. Part of a release.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// CPU time for one decision; 2 ms to 1 s.
    pub deadline: Duration,
    /// Linear memory of one instance, in bytes; at most 64 MiB.
    pub memory_bytes: usize,
    /// Whether requests share an instance.
    pub isolation: Isolation,
}

/// Whether what a guest keeps in its memory can be seen by the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Each worker keeps one instance and asks it for every request.
    Worker,
    /// Each request gets an instance of its own: slower by what instantiating and configuring costs.
    Request,
}

impl Default for Limits {
    fn default() -> Self {
        // A decision takes a microsecond; 5 ms is what other requests on the same worker would wait for a bad one.
        Self { deadline: Duration::from_millis(5), memory_bytes: 16 * 1024 * 1024, isolation: Isolation::Worker }
    }
}

impl Limits {
    /// CPU time to start and configure one instance. Longer than a decision, as a configuration is parsed, and still
    /// short: a worker whose instance trapped makes the next one itself.
    pub fn configure_deadline(&self) -> Duration {
        self.deadline.max(Duration::from_millis(10)) * 2
    }
}

/// What a policy says of itself once it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// One line for people.
    pub description: String,
    /// The pools it will choose from; a decision names them by position.
    pub pools: Vec<String>,
}

/// A staged policy: linked, configured and probed. Putting it in front of traffic cannot fail any more.
pub struct Policy {
    /// Distinguishes live instances; never reused within a process.
    pub id: PolicyId,
    /// What was staged.
    pub build: Build,
    /// What it said when it was configured.
    pub manifest: Manifest,
    artifact: Arc<wasm::Artifact>,
}

/// Everything that makes one staged policy differ from another. Equal builds are the same policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Build {
    /// The name it has in the folder, the configuration and the API.
    pub name: Arc<str>,
    /// SHA-256 of the bytes that came through the door.
    pub digest: Digest,
    /// The text given to `configure`.
    pub config: String,
    /// The pools it was told it may choose from.
    pub pools: Vec<String>,
    /// What it may use.
    pub limits: Limits,
}

/// Names one staged policy in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId(u64);

impl PolicyId {
    fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl Policy {
    /// A new instance, configured. It can be sent to another thread.
    ///
    /// # Errors
    /// The fault that ended it; rare, as the same steps went well when the policy was staged.
    pub fn instance(&self) -> Result<wasm::Instance, Fault> {
        let Build { name, config, pools, limits, .. } = &self.build;
        let (instance, manifest) = wasm::Instance::new(&self.artifact, name, limits, config, pools)?;
        if manifest != self.manifest {
            return Err(Fault::Fickle);
        }
        Ok(instance)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Policy({} {})", self.build.name, self.build.digest.short())
    }
}

/// What ended a call into a policy, or was wrong with its answer. The policy's fault, but for [`Fault::NoRoom`].
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// It used up its time.
    #[error("overran its deadline of {}", humantime::format_duration(*deadline))]
    Overran {
        /// The CPU time it was granted.
        deadline: Duration,
    },
    /// It asked for more memory than it may have, and gave up.
    #[error("ran out of memory: wanted {wanted_bytes} bytes ({reason})")]
    Memory {
        /// The size its memory would have grown to.
        wanted_bytes: usize,
        /// The trap that followed.
        reason: String,
    },
    /// It called itself too deep.
    #[error("overflowed its stack")]
    StackOverflow,
    /// It trapped for any other reason; a panic in Rust ends so.
    #[error("trapped: {reason}")]
    Trapped {
        /// What wasmtime says.
        reason: String,
        /// The guest's functions, innermost first.
        backtrace: Vec<String>,
    },
    /// Its `configure` answered with an error: its own words.
    #[error("refused its configuration: {0}")]
    Refused(String),
    /// It answered `configure` differently than when it was staged.
    #[error("described itself differently than when it was staged")]
    Fickle,
    /// It failed so often that it is left alone for a while.
    #[error("is left alone for a while, as it failed so often")]
    Resting,
    /// The host has no room for another instance. Not the policy's fault.
    #[error("cannot be instantiated: the host keeps too many policies already")]
    NoRoom,
    /// The answer is not one a policy may give.
    #[error(transparent)]
    Answer(#[from] answer::Nonsense),
}
