//! Recurses without end, once its patience is over.

use std::hint::black_box;

use patience::Patience;
use switchback_policy::prelude::*;

#[policy]
fn decide(_: &Request, patience: &Patience) -> Pool {
    if patience.is_over() {
        log::debug(format!("came back from depth {}", descend(0)));
    }
    Pool::all().next().expect("a vip has pools")
}

/// Looks at what the call gave, which keeps the optimiser from making this a loop; and holds next to nothing, so that
/// the proxy's limit on the call stack is met before the guest's own stack in memory ends.
#[allow(unconditional_recursion, reason = "what this policy is for")]
#[inline(never)]
fn descend(depth: u64) -> u64 {
    let deepest = descend(black_box(depth) + 1);
    black_box(deepest)
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
