//! Chooses a pool by the value of a header or a cookie.
//!
//! The rules are tried in order and the first that matches decides; without a match it is the pool `otherwise`.
//!
//! ```json
//! {
//!   "rules": [
//!     { "header": "x-group", "value": "beta", "pool": "green" },
//!     { "cookie": "group", "value": "beta", "pool": "green" }
//!   ],
//!   "otherwise": "blue"
//! }
//! ```

use switchback_policy::prelude::*;

/// Where requests go.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    rules: Vec<Rule>,
    otherwise: Pool,
}

#[policy]
fn decide(request: &Request, config: &Config) -> Decision {
    match config.rules.iter().find(|rule| rule.matches(request)) {
        Some(rule) => Decision::to(rule.pool).because(&*rule.reason),
        None => config.otherwise.into(),
    }
}

#[derive(Deserialize)]
#[serde(try_from = "RawRule")]
struct Rule {
    field: Field,
    value: String,
    pool: Pool,
    /// Written once, not for each request.
    reason: String,
}

enum Field {
    Header(String),
    Cookie(String),
}

impl Rule {
    fn matches(&self, request: &Request) -> bool {
        let value = match &self.field {
            Field::Header(name) => request.header(name),
            Field::Cookie(name) => request.cookie(name),
        };
        value.is_some_and(|value| value == self.value)
    }
}

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    header: Option<String>,
    cookie: Option<String>,
    value: String,
    pool: Pool,
}

impl TryFrom<RawRule> for Rule {
    type Error = &'static str;

    fn try_from(RawRule { header, cookie, value, pool }: RawRule) -> Result<Self, Self::Error> {
        let (reason, field) = match (header, cookie) {
            (Some(name), None) => (format!("header {name}"), Field::Header(name)),
            (None, Some(name)) => (format!("cookie {name}"), Field::Cookie(name)),
            _ => return Err("a rule names either a `header` or a `cookie`"),
        };
        Ok(Self { field, value, pool, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{
        "rules": [
            { "header": "x-group", "value": "beta", "pool": "green" },
            { "cookie": "group", "value": "beta", "pool": "green" },
            { "header": "x-group", "value": "inner", "pool": "grey" }
        ],
        "otherwise": "blue"
    }"#;

    #[test]
    fn the_first_rule_that_matches_decides() {
        check(test::get("/"), "blue");
        check(test::get("/").header("X-Group", "beta"), "green");
        check(test::get("/").header("x-group", "inner"), "grey");
        check(test::get("/").cookie("group", "beta"), "green");
        check(test::get("/").header("x-group", "inner").cookie("group", "beta"), "green");
    }

    #[test]
    fn values_are_compared_whole() {
        check(test::get("/").header("x-group", "bet"), "blue");
        check(test::get("/").header("x-group", "Beta"), "blue");
        check(test::get("/").header("x-group", b"beta\xff".to_vec()), "blue");
        check(test::get("/").cookie("x-group", "beta"), "blue");
    }

    #[test]
    fn the_reason_names_the_field() {
        let answer = policy().decide(test::get("/").cookie("group", "beta"));
        assert_eq!(answer.reason(), Some("cookie group"));
    }

    #[test]
    fn a_rule_needs_one_field_and_a_pool_that_exists() {
        check_refused(
            r#"{"rules":[{"value":"a","pool":"blue"}],"otherwise":"blue"}"#,
            "either a `header` or a `cookie`",
        );
        check_refused(
            r#"{"rules":[{"header":"a","cookie":"b","value":"a","pool":"blue"}],"otherwise":"blue"}"#,
            "either a `header` or a `cookie`",
        );
        check_refused(r#"{"rules":[],"otherwise":"red"}"#, "pool `red` is not one of: blue, green, grey");
        check_refused("", "missing field `rules`");
    }

    fn policy() -> test::Configured<decide> {
        test::configure(CONFIG, POOLS).unwrap()
    }

    fn check(request: test::TestRequest, expect: &str) {
        assert_eq!(policy().decide(request).pool(), expect);
    }

    fn check_refused(config: &str, expect: &str) {
        let message = test::configure::<decide>(config, POOLS).err().unwrap();
        assert!(message.contains(expect), "{message}");
    }

    const POOLS: &[&str] = &["blue", "green", "grey"];
}
