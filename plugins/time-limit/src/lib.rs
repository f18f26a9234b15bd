//! Gives members as long as the client says that it waits: nobody works on for a client that has given up.
//!
//! ```json
//! { "pool": "blue", "header": "x-timeout-ms", "key": "x-user" }
//! ```
//!
//! `header` holds whole milliseconds; a request without it, or with something else in it, has the times of the vip and
//! the pool. So does one that asks for more than the vip allows (`policy_timeout_max`). `key` may be left out: requests
//! with equal values of that field go to the same member.

use std::time::Duration;

use switchback_policy::prelude::*;

/// Where requests go, and where they say how long they may take.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pool: Pool,
    header: String,
    key: Option<String>,
}

#[policy]
fn decide(request: &Request, config: &Config) -> Decision {
    let mut decision = Decision::to(config.pool);
    if let Some(time) = request.header(&config.header).and_then(|text| millis(text.as_bytes())) {
        decision = decision.response_timeout(time).whole_timeout(time);
    }
    match config.key.as_ref().and_then(|key| request.header(key)) {
        Some(key) => decision.affinity(key.as_bytes()),
        None => decision,
    }
}

/// Zero is nothing that could be kept.
fn millis(text: &[u8]) -> Option<Duration> {
    let millis: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (millis > 0).then(|| Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_as_long_as_it_says() {
        let policy = test::configure::<decide>(r#"{ "pool": "blue", "header": "x-ms" }"#, &["blue"]).unwrap();
        let times = |text: &str| policy.decide(test::get("/").header("x-ms", text)).route().timeouts;
        let time = Some(Duration::from_millis(250));
        assert_eq!(times("250"), Timeouts { response: time, whole: time, between_bytes: None });
        for text in ["", "0", "-1", "1.5", "soon"] {
            assert_eq!(times(text), Timeouts::default(), "{text}");
        }
        assert_eq!(policy.decide(test::get("/")).route().timeouts, Timeouts::default());
    }

    #[test]
    fn equal_keys_belong_together() {
        let config = r#"{ "pool": "blue", "header": "x-ms", "key": "x-user" }"#;
        let policy = test::configure::<decide>(config, &["blue"]).unwrap();
        let key = |request: test::TestRequest| policy.decide(request).route().affinity.clone();
        assert_eq!(key(test::get("/").header("x-user", "ada")), Some(b"ada".to_vec()));
        assert_eq!(key(test::get("/")), None);
    }
}
