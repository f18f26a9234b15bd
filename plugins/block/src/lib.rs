//! Answers 403 to requests in which any header field holds one of the given texts; all others go to one pool.
//!
//! ```json
//! { "texts": ["${jndi:", "() {"], "pool": "blue" }
//! ```
//!
//! The one policy here that reads every header field of every request, and so pays for a copy of them all.

use switchback_policy::prelude::*;

/// What is blocked, and where the rest goes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    texts: Vec<String>,
    pool: Pool,
}

#[policy]
fn decide(request: &Request, config: &Config) -> Decision {
    let headers = request.headers();
    let blocked = headers.iter().find(|(_, value)| config.texts.iter().any(|text| holds(value.as_bytes(), text)));
    match blocked {
        Some((name, _)) => Decision::respond(403).because(format!("blocked by what {name} holds")),
        None => config.pool.into(),
    }
}

fn holds(value: &[u8], text: &str) -> bool {
    value.windows(text.len().max(1)).any(|window| window == text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{ "texts": ["${jndi:", "() {"], "pool": "blue" }"#;

    #[test]
    fn what_is_blocked_is_answered_here() {
        let policy = test::configure::<decide>(CONFIG, &["blue"]).unwrap();
        let answer = policy.decide(test::get("/").header("user-agent", "x${jndi:ldap://a}"));
        assert_eq!(answer.response().status, 403);
        assert_eq!(answer.reason(), Some("blocked by what user-agent holds"));
    }

    #[test]
    fn all_else_passes() {
        let policy = test::configure::<decide>(CONFIG, &["blue"]).unwrap();
        assert_eq!(policy.decide(test::get("/").header("accept", "*/*").cookie("a", "()")).pool(), "blue");
    }
}
