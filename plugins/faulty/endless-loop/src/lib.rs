//! Never finishes deciding, once its patience is over.

use patience::Patience;
use switchback_policy::prelude::*;

#[policy]
fn decide(_: &Request, patience: &Patience) -> Pool {
    while patience.is_over() {
        std::hint::spin_loop();
    }
    Pool::all().next().expect("a vip has pools")
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
