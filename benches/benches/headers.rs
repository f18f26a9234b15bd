//! What does it cost to rewrite header fields on their way to the member and to the client?

use criterion::{Criterion, criterion_group};
use switchback_benches::pieces;

use super::{shortly, time};

fn headers(criterion: &mut Criterion) {
    time(criterion, pieces::headers::pieces());
}

criterion_group!(name = benches; config = shortly(); targets = headers);
