//! Sends all requests to one pool, and labels them: sets and removes fields of requests, and adds fields to answers.
//!
//! ```json
//! { "pool": "blue", "set": { "x-side": "blue" }, "remove": ["x-debug"], "add": { "x-served-by": "blue" } }
//! ```
//!
//! What never changes is better said in the configuration (`request_headers`, `response_headers`). This shows how a
//! policy says it, which can look at the request first.

use std::collections::BTreeMap;

use switchback_policy::prelude::*;

/// Where requests go, and what is written on them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pool: Pool,
    #[serde(default)]
    set: BTreeMap<String, String>,
    #[serde(default)]
    remove: Vec<String>,
    #[serde(default)]
    add: BTreeMap<String, String>,
}

#[policy]
fn decide(_: &Request, config: &Config) -> Decision {
    let mut decision = Decision::to(config.pool);
    for (name, value) in &config.set {
        decision = decision.set_request_header(name, value.as_bytes());
    }
    for name in &config.remove {
        decision = decision.remove_request_header(name);
    }
    for (name, value) in &config.add {
        decision = decision.add_response_header(name, value.as_bytes());
    }
    decision
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_are_labelled() {
        let config = r#"{ "pool": "blue", "set": { "x-a": "1" }, "remove": ["x-b"], "add": { "x-c": "2" } }"#;
        let policy = test::configure::<decide>(config, &["blue"]).unwrap();
        let answer = policy.decide(test::get("/"));
        assert_eq!(answer.pool(), "blue");
        let route = answer.route();
        assert_eq!((&*route.set_request_headers[0].name, &*route.add_response_headers[0].name), ("x-a", "x-c"));
        assert_eq!(route.remove_request_headers, ["x-b"]);
    }
}
