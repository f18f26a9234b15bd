//! The swap itself, and what it leaves behind for a while: sessions, requests that wait, tunnels.
//!
//! Whatever serves is put here, whole, under the state's lock. What is left of releases before ends by itself, see
//! `settle_sessions`. A step back keeps no sessions with what it goes back from.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::standing::{Gist, LeftStanding, Standing};
use super::{State, Swapped, Switch};
use crate::proxy::session::{Held, Session};
use crate::release::Release;
use crate::serving::{Beside, Canary, Left, Serving};

/// Releases with whose sessions something is kept: the latest. More are not kept ready on one side of the trail.
const LEFT_MAX: usize = super::KEPT_READY;

impl Switch {
    /// Makes `release` current, with what the standing has beside it. Under the state's lock, so that the journal sees
    /// switches in their order. The standing is that of after the switch.
    pub(super) fn swap(&self, state: &mut State, release: Arc<Release>) -> Swapped {
        self.swap_as(state, release, false)
    }

    /// The same; `is_back` says whether it is away from what no session is to have to do with any more.
    pub(super) fn swap_as(&self, state: &mut State, release: Arc<Release>, is_back: bool) -> Swapped {
        state.generation += 1;
        let State { gists, standing, .. } = &mut *state;
        gists.insert(release.number, Gist::of(&release));
        gists.retain(|release, _| standing.trail.position_of(*release).is_some());
        let old = self.current.get();
        let left_before = standing.left.clone();
        if old.number != release.number {
            let Standing { left, trail, .. } = standing;
            let is_before = |number| trail.position_of(number).is_some_and(|position| position < trail.position());
            left.retain(|left| if is_back { is_before(left.release) } else { left.release != release.number });
            if !is_back && keeps_sessions(&old) {
                left.push(LeftStanding { release: old.number, at_millis: now_millis() });
                left.drain(..left.len().saturating_sub(LEFT_MAX));
            }
        }
        let at = Instant::now();
        let held = held(&old, &release, at);
        self.put(state, release.clone(), held.clone());
        let has_left = state.standing.left != left_before;
        Swapped { old, new: release, at, old_goes_on: false, held, has_left }
    }

    /// Has `release` serve, with what the standing has beside it, and what is held.
    fn put(&self, state: &State, release: Arc<Release>, held: Vec<Arc<Held>>) {
        let standing = &state.standing;
        let canary = standing.canary.as_ref().and_then(|canary| {
            let release = state.ready.get(&canary.release)?.clone();
            Some(Canary::new(release, canary.share, canary.key.clone()))
        });
        let left = standing.left.iter().filter_map(|left| {
            let release = state.ready.get(&left.release)?.clone();
            let left = Left { release, at: instant(left.at_millis) };
            left.ends().is_some_and(|end| end > Instant::now()).then_some(left)
        });
        let before = self.current.serving();
        let still = before.beside.iter().flat_map(|beside| &beside.held).filter(|held| !held.is_over()).cloned();
        let beside = Beside { canary, left: left.collect(), held: still.chain(held).collect() };
        self.current.swap(Serving { release, beside: beside.if_any() });
        part(&before, &self.current.serving());
    }

    /// Puts what is beside the current release again: what is over is gone, and what has got ready is there.
    pub(super) fn put_again(&self) {
        let state = self.state();
        self.put(&state, self.current.get(), Vec::new());
    }

    /// Resolves when something beside the current release is over that ends by itself.
    pub(super) async fn session_ends(&self) {
        let ends = self.current.serving().beside.as_ref().and_then(|beside| beside.ends());
        match ends {
            Some(end) => tokio::time::sleep_until(end).await,
            None => std::future::pending().await,
        }
    }

    /// Lets go of sessions whose time is over.
    pub(super) fn settle_sessions(&self) {
        {
            let mut state = self.state();
            let State { standing, ready, .. } = &mut *state;
            let known = standing.left.len();
            standing.left.retain(|left| {
                let end =
                    |release: &Arc<Release>| Left { release: release.clone(), at: instant(left.at_millis) }.ends();
                // Of one that is not ready, it is not known.
                ready.get(&left.release).is_none_or(|release| end(release).is_some_and(|end| end > Instant::now()))
            });
            if standing.left.len() != known {
                self.rewrite(&state);
            }
        }
        self.put_again();
    }
}

fn keeps_sessions(release: &Release) -> bool {
    sessions(release).any(|session| session.spec.mode.drains_for().is_some())
}

fn sessions(release: &Release) -> impl Iterator<Item = &Arc<Session>> {
    release.with_session.iter().filter_map(|vip| vip.session.as_ref())
}

/// Vips that are left with requests in flight, and whose next ones are to wait for these.
fn held(old: &Release, new: &Release, at: Instant) -> Vec<Arc<Held>> {
    let held = old.with_session.iter().filter_map(|vip| {
        let session = vip.session.as_ref()?;
        let most = session.spec.mode.holds_for()?;
        let comes = new.vips.get(&vip.name)?;
        let is_same = comes.session.as_ref().is_some_and(|comes| Arc::ptr_eq(comes, session));
        (!is_same).then(|| Held::new(&vip.name, session, at, most))
    });
    held.collect()
}

/// Tells the tunnels of vips that are left how long they may go on, and those of vips that serve that they may.
fn part(before: &Serving, after: &Serving) {
    let mut serve = HashSet::new();
    for session in after.releases().flat_map(|release| sessions(release)) {
        serve.insert(Arc::as_ptr(session));
        session.stays();
    }
    let now = Instant::now();
    for session in before.releases().flat_map(|release| sessions(release)) {
        if !serve.contains(&Arc::as_ptr(session)) {
            session.is_left(now);
        }
    }
}

fn now_millis() -> u64 {
    crate::time::wall_nanos() / 1_000_000
}

/// When that was by the clock of timers. A clock that was set may say that it is yet to come: then it is now.
fn instant(at_millis: u64) -> Instant {
    let ago = Duration::from_millis(now_millis().saturating_sub(at_millis));
    Instant::now().checked_sub(ago).unwrap_or_else(Instant::now)
}
