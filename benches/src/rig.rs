//! A worker on the thread that calls, with a release made of a configuration's text: a host without its threads.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use switchback::config::Config;
use switchback::digest::Digest;
use switchback::proxy::connection;
use switchback::proxy::keeper::News;
use switchback::proxy::leaving::Leaving;
use switchback::proxy::listener::Listener;
use switchback::proxy::sticky::StickyKey;
use switchback::proxy::stream::Plain;
use switchback::proxy::worker::{Shared, Worker};
use switchback::release::{Ground, Policies, Release};
use switchback::serving::{Beside, Canary, Current, Serving};
use switchback::spec::Spec;
use switchback::switch::change::Desired;
use switchback::switch::fail_back::Fall;
use switchback::telemetry::access_log::Message;
use switchback::telemetry::told::{Teller, Told};
use switchback::telemetry::traces::Tracer;
use tokio::sync::mpsc;

use crate::policies::staged;

/// Exchanges and spans that wait to be looked at, at most.
const TOLD_MAX: usize = 1024;

/// Policies by name, as bytes.
pub type Builds = &'static [(&'static str, &'static [u8])];

/// What a rig is to do beside what its configuration says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras {
    /// Lines for an access log are handed over.
    pub logs: bool,
    /// Of all exchanges, the part that is traced.
    pub traces: Option<f64>,
    /// A second release of the same content decides for half of the clients.
    pub canary: bool,
}

/// A worker with a release. Nobody else is there: no keeper, no journal, no clock of policies.
pub struct Rig {
    /// The worker.
    pub worker: Rc<Worker>,
    /// The release that serves.
    pub release: Arc<Release>,
    /// The first of its listeners.
    pub listener: Arc<Listener>,
    lines: mpsc::Receiver<Message>,
    spans: mpsc::Receiver<Arc<Told>>,
    // As long as these are there, the worker tells them in vain, as it would a host that has nothing to do about it.
    _news: mpsc::Receiver<News>,
    _fallen: mpsc::Receiver<Fall>,
}

impl Rig {
    /// A worker that serves what this configuration and these policies make.
    pub fn new(config: &str, builds: Builds, extras: Extras) -> Self {
        Self::of(spec(config, builds), builds, extras)
    }

    /// The same, of a release's content.
    pub fn of(spec: Spec, builds: Builds, extras: Extras) -> Self {
        let (ground, news) = ground();
        let ground = Arc::new(ground);
        let (falls, fallen) = mpsc::channel(1);
        let (log, lines) = mpsc::channel(TOLD_MAX);
        let (tracer, spans) = mpsc::channel(TOLD_MAX);
        let teller = Teller {
            log: extras.logs.then_some(log),
            tracer: extras.traces.map(|sample| Tracer::new(tracer, sample)),
            ..Teller::default()
        };
        let release = Arc::new(release(1, spec, builds, &ground));
        let mut serving = Serving::alone(release.clone());
        if extras.canary {
            let other = Arc::new(release_like(2, &release, &ground));
            let half = "50%".parse().expect("that is a share");
            let key = "cookie:uid".parse().expect("that is a key");
            let canary = Some(Canary::new(other, half, key));
            serving.beside = Beside { canary, ..Beside::default() }.if_any();
        }
        let live: Vec<_> = serving.releases().flat_map(|release| release.live().cloned().collect::<Vec<_>>()).collect();
        let current = Arc::new(Current::with(serving));
        let worker = Worker::new(0, Shared { current, ground, falls, teller });
        let made = live.iter().map(|policy| (policy.id, policy.instance().expect("it was staged")));
        worker.warm(made.collect(), &live.iter().map(|policy| policy.id).collect());
        let listener = release.listeners.values().next().expect("a vip listens somewhere").clone();
        Self { worker: Rc::new(worker), release, listener, lines, spans, _news: news, _fallen: fallen }
    }

    /// Serves a client's connection, on the local runtime that this is called on.
    pub fn serve(&self, stream: Plain) {
        // As over TCP: members are told where a client is.
        let peer = "192.0.2.7:5000".parse().ok();
        let (worker, listener, leaving) = (self.worker.clone(), self.listener.clone(), Rc::new(Leaving::default()));
        tokio::task::spawn_local(connection::serve(worker, stream, peer, listener, leaving));
    }

    /// What was handed over last, for the access log; all of it is taken.
    pub fn told(&mut self) -> Option<Arc<Told>> {
        let mut last = None;
        while let Ok(Message::Line(told)) = self.lines.try_recv() {
            last = Some(told);
        }
        while let Ok(told) = self.spans.try_recv() {
            last = Some(told);
        }
        last
    }
}

/// A ground for one worker.
pub fn ground() -> (Ground, mpsc::Receiver<News>) {
    Ground::new(1, 20_000, None, StickyKey::new(&[7; 32]))
}

/// A release's content.
pub fn spec(config: &str, builds: Builds) -> Spec {
    let config = Config::parse(config, Path::new("/switchback.toml")).expect("the configuration is right");
    let Desired { listeners, vips, pools, mut policies } = config.desired;
    for (name, bytes) in builds {
        policies.entry((*name).to_owned()).or_default().digest = Some(Digest::of(bytes));
    }
    Spec { listeners, vips, pools, policies }
}

/// A release of this content, with its policies staged.
pub fn release(number: u64, spec: Spec, builds: Builds, ground: &Ground) -> Release {
    let pools: Vec<String> = spec.pools.keys().cloned().collect();
    let policies: Policies = builds
        .iter()
        .map(|(name, bytes)| {
            let policy = &spec.policies[*name];
            ((*name).into(), staged(name, bytes, &policy.config, &pools, &policy.limits))
        })
        .collect();
    Release::new(number, Arc::new(spec), policies, &BTreeMap::new(), ground).expect("its vips do not overlap")
}

fn release_like(number: u64, release: &Release, ground: &Ground) -> Release {
    let (spec, policies) = (release.spec.clone(), release.policies.clone());
    Release::new(number, spec, policies, &BTreeMap::new(), ground).expect("it was made before")
}
