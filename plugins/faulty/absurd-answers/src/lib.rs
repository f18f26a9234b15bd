//! Decides what no proxy may do, once its patience is over.
//!
//! `{ "answer": "bad-header-name" }` chooses one absurdity; without it they come in turn.

use patience::Patience;
use switchback_policy::prelude::*;

/// How long it behaves, and what it does then.
#[derive(Deserialize)]
pub struct Config {
    #[serde(flatten)]
    patience: Patience,
    answer: Option<Answer>,
}

#[policy]
fn decide(_: &Request, config: &Config) -> Decision {
    let pool = Pool::all().next().expect("a vip has pools");
    let Some(times) = config.patience.times_over() else {
        return pool.into();
    };
    match config.answer.unwrap_or(Answer::ALL[times as usize % Answer::ALL.len()]) {
        Answer::HugeHeaders => huge_headers(pool),
        Answer::BadHeaderName => Decision::to(pool).set_request_header("not a name\u{1b}[31m", "value"),
        Answer::BadHeaderValue => Decision::to(pool).add_response_header("x-split", "a\r\nset-cookie: stolen=1"),
        Answer::Status42 => Decision::respond(42),
        Answer::HugeBody => Decision::respond(Response::new(200).body(vec![b'x'; ABSURD_BYTES])),
    }
}

/// More than any limit that makes sense, and little enough for a guest to hold.
const ABSURD_BYTES: usize = 10 << 20;

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    HugeHeaders,
    BadHeaderName,
    BadHeaderValue,
    #[serde(rename = "status-42")]
    Status42,
    HugeBody,
}

impl Answer {
    const ALL: [Self; 5] =
        [Self::HugeHeaders, Self::BadHeaderName, Self::BadHeaderValue, Self::Status42, Self::HugeBody];
}

fn huge_headers(pool: Pool) -> Decision {
    const VALUE_BYTES: usize = 1 << 10;
    (0..ABSURD_BYTES / VALUE_BYTES).fold(Decision::to(pool), |decision, n| {
        decision.set_request_header(format!("x-absurd-{n}"), vec![b'x'; VALUE_BYTES])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurdities_come_in_turn_after_sixteen_decisions() {
        let policy = test::configure::<decide>(r#"{"otherwise":"blue"}"#, &["blue", "green"]).unwrap();
        for _ in 0..16 {
            assert_eq!(policy.decide(test::get("/")).pool(), "blue");
        }
        assert_eq!(policy.decide(test::get("/")).route().set_request_headers.len(), 10_240);
        assert_eq!(policy.decide(test::get("/")).route().set_request_headers.len(), 1);
        assert_eq!(policy.decide(test::get("/")).route().add_response_headers.len(), 1);
        assert_eq!(policy.decide(test::get("/")).response().status, 42);
        assert_eq!(policy.decide(test::get("/")).response().body.len(), ABSURD_BYTES);
    }

    #[test]
    fn one_absurdity_can_be_chosen() {
        let policy = test::configure::<decide>(r#"{"after":0,"answer":"status-42"}"#, &["blue"]).unwrap();
        assert_eq!(policy.decide(test::get("/")).response().status, 42);
        assert_eq!(policy.decide(test::get("/")).response().status, 42);
    }
}
