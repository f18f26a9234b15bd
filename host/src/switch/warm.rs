//! Getting releases ready: staged policies, and an instance of each on every worker.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{KEPT_READY, Refusal, Switch};
use crate::policy::admit::{Rejection, readmit, stage_build};
use crate::policy::wasm::Inputs;
use crate::policy::{Build, Policy, PolicyId};
use crate::proxy::worker::Order;
use crate::release::{Policies, Release};
use crate::spec::Spec;

impl Switch {
    /// Stages every policy of a release. One that is staged already, for another release, is taken as it is: its
    /// instances are warm.
    pub(super) async fn stage(&self, spec: &Spec) -> Result<Policies, Refusal> {
        let known: Vec<Arc<Policy>> =
            self.state().ready.values().flat_map(|release| release.policies.values().cloned()).collect();
        let pools: Vec<String> = spec.pools.keys().cloned().collect();
        let mut staged = Policies::new();
        for (name, policy) in &spec.policies {
            let Some(digest) = policy.digest else { continue };
            let name: Arc<str> = name.as_str().into();
            let build = Build {
                name: name.clone(),
                digest,
                config: policy.config.clone(),
                pools: pools.clone(),
                limits: policy.limits.clone(),
            };
            let same = known.iter().find(|known| known.build == build).cloned();
            let policy = match same {
                Some(policy) => policy,
                None => self
                    .stage_new(build)
                    .await
                    .map_err(|rejection| Refusal::Policy { policy: name.to_string(), rejection })?,
            };
            staged.insert(name, policy);
        }
        Ok(staged)
    }

    async fn stage_new(&self, build: Build) -> Result<Arc<Policy>, Rejection> {
        let compiled = self.state().compiled.get(&build.digest).cloned();
        let compiled = match compiled {
            Some(compiled) => compiled,
            None => {
                let compiled = readmit(build.name.clone(), build.digest, &self.compiler, &self.store).await?;
                self.admitted(compiled.clone());
                compiled
            }
        };
        // The same bytes may be known under another name.
        let compiled = crate::policy::compile::Compiled { name: build.name.clone(), ..compiled };
        stage_build(compiled, build).await
    }

    /// Puts an instance of each policy that `release` needs on every worker, beside those of all ready releases.
    ///
    /// Instances are made here, on a thread where a guest may take its time, and handed over: a worker does nothing for
    /// a switch but store them.
    pub(super) async fn warm(&self, release: &Arc<Release>) {
        let (warm, mut live): (BTreeSet<PolicyId>, Vec<PolicyId>) = {
            let state = self.state();
            let live: BTreeSet<_> = state.ready.values().flat_map(|release| release.live_ids()).collect();
            (live.clone(), live.into_iter().collect())
        };
        live.extend(release.live_ids());
        let cold: Vec<Arc<Policy>> = release.live().filter(|policy| !warm.contains(&policy.id)).cloned().collect();
        self.hand_over(cold, live).await;
    }

    async fn hand_over(&self, cold: Vec<Arc<Policy>>, live: Vec<PolicyId>) {
        let workers = self.ground.workers;
        let made = tokio::task::spawn_blocking(move || {
            let instances = |policy: &Arc<Policy>| match policy.instance(Inputs::default()) {
                Ok(instance) => Some((policy.id, instance)),
                // The worker will try again, and the ladder stands behind it.
                Err(fault) => {
                    tracing::warn!(policy = &*policy.build.name, %fault, "an instance could not be made ahead");
                    None
                }
            };
            (0..workers).map(|_| cold.iter().filter_map(instances).collect()).collect::<Vec<Vec<_>>>()
        });
        let made = made.await.expect("making instances does not panic");
        let warmed: Vec<_> = self
            .workers()
            .iter()
            .zip(made)
            .map(|(worker, made)| {
                let (done, warmed) = oneshot::channel();
                worker.order(Order::Warm { made, live: live.clone(), done });
                warmed
            })
            .collect();
        for warmed in warmed {
            let _ = warmed.await;
        }
    }

    /// Makes a release of the trail ready. The caller holds the turn.
    pub(super) async fn make_ready(&self, number: u64) -> Result<(), Refusal> {
        if self.state().ready.contains_key(&number) {
            return Ok(());
        }
        let spec = self.journal.release(number).await?.ok_or(Refusal::NoSuchRelease(number))?;
        let policies = self.stage(&spec).await?;
        let before = self.trail().before(number);
        let previous =
            before.and_then(|before| self.state().ready.get(&before).map(|release| release.policies.clone()));
        let release = Release::new(number, spec.into(), policies, &previous.unwrap_or_default(), &self.ground);
        let release = Arc::new(release.map_err(super::change::ChangeError::from)?);
        self.warm(&release).await;
        self.state().ready.insert(number, release);
        Ok(())
    }

    /// After a switch: makes ready what is within reach, lets go of what is not. The caller holds the turn.
    pub(super) async fn tend(&self) {
        let reach: Vec<u64> = self.trail().around(KEPT_READY).to_vec();
        for number in &reach {
            if let Err(refusal) = self.make_ready(*number).await {
                tracing::warn!(release = number, %refusal, "a release on the trail cannot be made ready");
            }
        }
        let dropped = {
            let mut state = self.state();
            let before = state.ready.len();
            // What is on the trail's reach now, not when we began: somebody may have gone back meanwhile.
            let trail = state.trail.clone();
            state.ready.retain(|number, _| reach.contains(number) || trail.around(KEPT_READY).contains(number));
            let used: BTreeSet<_> =
                state.ready.values().flat_map(|release| release.live().map(|policy| policy.build.digest)).collect();
            state.compiled.retain(|digest, _| used.contains(digest));
            before != state.ready.len()
        };
        if dropped {
            let live = self.state().ready.values().flat_map(|release| release.live_ids()).collect();
            self.hand_over(Vec::new(), live).await;
            self.forget_unused().await;
        }
    }

    /// Removes from the state folder what no kept release names.
    async fn forget_unused(&self) {
        match self.journal.prune(self.trail()).await {
            Ok(needed) => {
                let store = self.store.clone();
                let pruned = tokio::task::spawn_blocking(move || store.keep_only(&needed.into_iter().collect()));
                let _ = pruned.await;
            }
            Err(error) => tracing::warn!(%error, "the history was not pruned"),
        }
    }

    /// [`Switch::tend`], once nobody else makes a change.
    pub async fn tend_in_turn(&self) {
        let _turn = self.turn.lock().await;
        self.tend().await;
    }
}
