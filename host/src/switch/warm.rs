//! Getting releases ready: staged policies, and an instance of each on every worker.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::change::ChangeError;
use super::{KEPT_READY, Refusal, Switch};
use crate::causes::with_causes;
use crate::policy::admit::{Rejection, readmit, stage_build};
use crate::policy::wasm::Engine;
use crate::policy::{Build, Policy};
use crate::proxy::instances::Live;
use crate::proxy::worker::Order;
use crate::release::{Policies, Release};
use crate::spec::{DeciderSpec, PolicySpec, Spec};

impl Switch {
    /// Stages every policy of a release. One that is staged already, for another release, is taken as it is: its
    /// instances are warm.
    ///
    /// A policy that no vip asks does not stand in the way: it is left out until somebody needs it. But one that differs
    /// from what it was in `from`, the release that is changed, is what the change brings: it must be fit.
    pub(super) async fn stage(&self, spec: &Spec, from: Option<&Spec>) -> Result<Policies, Refusal> {
        let must = |name: &str, policy: &PolicySpec| {
            let asked = DeciderSpec::Policy(name.to_owned());
            let brought = from.is_some_and(|from| from.policies.get(name) != Some(policy));
            brought || spec.vips.values().any(|vip| vip.decider == asked)
        };
        let known: Vec<Arc<Policy>> =
            self.state().ready.values().flat_map(|release| release.policies.values().cloned()).collect();
        let pools: Vec<String> = spec.pools.keys().cloned().collect();
        let mut staged = Policies::new();
        for (name, policy_spec) in &spec.policies {
            let Some(digest) = policy_spec.digest else { continue };
            let name: Arc<str> = name.as_str().into();
            let build = Build {
                name: name.clone(),
                digest,
                config: policy_spec.config.clone(),
                pools: pools.clone(),
                limits: policy_spec.limits.clone(),
            };
            let same = known.iter().find(|known| known.build == build).cloned();
            let policy = match same {
                Some(policy) => Ok(policy),
                None => self.stage_new(build).await,
            };
            match policy {
                Ok(policy) => drop(staged.insert(name, policy)),
                Err(rejection) if must(&name, policy_spec) => {
                    return Err(Refusal::Policy { policy: name.to_string(), rejection });
                }
                Err(rejection) => tracing::warn!(policy = &*name, %rejection, "left out, as no vip asks it"),
            }
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

    /// Makes a release of its parts. Its certificates may be on a disk that hangs: only this change waits for it.
    pub(super) async fn make(
        &self,
        number: u64,
        spec: Arc<Spec>,
        policies: Policies,
        previous: Policies,
    ) -> Result<Arc<Release>, Refusal> {
        let ground = self.ground.clone();
        let make = move || Release::new(number, spec, policies, &previous, &ground);
        let made = tokio::task::spawn_blocking(make).await.expect("making a release does not panic");
        Ok(Arc::new(made.map_err(ChangeError::from)?))
    }

    /// As [`Switch::warm`], for a release that is to serve. Where there is no room for all, those that are only kept
    /// ready get their instances when they are asked.
    ///
    /// # Errors
    /// When there is no room for what is needed at once: by what serves, and by this release.
    pub(super) async fn make_room_and_warm(&self, release: &Arc<Release>) -> Result<(), Refusal> {
        let workers = self.ground.workers;
        let room = Engine::room(workers);
        let with = |held: &Live| held.iter().copied().chain(release.live_ids()).collect::<Live>().len();
        let fits = |policies: usize| policies * workers <= room as usize;
        let mut held = self.state().live();
        if !fits(with(&held)) {
            held = self.current.serving().releases().flat_map(|release| release.live_ids()).collect();
            let policies = with(&held);
            if !fits(policies) {
                return Err(Refusal::NoRoom { policies, workers, room });
            }
            self.hand_over(Vec::new(), held.clone()).await;
        }
        self.warm_beside(held, release).await;
        Ok(())
    }

    /// Puts an instance of each policy that `release` needs on every worker, beside those of all ready releases.
    async fn warm(&self, release: &Arc<Release>) {
        let held = self.state().live();
        self.warm_beside(held, release).await;
    }

    async fn warm_beside(&self, held: Live, release: &Arc<Release>) {
        let cold: Vec<Arc<Policy>> = release.live().filter(|policy| !held.contains(&policy.id)).cloned().collect();
        let live = held.into_iter().chain(release.live_ids()).collect();
        self.hand_over(cold, live).await;
    }

    /// Puts an instance of each of these on every worker, beside those of all ready releases. The caller holds the turn.
    pub(super) async fn warm_again(&self, cold: Vec<Arc<Policy>>) {
        let live = self.state().live();
        self.hand_over(cold, live).await;
    }

    /// Instances are made here, on a thread where a guest may take its time, and handed over: a worker does nothing for
    /// a switch but store them.
    async fn hand_over(&self, cold: Vec<Arc<Policy>>, live: Live) {
        let (workers, live) = (self.ground.workers, Arc::new(live));
        let made = tokio::task::spawn_blocking(move || {
            let instances = |policy: &Arc<Policy>| match policy.instance() {
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
        let mut made = made.into_iter();
        let warm = |done| Order::Warm { made: made.next().unwrap_or_default(), live: live.clone(), done };
        self.tell_workers(warm).await;
    }

    /// The content of a release that is kept.
    async fn content(&self, number: u64) -> Result<Spec, Refusal> {
        self.journal.release(number).await?.ok_or(Refusal::NoSuchRelease(number))
    }

    /// Makes a release of the trail ready. The caller holds the turn.
    pub(super) async fn make_ready(&self, number: u64) -> Result<(), Refusal> {
        if self.state().ready.contains_key(&number) {
            return Ok(());
        }
        let spec = self.content(number).await?;
        let policies = self.stage(&spec, None).await?;
        let previous = match self.before(number) {
            Some(before) => self.policies_of(before).await.unwrap_or_default(),
            None => Policies::new(),
        };
        let release = self.make(number, spec.into(), policies, previous).await?;
        self.warm(&release).await;
        self.state().ready.insert(number, release);
        self.keep_watch(None);
        Ok(())
    }

    /// The release that one follows: what the canary follows is current.
    fn before(&self, number: u64) -> Option<u64> {
        let standing = self.standing();
        let is_canary = standing.canary.is_some_and(|canary| canary.release == number);
        if is_canary { Some(standing.trail.current()) } else { standing.trail.before(number) }
    }

    /// The policies of a release, be it ready or not: the second rung of the one after it.
    async fn policies_of(&self, number: u64) -> Result<Policies, Refusal> {
        if let Some(ready) = self.ready_release(number) {
            return Ok(ready.policies.clone());
        }
        let spec = self.content(number).await?;
        self.stage(&spec, None).await
    }

    /// Makes ready what is within reach of the current release, the nearest first, and lets go of what is not.
    pub async fn tend(&self) {
        for number in self.standing().reach(KEPT_READY) {
            // Taken anew for each: a change, or a step to a release that is not ready, need not wait for all.
            let _turn = self.turn.lock().await;
            if let Err(refusal) = self.make_ready(number).await {
                self.could_not_ready(number, with_causes(&refusal));
                tracing::warn!(
                    release = number,
                    refusal = with_causes(&refusal),
                    "a release on the trail cannot be made ready"
                );
            }
        }
        let _turn = self.turn.lock().await;
        let dropped = {
            let mut state = self.state();
            let before = state.ready.len();
            let reach = state.standing.reach(KEPT_READY);
            state.ready.retain(|number, _| reach.contains(number));
            let used: BTreeSet<_> =
                state.ready.values().flat_map(|release| release.live().map(|policy| policy.build.digest)).collect();
            state.compiled.retain(|digest, _| used.contains(digest));
            before != state.ready.len()
        };
        // What was left may be ready by now, after a start, or not any more.
        self.put_again();
        if dropped {
            self.keep_watch(None);
            let live = self.state().live();
            self.hand_over(Vec::new(), live).await;
            self.forget_unused().await;
        }
    }

    /// Tends whenever something was switched, for ever.
    pub async fn keep_tended(&self) {
        loop {
            self.tend().await;
            let switched = self.switched.notified();
            tokio::pin!(switched);
            loop {
                tokio::select! {
                    () = &mut switched => break,
                    () = self.session_ends() => self.settle_sessions(),
                }
            }
        }
    }

    /// Removes from the state folder what no kept release names.
    async fn forget_unused(&self) {
        match self.journal.prune(self.standing()).await {
            Ok(needed) => {
                let store = self.store.clone();
                let pruned = tokio::task::spawn_blocking(move || store.keep_only(&needed.into_iter().collect()));
                let _ = pruned.await;
            }
            Err(error) => tracing::warn!(%error, "the history was not pruned"),
        }
    }
}
