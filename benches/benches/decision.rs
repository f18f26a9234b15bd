//! What does one decision cost: by what is read, by what the policy was built for, in a fresh instance?

use criterion::{Criterion, criterion_group};
use switchback_benches::pieces;

use super::{shortly, time};

fn decision(criterion: &mut Criterion) {
    time(criterion, pieces::decision::pieces());
    time(criterion, pieces::decision::languages());
}

criterion_group!(name = benches; config = shortly(); targets = decision);
