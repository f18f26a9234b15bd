//! The policy line in one function: what every door calls with the bytes it was given.

use std::sync::Arc;

use super::compile::{CompileError, Compiled, Compiler, blocking};
use super::stage::{StageError, stage};
use super::validate::{Candidate, Invalid, Validated, validate};
use super::{Build, Fault, Policy};
use crate::store::{Store, StoreError};

/// Why a candidate did not become a policy. The reason is the policy's, unless [`Rejection::Store`] says it is ours.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// A first look was enough.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It could not be compiled and linked.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It was not fit for traffic.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// Our own side: its bytes could not be kept.
    #[error("could not be kept")]
    Store(#[from] StoreError),
}

impl Rejection {
    /// Whether it says nothing about the policy: the host could not look, for now.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Store(_) | Self::Compile(CompileError::Child(_)) => true,
            Self::Stage(StageError::Configure(fault) | StageError::Probe { fault, .. }) => {
                matches!(fault, Fault::NoRoom)
            }
            Self::Invalid(_) | Self::Compile(_) | Self::Stage(_) => false,
        }
    }
}

/// Takes a candidate up to the point where it can be staged for a release.
///
/// Everything slow is done here, away from the switch; its bytes are kept, so that a release which names them can be
/// made again after a restart.
///
/// # Errors
/// Why it is rejected.
pub async fn admit(candidate: Candidate, compiler: &Compiler, store: &Store) -> Result<Compiled, Rejection> {
    let validated = blocking(|| validate(candidate)).await?;
    let bytes = validated.bytes.clone();
    let compiled = compiler.compile(validated).await?;
    let (store, digest) = (store.clone(), compiled.digest);
    blocking(move || store.keep_blob(digest, &bytes)).await?;
    Ok(compiled)
}

/// Brings back a policy whose bytes were kept.
///
/// # Errors
/// Why it is rejected; a policy that was admitted once is only rejected when the store lost something.
pub async fn readmit(
    name: Arc<str>,
    digest: crate::digest::Digest,
    compiler: &Compiler,
    store: &Store,
) -> Result<Compiled, Rejection> {
    let store = store.clone();
    let bytes = blocking(move || store.blob(digest)).await?;
    Ok(compiler.compile(Validated { name, digest, bytes }).await?)
}

/// Stages on a thread where guest code may take its time.
///
/// # Errors
/// Why it is rejected.
pub async fn stage_build(compiled: Compiled, build: Build) -> Result<Arc<Policy>, Rejection> {
    let staged = blocking(move || stage(&compiled, &build.config, &build.pools, &build.limits)).await?;
    Ok(Arc::new(staged))
}
