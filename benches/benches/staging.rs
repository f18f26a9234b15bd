//! What does it cost to take a policy in: compile, load what was compiled before, configure and probe?

use criterion::{Criterion, criterion_group};
use switchback::policy::Limits;
use switchback::policy::stage::stage;
use switchback::policy::wasm::{Artifact, compiler};
use switchback_benches::policies::{TWO_LOOKUPS, compiled, engine};
use switchback_plugins as plugins;

use super::shortly;

fn staging(criterion: &mut Criterion) {
    let engine = engine();
    let mut compiling = criterion.benchmark_group("compile");
    compiling.sample_size(10);
    compiling.bench_function("by-header, core module", |bench| bench.iter(|| compiler::compile(plugins::BY_HEADER)));
    compiling.bench_function("by-header, wasip2", |bench| bench.iter(|| compiler::compile(plugins::BY_HEADER_WASIP2)));
    compiling.finish();

    let code = compiler::compile(plugins::BY_HEADER).expect("it compiles");
    criterion.bench_function("load what was compiled, and link", |bench| bench.iter(|| Artifact::load(&engine, &code)));

    let compiled = compiled(&engine, plugins::BY_HEADER);
    let pools = ["blue".to_owned(), "green".to_owned()];
    criterion.bench_function("stage: configure and ask the probes", |bench| {
        bench.iter(|| stage(&compiled, TWO_LOOKUPS, &pools, &Limits::default()).expect("it stages"));
    });
}

criterion_group!(name = benches; config = shortly(); targets = staging);
