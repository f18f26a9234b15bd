//! What does the whole path cost over TCP on loopback, with and without a policy and with each feature?

use criterion::{Criterion, criterion_group};
use switchback_benches::ends::Carrier;
use switchback_benches::pieces;

use super::{shortly, time};

fn loopback(criterion: &mut Criterion) {
    time(criterion, pieces::exchange::pieces(Carrier::Tcp));
}

criterion_group!(name = benches; config = shortly(); targets = loopback);
