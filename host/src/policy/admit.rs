//! The policy line in one function: what every door calls with the bytes it was given.

use std::sync::Arc;

use super::compile::{CompileError, Compiled, Compiler};
use super::stage::{StageError, stage};
use super::validate::{Candidate, Invalid, Validated, validate};
use super::{Build, Policy};
use crate::store::Store;

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
    #[error("its bytes could not be kept: {0}")]
    Store(String),
}

/// Takes a candidate up to the point where it can be staged for a release.
///
/// Everything slow is done here, away from the switch; its bytes are kept, so that a release which names them can be
/// made again after a restart.
///
/// # Errors
/// Why it is rejected.
pub async fn admit(candidate: Candidate, compiler: &Compiler, store: &Store) -> Result<Compiled, Rejection> {
    let validated = validate(candidate)?;
    let bytes = validated.bytes.clone();
    let compiled = compiler.compile(validated).await?;
    store.keep_blob(compiled.digest, &bytes).map_err(|error| Rejection::Store(error.to_string()))?;
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
    let bytes = store.blob(digest).map_err(|error| Rejection::Store(error.to_string()))?;
    Ok(compiler.compile(Validated { name, digest, bytes }).await?)
}

/// Stages on a thread where guest code may take its time.
///
/// # Errors
/// Why it is rejected.
pub async fn stage_build(compiled: Compiled, build: Build) -> Result<Arc<Policy>, Rejection> {
    let staged = tokio::task::spawn_blocking(move || stage(&compiled, &build.config, &build.pools, &build.limits))
        .await
        .expect("staging does not panic");
    Ok(Arc::new(staged?))
}
