//! What does it cost to find a request's vip among 1, 100, 10,000?

use criterion::{Criterion, criterion_group};
use switchback_benches::pieces;

use super::{shortly, time};

fn router(criterion: &mut Criterion) {
    time(criterion, pieces::router::pieces());
}

criterion_group!(name = benches; config = shortly(); targets = router);
