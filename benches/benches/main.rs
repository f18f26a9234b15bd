//! One program for all benchmarks: a file for each question.

mod decision;
mod staging;
mod switch;
mod head;
mod headers;
mod router;
mod balancer;
mod exchange;
mod loopback;

use std::time::Duration;

use criterion::{Criterion, criterion_main};
use switchback_benches::{Piece, Planned};

criterion_main!(
    decision::benches,
    staging::benches,
    switch::benches,
    head::benches,
    headers::benches,
    router::benches,
    balancer::benches,
    exchange::benches,
    loopback::benches
);

/// Short enough for the whole set to end in some minutes, and long enough for intervals of a percent or two.
fn shortly() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(40)
}

/// Times pieces, and makes those only that are asked for.
fn time(criterion: &mut Criterion, pieces: Vec<Planned>) {
    for planned in pieces {
        let name = planned.name.clone();
        let (mut planned, mut made) = (Some(planned), None::<Piece>);
        criterion.bench_function(&name, |bench| {
            let piece = made.get_or_insert_with(|| planned.take().expect("it is made once").make());
            bench.iter_custom(|times| piece.time(times));
        });
    }
}
