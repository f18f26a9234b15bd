//! What does a switch cost, from the call to the receipt: back, forward, another pool, another build?
//!
//! A whole host with two workers, idle, on a disk that is asked to sync: the journal is part of it.

use std::path::Path;

use criterion::{Criterion, criterion_group};
use switchback::app::App;
use switchback::config::Config;
use switchback::spec::DeciderSpec;
use switchback::store::journal::Door;
use switchback::switch::change::Change;
use switchback::switch::receipt::Origin;
use switchback::switch::step::Step;
use switchback_benches::policies;
use switchback_plugins as plugins;
use tokio::runtime::Runtime;

use super::shortly;

const CONFIG: &str = r#"
workers = 2
[control]
listen = "127.0.0.1:0"
[pools.blue]
members = ["127.0.0.1:1"]
[pools.green]
members = ["127.0.0.1:2"]
[vips.shop]
listen = "127.0.0.1:0"
pool = "blue"
"#;

fn start(runtime: &Runtime, folder: &Path) -> App {
    let file = folder.join("switchback.toml");
    std::fs::write(&file, CONFIG).expect("a temporary folder can be written");
    let config = Config::read(&file).expect("the configuration is right");
    // Nothing is compiled by a child here.
    runtime.block_on(App::start(config, "/nowhere".into())).expect("the host starts")
}

fn switch(criterion: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let app = start(&runtime, folder.path());
    let origin = Origin { force: true, ..Origin::through(Door::Api, "bench", "") };
    let assign = |pool: &str| Change::Assign { vip: "shop".into(), decider: DeciderSpec::Pool(pool.into()) };
    let activate =
        |change| runtime.block_on(app.switch.activate(change, &origin, Vec::new())).expect("it is activated");

    activate(assign("green"));
    criterion.bench_function("switch/back and forward", |bench| {
        bench.iter(|| {
            runtime.block_on(async {
                app.switch.back(&origin).await.expect("there is a release before");
                app.switch.step(&Step::forward(), &origin).await.expect("there is a release after")
            })
        });
    });
    let mut green = true;
    criterion.bench_function("switch/another pool", |bench| {
        bench.iter(|| {
            green = !green;
            activate(assign(if green { "green" } else { "blue" }))
        });
    });

    let canary = policies::compiled(&policies::engine(), plugins::CANARY);
    let digest = canary.digest;
    app.switch.admitted(canary);
    let mut percent = 0;
    criterion.bench_function("switch/a policy told something else", |bench| {
        bench.iter(|| {
            percent = (percent + 1) % 100;
            let config = Some(format!("{{\"percent\": {percent}}}"));
            activate(Change::Build { name: "canary".into(), digest, config })
        });
    });
    runtime.block_on(app.leave());
}

criterion_group!(name = benches; config = shortly(); targets = switch);
