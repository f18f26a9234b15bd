//! Where members are found, for as long as a watched pool has members there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::proxy::finding::dns::resolver::{Resolver, Servers};
use crate::proxy::finding::dns::{self, Sought, Ttl};
use crate::proxy::finding::{Finding, Found, List, file};
use crate::proxy::pool::Source;

/// How names are asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Names {
    /// Who is asked.
    pub servers: Servers,
    /// How long answers are believed.
    pub ttl: Ttl,
}

/// The sources that are followed.
pub(super) struct Sources {
    servers: Servers,
    followed: HashMap<Source, Followed>,
    ttl: Ttl,
    changed: Arc<Notify>,
}

/// A source, and what it was last good for.
struct Followed {
    list: watch::Receiver<List>,
    listener: JoinHandle<()>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        // Whoever follows a source ends with its last listener.
        self.listener.abort();
    }
}

impl Sources {
    /// None yet.
    pub(super) fn new(names: Names) -> Self {
        let Names { servers, ttl } = names;
        Self { servers, ttl, followed: HashMap::new(), changed: Arc::new(Notify::new()) }
    }

    /// Follows these, and no others.
    pub(super) fn follow(&mut self, sources: impl Iterator<Item = Source>) {
        let sources: HashSet<Source> = sources.collect();
        self.followed.retain(|source, _| sources.contains(source));
        for source in sources {
            if self.followed.contains_key(&source) {
                continue;
            }
            let (finding, list) = Finding::new(&source.to_string());
            match &source {
                Source::File(path) => drop(tokio::spawn(file::follow(path.clone(), finding))),
                Source::Name(name) => {
                    if let Some(sought) = Sought::of(name) {
                        let resolver = Resolver::new(self.servers.clone());
                        tokio::spawn(dns::follow(sought, resolver, self.ttl, finding));
                    }
                }
            }
            let listener = tokio::spawn(listen(list.clone(), self.changed.clone()));
            self.followed.insert(source, Followed { list, listener });
        }
    }

    /// What a source was last good for.
    pub(super) fn list(&self, source: &Source) -> Option<Arc<[Found]>> {
        self.followed.get(source)?.list.borrow().clone()
    }

    /// Resolves when a list has changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Resolves when each of these has answered.
    pub(super) fn found(&self, sources: &[Source]) -> impl Future<Output = ()> + Send + use<> {
        let lists: Vec<_> = sources.iter().filter_map(|source| Some(self.followed.get(source)?.list.clone())).collect();
        async move {
            for mut list in lists {
                let _ = list.wait_for(Option::is_some).await;
            }
        }
    }
}

async fn listen(mut list: watch::Receiver<List>, changed: Arc<Notify>) {
    while list.changed().await.is_ok() {
        changed.notify_one();
    }
}
