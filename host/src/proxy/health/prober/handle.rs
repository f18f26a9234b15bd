//! How a prober is told what to probe, and asked what it knows.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::{Known, ProbeCounts};
use crate::proxy::health::pair::Pair;
use crate::proxy::health::standing::Health;

/// Questions that wait for the prober. It answers at once, so they do not gather; who finds no room waits.
const QUESTIONS_MAX: usize = 16;

/// Pairs that are probed.
pub(super) type PairSet<M> = Arc<[Arc<Pair<M>>]>;

/// A handle to a prober. The prober ends with the last of them.
pub struct Checks<M> {
    /// What its probes have come to.
    pub counts: Arc<ProbeCounts>,
    sets: Arc<watch::Sender<PairSet<M>>>,
    questions: mpsc::Sender<Question<M>>,
}

pub(super) enum Question<M> {
    /// What is known of these, or of all.
    Known { pairs: Option<Vec<Arc<Pair<M>>>>, answer: oneshot::Sender<Vec<Known<M>>> },
    /// Probe these now; `done` is dropped when each has a result.
    Probe { pairs: Vec<Arc<Pair<M>>>, done: oneshot::Sender<()> },
}

impl<M> Checks<M> {
    pub(super) fn new() -> (Self, watch::Receiver<PairSet<M>>, mpsc::Receiver<Question<M>>) {
        let (sets, set) = watch::channel(Arc::from([]));
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        (Self { counts: Arc::default(), sets: Arc::new(sets), questions }, set, asked)
    }

    /// From now on these pairs are probed, and no others. Those that are known keep what is known of them and their times.
    /// Does not wait; a question that is asked later is answered for this set.
    pub fn keep(&self, pairs: impl IntoIterator<Item = Pair<M>>) {
        self.sets.send_replace(pairs.into_iter().map(Arc::new).collect());
    }

    /// Probes these pairs now, ahead of all that is due, and answers what is known of each, in this order, once each has a new
    /// result, or after this time. A probe that is under way counts. Those that are not in the set are not probed.
    pub async fn probe_now<P: Into<Arc<Pair<M>>>>(
        &self,
        pairs: impl IntoIterator<Item = P>,
        at_most: Duration,
    ) -> Vec<Known<M>> {
        let pairs: Vec<_> = pairs.into_iter().map(Into::into).collect();
        let (done, is_done) = oneshot::channel();
        let question = Question::Probe { pairs: pairs.clone(), done };
        let probed = async {
            if self.questions.send(question).await.is_ok() {
                // It is dropped, never sent.
                let _ = is_done.await;
            }
        };
        let _ = tokio::time::timeout(at_most, probed).await;
        let unknown = |pair| Known { pair, health: Health::Unknown, is_in_doubt: false, last: None };
        match self.known(Some(pairs.clone())).await {
            Some(known) => known,
            None => pairs.into_iter().map(unknown).collect(),
        }
    }

    /// What is known of these pairs, in this order; nothing if the prober has ended.
    pub async fn of(&self, pairs: impl IntoIterator<Item = Pair<M>>) -> Vec<Known<M>> {
        self.known(Some(pairs.into_iter().map(Arc::new).collect())).await.unwrap_or_default()
    }

    /// What is known of all pairs, in no order; nothing if the prober has ended.
    pub async fn all(&self) -> Vec<Known<M>> {
        self.known(None).await.unwrap_or_default()
    }

    async fn known(&self, pairs: Option<Vec<Arc<Pair<M>>>>) -> Option<Vec<Known<M>>> {
        let (answer, answered) = oneshot::channel();
        self.questions.send(Question::Known { pairs, answer }).await.ok()?;
        answered.await.ok()
    }
}

impl<M> Clone for Checks<M> {
    fn clone(&self) -> Self {
        Self { counts: self.counts.clone(), sets: self.sets.clone(), questions: self.questions.clone() }
    }
}
