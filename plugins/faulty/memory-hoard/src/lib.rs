//! Takes memory until it is refused, once its patience is over, and writes to all of it, so that it counts.

use std::hint::black_box;

use patience::Patience;
use switchback_policy::prelude::*;

#[policy]
fn decide(_: &Request, patience: &Patience) -> Pool {
    if patience.is_over() {
        hoard();
    }
    Pool::all().next().expect("a vip has pools")
}

/// Ends in the trap that follows a refused allocation.
fn hoard() -> ! {
    const CHUNK_BYTES: usize = 1 << 20;
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![0xa5u8; CHUNK_BYTES]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_decisions_go_well() {
        let policy = test::configure::<decide>("", &["blue", "green"]).unwrap();
        for _ in 0..16 {
            assert_eq!(policy.decide(test::get("/")).pool(), "blue");
        }
    }
}
