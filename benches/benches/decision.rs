//! What does one decision cost?

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use switchback::policy::Policy;
use switchback::policy::wasm::Inputs;
use switchback_benches::{ALL_HEADERS, TWO_LOOKUPS, browser, engine, staged};
use switchback_plugins as plugins;

fn live(criterion: &mut Criterion, name: &str, policy: &Policy) {
    let mut instance = policy.instance().expect("it was staged");
    let mut head = Some(browser());
    criterion.bench_function(name, |bench| {
        bench.iter(|| {
            let asked = head.take().expect("the head comes back");
            let (back, answer) = instance.decide(asked, Inputs::default());
            head = Some(back);
            answer.expect("it decides")
        });
    });
}

fn decision(criterion: &mut Criterion) {
    let engine = engine();
    live(criterion, "decision/live, two lookups", &staged(&engine, plugins::BY_HEADER, TWO_LOOKUPS));
    live(criterion, "decision/live, two lookups, wasip2", &staged(&engine, plugins::BY_HEADER_WASIP2, TWO_LOOKUPS));
    live(criterion, "decision/live, canary by cookie", &staged(&engine, plugins::CANARY, ""));
    live(criterion, "decision/live, all headers read", &staged(&engine, plugins::BLOCK, ALL_HEADERS));

    let policy = staged(&engine, plugins::BY_HEADER, TWO_LOOKUPS);
    criterion.bench_function("decision/fresh instance, configured, two lookups", |bench| {
        bench.iter_batched(
            browser,
            |head| {
                let mut instance = policy.instance().expect("it was staged");
                instance.decide(head, Inputs::default()).1.expect("it decides")
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, decision);
criterion_main!(benches);
