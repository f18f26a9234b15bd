//! Tells what it was given to decide by: in its answer's `x-witness`, and in the log. Panics once its patience is over.

use patience::Patience;
use switchback_policy::prelude::*;

#[policy]
fn decide(_: &Request, patience: &Patience) -> Decision {
    let pool = Pool::all().next().expect("a vip has pools");
    let testimony = format!("{} {} {}", now().as_nanos(), random(), pool.load().members);
    log::info(&testimony);
    assert!(!patience.is_over(), "this witness is tired");
    Decision::to(pool).add_response_header("x-witness", testimony.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_inputs_give_equal_testimony() {
        let told = || {
            let policy = test::configure::<decide>("{}", &["blue"]).unwrap();
            policy.decide(test::get("/")).route().add_response_headers[0].value.clone()
        };
        assert_eq!(told(), told());
    }
}
