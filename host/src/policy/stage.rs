//! Turns a compiled policy into one that is safe to put in front of traffic.
//!
//! The step between compiling and activating: configures an instance under the limits it will live with and asks it
//! every probe request. What comes out can be activated without any further failure. Nothing here knows about vips; the
//! same staged policy can serve several.

use super::compile::Compiled;
use super::wasm::{Inputs, Instance};
use super::{Build, Fault, Limits, Policy, PolicyId};
use crate::proxy::head::Head;

/// Why a compiled policy was not staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// It did not get through its configuration.
    #[error("{0}")]
    Configure(#[source] Fault),
    /// It will choose from a pool that is not there.
    #[error("wants pool `{pool}`, which is not one of: {}", .known.join(", "))]
    UnknownPool {
        /// The pool its manifest names.
        pool: String,
        /// The pools it was given.
        known: Vec<String>,
    },
    /// It did not answer a probe.
    #[error("asked `{probe}`, it {fault}")]
    Probe {
        /// Method and target of the probe.
        probe: String,
        /// What happened.
        #[source]
        fault: Fault,
    },
}

/// Configures and probes a policy.
///
/// Runs guest code: call it where waiting for some deadlines is no harm.
///
/// # Errors
/// What it did not get through.
pub fn stage(compiled: &Compiled, config: &str, pools: &[String], limits: &Limits) -> Result<Policy, StageError> {
    let Compiled { name, digest, artifact } = compiled;
    let (mut instance, manifest) =
        Instance::new(artifact, name, limits, config, pools).map_err(StageError::Configure)?;
    if let Some(pool) = manifest.pools.iter().find(|pool| !pools.contains(pool)) {
        let pool = super::text::printable(pool).into_owned();
        return Err(StageError::UnknownPool { pool, known: pools.to_vec() });
    }
    for (number, head) in probes().into_iter().enumerate() {
        let probe = format!("{} {}", head.method(), head.path());
        let inputs = Inputs { now_nanos: crate::time::wall_nanos(), seed: number as u64, ..Inputs::default() };
        let (_, answer) = instance.decide(Box::new(head), inputs);
        answer.map_err(|fault| StageError::Probe { probe, fault })?;
    }
    let build = Build {
        name: name.clone(),
        digest: *digest,
        config: config.to_owned(),
        pools: pools.to_vec(),
        limits: limits.clone(),
    };
    Ok(Policy { id: PolicyId::next(), build, manifest, artifact: artifact.clone() })
}

/// Requests that any client might send, chosen for what policies get wrong: no cookie, an odd one, an empty value, bytes
/// that are no text, a long path, no path.
fn probes() -> Vec<Head> {
    vec![
        Head::probe("GET", "/", &[]),
        Head::probe("GET", "/a/b%20c?x=1&x=2&empty=&%ff", &[("user-agent", b"switchback-probe"), ("accept", b"*/*")]),
        Head::probe("POST", "/", &[("cookie", b"uid=; a=b; =; uid=2"), ("content-type", b"application/json")]),
        Head::probe("OPTIONS", "/x", &[("x-group", b"\xff\xfe"), ("cookie", b"\x80"), ("authorization", b"")]),
    ]
}
