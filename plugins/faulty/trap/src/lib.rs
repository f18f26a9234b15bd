//! Panics while deciding, once its patience is over: a policy with a bug.

use patience::Patience;
use switchback_policy::prelude::*;

#[policy]
fn decide(_: &Request, patience: &Patience) -> Pool {
    assert!(!patience.is_over(), "this policy panics on purpose");
    Pool::all().next().expect("a vip has pools")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_decisions_go_well_over_any_configuration() {
        let policy = test::configure::<decide>(r#"{"paths":{},"otherwise":"green"}"#, &["blue", "green"]).unwrap();
        for _ in 0..16 {
            assert_eq!(policy.decide(test::get("/")).pool(), "blue");
        }
    }

    #[test]
    #[should_panic(expected = "on purpose")]
    fn without_patience_the_first_one_panics() {
        test::configure::<decide>(r#"{"after":0}"#, &["blue"]).unwrap().decide(test::get("/"));
    }
}
