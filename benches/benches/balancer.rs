//! What does it cost to choose among 2, 100, 10,000 members?

use criterion::{Criterion, criterion_group};
use switchback_benches::pieces;

use super::{shortly, time};

fn balancer(criterion: &mut Criterion) {
    time(criterion, pieces::balancer::pieces());
}

criterion_group!(name = benches; config = shortly(); targets = balancer);
