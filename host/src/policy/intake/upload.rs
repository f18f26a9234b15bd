//! A policy that came through the control API.

use bytes::Bytes;

use crate::causes::with_causes;
use crate::policy::admit::{Rejection, admit};
use crate::policy::text;
use crate::policy::validate::{Candidate, Invalid};
use crate::switch::canary::Trial;
use crate::switch::change::Change;
use crate::switch::receipt::{Origin, Receipt};
use crate::switch::{Refusal, Switch};

/// Admits a policy's bytes and makes a release with it. `config` replaces the text it is configured with.
///
/// # Errors
/// Why nothing changed; journalled.
pub async fn upload(
    switch: &Switch,
    name: String,
    bytes: Bytes,
    config: Option<String>,
    trial: Option<&Trial>,
    origin: &Origin,
) -> Result<Receipt, Refusal> {
    match admit(Candidate { name: name.clone(), bytes }, &switch.compiler, &switch.store).await {
        Ok(compiled) => {
            let digest = compiled.digest;
            switch.admitted(compiled);
            let change = Change::Build { name, digest, config };
            match trial {
                Some(trial) => switch.try_out(change, trial, origin).await,
                None => switch.activate(change, origin, Vec::new()).await,
            }
        }
        Err(rejection) => {
            let refusal = Refusal::of_policy(&name, rejection);
            switch.refuse(origin, &with_causes(&refusal));
            Err(refusal)
        }
    }
}

impl Refusal {
    /// A policy that was not read to its end.
    pub(crate) fn too_large(name: &str) -> Self {
        Self::of_policy(name, Invalid::TooLarge.into())
    }

    fn of_policy(name: &str, rejection: Rejection) -> Self {
        Self::Policy { policy: text::printable(name).into_owned(), rejection }
    }
}
