//! Sends a steady share of clients to the canary pool.
//!
//! A client is known by a cookie or a header, or else by its address, and stays on its side: raising the percentage
//! moves clients from stable to canary and none the other way. Everything has a default, these:
//!
//! ```json
//! { "stable": "blue", "canary": "green", "percent": 20, "sticky": { "cookie": "uid" }, "salt": "canary" }
//! ```
//!
//! `sticky` may also be `{ "header": "x-user" }` or `"client-address"`. Another `salt` picks other clients.

use switchback_policy::prelude::*;

/// Which share of which clients goes where.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default = "blue")]
    stable: Pool,
    #[serde(default = "green")]
    canary: Pool,
    #[serde(default)]
    percent: Percent,
    #[serde(default)]
    sticky: Sticky,
    #[serde(default = "salt")]
    salt: String,
}

#[policy]
fn decide(request: &Request, config: &Config) -> Decision {
    if share::of(config.sticky.key(request), &config.salt) < config.percent.0 / 100.0 {
        Decision::to(config.canary).because("canary")
    } else {
        Decision::to(config.stable).because("stable")
    }
}

/// What a client is known by.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Sticky {
    Cookie(String),
    Header(String),
    ClientAddress,
}

impl Sticky {
    fn key(&self, request: &Request) -> Value {
        let key = match self {
            Self::Cookie(name) => request.cookie(name),
            Self::Header(name) => request.header(name),
            Self::ClientAddress => None,
        };
        key.unwrap_or_else(|| request.client_address().into())
    }
}

impl Default for Sticky {
    fn default() -> Self {
        Self::Cookie("uid".to_owned())
    }
}

#[derive(Deserialize)]
#[serde(try_from = "f64")]
struct Percent(f64);

impl TryFrom<f64> for Percent {
    type Error = String;

    fn try_from(percent: f64) -> Result<Self, String> {
        if (0.0..=100.0).contains(&percent) {
            Ok(Self(percent))
        } else {
            Err(format!("percent is 0 to 100, not {percent}"))
        }
    }
}

impl Default for Percent {
    fn default() -> Self {
        Self(20.0)
    }
}

fn blue() -> Pool {
    Pool::named("blue")
}

fn green() -> Pool {
    Pool::named("green")
}

fn salt() -> String {
    "canary".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_configuration_a_fifth_goes_to_green() {
        let canaries = canaries("");
        assert!((1_800..=2_200).contains(&canaries.len()), "{}", canaries.len());
    }

    #[test]
    fn no_percent_is_nobody_and_a_hundred_is_everybody() {
        assert_eq!(canaries(r#"{"percent":0}"#).len(), 0);
        assert_eq!(canaries(r#"{"percent":100}"#).len(), 10_000);
    }

    #[test]
    fn a_greater_percentage_keeps_the_canaries_it_had() {
        let mut before = canaries(r#"{"percent":1}"#);
        for percent in [5.0, 12.5, 50.0, 99.0] {
            let after = canaries(&format!(r#"{{"percent":{percent}}}"#));
            assert!(before.iter().all(|user| after.binary_search(user).is_ok()), "{percent}");
            before = after;
        }
    }

    #[test]
    fn a_client_is_known_by_what_the_configuration_says() {
        let half = |sticky: &str| configured(&format!(r#"{{"percent":50,"sticky":{sticky}}}"#));
        let of_user =
            |policy: &test::Configured<decide>, request: test::TestRequest| policy.decide(request).pool().to_owned();

        let by_header = half(r#"{"header":"x-user"}"#);
        let by_address = half(r#""client-address""#);
        let header = |user: u32| test::get("/").header("x-user", user.to_string());
        let differ = |policy| (0..100).any(|user| of_user(policy, header(user)) != of_user(policy, header(0)));
        assert!(differ(&by_header));
        assert!(!differ(&by_address));
    }

    #[test]
    fn a_client_without_the_cookie_is_known_by_its_address() {
        let policy = configured(r#"{"percent":50}"#);
        let pool = |address: u32| {
            policy.decide(test::get("/").client_address(&format!("192.0.2.{address}"))).pool().to_owned()
        };
        assert!((0..100).any(|address| pool(address) != pool(0)));
        assert_eq!(pool(7), pool(7));
    }

    #[test]
    fn the_reason_says_which() {
        let policy = configured(r#"{"percent":100}"#);
        assert_eq!(policy.decide(test::get("/")).reason(), Some("canary"));
        let policy = configured(r#"{"percent":0}"#);
        assert_eq!(policy.decide(test::get("/")).reason(), Some("stable"));
    }

    #[test]
    fn a_share_that_is_none_is_refused() {
        check_refused(r#"{"percent":130}"#, "percent is 0 to 100, not 130");
        check_refused(r#"{"percent":-1}"#, "percent is 0 to 100, not -1");
        check_refused(r#"{"percents":10}"#, "unknown field `percents`");
        check_refused(r#"{"canary":"red"}"#, "pool `red` is not one of: blue, green");
    }

    /// The users that go to green, sorted.
    fn canaries(config: &str) -> Vec<String> {
        let policy = configured(config);
        let users = (0..10_000).map(|user| format!("user-{user:05}"));
        users.filter(|user| policy.decide(test::get("/").cookie("uid", user)).pool() == "green").collect()
    }

    fn configured(config: &str) -> test::Configured<decide> {
        test::configure(config, &["blue", "green"]).unwrap()
    }

    fn check_refused(config: &str, expect: &str) {
        let message = test::configure::<decide>(config, &["blue", "green"]).err().unwrap();
        assert!(message.contains(expect), "{message}");
    }
}
