//! What does it cost to read a head, and to bring it into the form that policies and members get?

use criterion::{Criterion, criterion_group};
use switchback_benches::pieces;

use super::{shortly, time};

fn head(criterion: &mut Criterion) {
    time(criterion, pieces::head::pieces());
}

criterion_group!(name = benches; config = shortly(); targets = head);
