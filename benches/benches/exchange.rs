//! What does a whole exchange cost over HTTP/1, with each feature, where only the kernel's copying lies between the ends?

use criterion::{Criterion, criterion_group};
use switchback_benches::ends::Carrier;
use switchback_benches::pieces;

use super::{shortly, time};

fn exchange(criterion: &mut Criterion) {
    time(criterion, pieces::exchange::pieces(Carrier::Unix));
}

criterion_group!(name = benches; config = shortly(); targets = exchange);
