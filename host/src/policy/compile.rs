//! Compiling away from the host: a child process of our own binary, with limits, whose only way back is its output.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::text;
use super::validate::Validated;
use super::wasm::artifact::LinkError;
use super::wasm::compiler::REFUSED;
use super::wasm::{Artifact, Engine};
use crate::digest::Digest;
use crate::store::Store;

/// The first argument that makes our binary the compiling child.
pub const CHILD_COMMAND: &str = "compile-policy";

/// Wall-clock time for one policy; its CPU time has a limit of its own. Long, as the child runs at the lowest priority.
const PATIENCE: Duration = Duration::from_secs(180);

/// The exit code of a Rust program that panicked.
const PANICKED: i32 = 101;

/// Native code of one policy. Some ten times its WebAssembly is normal for small guests.
const CODE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// A policy in native code: known to be of our world, never run yet.
#[derive(Clone)]
pub struct Compiled {
    /// The policy's name.
    pub name: Arc<str>,
    /// SHA-256 of the bytes it was compiled from.
    pub digest: Digest,
    /// The code.
    pub artifact: Arc<Artifact>,
}

/// Why there is no native code.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The child looked, and says no: its words.
    #[error("{0}")]
    Refused(String),
    /// A bug of the compiler that this policy brought to light.
    #[error("makes the compiler panic")]
    Panicked,
    /// The child was ended by one of its limits.
    #[error("could not be compiled within its limits ({0})")]
    Ended(ExitStatus),
    /// The child was still at it.
    #[error("took longer than {} to compile", humantime::format_duration(PATIENCE))]
    TookTooLong,
    /// The code is larger than we keep.
    #[error("compiles to more than {CODE_BYTES_MAX} bytes")]
    TooLarge,
    /// What it imports or exports is not the contract.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Our own side: the child could not be started, or its pipes broke.
    #[error("the compiling process could not be used")]
    Child(#[from] std::io::Error),
}

/// Compiles policies, each once: the code is kept in the store's cache.
#[derive(Clone)]
pub struct Compiler {
    engine: Engine,
    /// Our own binary.
    program: PathBuf,
    store: Store,
    children: Arc<Semaphore>,
    loaded: Arc<Mutex<Loaded>>,
}

/// What is loaded, as long as some policy has it: releases differ more often in what a policy is told than in its code.
type Loaded = HashMap<Digest, Weak<Artifact>>;

impl Compiler {
    /// A compiler that starts `program` (our own binary) and keeps what it gets in `store`.
    pub fn new(engine: Engine, program: PathBuf, store: Store) -> Self {
        Self { engine, program, store, children: Arc::new(Semaphore::new(1)), loaded: Arc::default() }
    }

    /// Compiles, or takes from the cache what was compiled before.
    ///
    /// # Errors
    /// Why there is no code; only [`CompileError::Child`] is not the policy's fault.
    pub async fn compile(&self, policy: Validated) -> Result<Compiled, CompileError> {
        let Validated { name, digest, bytes } = policy;
        let compiler = self.clone();
        let cached = blocking(move || compiler.cached(digest)).await;
        let artifact = match cached {
            Some(artifact) => artifact,
            None => {
                let code = self.ask_child(bytes).await?;
                let compiler = self.clone();
                blocking(move || compiler.take_in(digest, &code)).await?
            }
        };
        Ok(Compiled { name, digest, artifact })
    }

    fn cached(&self, digest: Digest) -> Option<Arc<Artifact>> {
        if let Some(artifact) = self.loaded().get(&digest).and_then(Weak::upgrade) {
            return Some(artifact);
        }
        let code = self.store.cached_code(digest, &self.engine.fingerprint())?;
        // A cache is only a cache: what cannot be loaded is made again.
        let loaded = Artifact::load(&self.engine, &code);
        let loaded =
            loaded.inspect_err(|error| tracing::warn!(%digest, %error, "compiled code in the cache is of no use"));
        Some(self.share(digest, loaded.ok()?))
    }

    fn take_in(&self, digest: Digest, code: &[u8]) -> Result<Arc<Artifact>, CompileError> {
        let artifact = Artifact::load(&self.engine, code)?;
        self.store.cache_code(digest, &self.engine.fingerprint(), code);
        Ok(self.share(digest, artifact))
    }

    /// Two may have loaded it at a time: the first is shared.
    fn share(&self, digest: Digest, artifact: Artifact) -> Arc<Artifact> {
        let mut loaded = self.loaded();
        loaded.retain(|_, artifact| artifact.strong_count() > 0);
        let known = loaded.get(&digest).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let artifact = Arc::new(artifact);
            loaded.insert(digest, Arc::downgrade(&artifact));
            artifact
        })
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask_child(&self, bytes: Bytes) -> Result<Vec<u8>, CompileError> {
        // Each child may take gigabytes of memory.
        let _turn = self.children.acquire().await.expect("the semaphore is never closed");
        let mut child = Command::new(&self.program)
            .arg(CHILD_COMMAND)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let mut stdout = child.stdout.take().expect("stdout is piped").take(CODE_BYTES_MAX + 1);

        let mut code = Vec::new();
        let talk = async {
            // A child that refuses early closes its end; what it says is worth more than that error.
            let _ = stdin.write_all(&bytes).await;
            drop(stdin);
            stdout.read_to_end(&mut code).await?;
            child.wait().await
        };
        let status = tokio::time::timeout(PATIENCE, talk).await.map_err(|_| CompileError::TookTooLong)??;
        if code.len() as u64 > CODE_BYTES_MAX {
            return Err(CompileError::TooLarge);
        }
        match status.code() {
            Some(0) => Ok(code),
            Some(refused) if refused == i32::from(REFUSED) => {
                Err(CompileError::Refused(text::printable(&String::from_utf8_lossy(&code)).into_owned()))
            }
            Some(PANICKED) => Err(CompileError::Panicked),
            _ => Err(CompileError::Ended(status)),
        }
    }
}

/// Runs what waits for a disk, or computes for long, where nobody waits for the thread.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("the work does not panic")
}
