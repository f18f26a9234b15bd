//! Chooses a pool by the beginning of the path, or else by the value of a cookie.
//!
//! Prefixes are compared as text, longest first: `/beta/` covers `/beta/cart`, not `/beta` and not `/betamax`. It is
//! what `benches/peers` asks on every request, and says no more than other proxies do by their own means: no reasons.
//!
//! ```json
//! { "paths": { "/beta/": "green" }, "cookie": "pool", "values": { "green": "green" }, "otherwise": "blue" }
//! ```

use std::collections::BTreeMap;

use switchback_policy::prelude::*;

/// Which path and which value of the cookie goes where.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    paths: Prefixes,
    cookie: String,
    values: BTreeMap<String, Pool>,
    otherwise: Pool,
}

#[policy]
fn decide(request: &Request, config: &Config) -> Decision {
    if let Some(pool) = config.paths.covering(&request.path()) {
        return pool.into();
    }
    let value = request.cookie(&config.cookie);
    let chosen = value.and_then(|value| config.values.iter().find(|(name, _)| value == **name).map(|(_, pool)| *pool));
    chosen.unwrap_or(config.otherwise).into()
}

/// Longest first.
#[derive(Deserialize)]
#[serde(try_from = "BTreeMap<String, Pool>")]
struct Prefixes(Vec<(String, Pool)>);

impl Prefixes {
    fn covering(&self, path: &str) -> Option<Pool> {
        self.0.iter().find(|(prefix, _)| path.starts_with(prefix.as_str())).map(|(_, pool)| *pool)
    }
}

impl TryFrom<BTreeMap<String, Pool>> for Prefixes {
    type Error = String;

    fn try_from(paths: BTreeMap<String, Pool>) -> Result<Self, String> {
        if let Some(path) = paths.keys().find(|path| !path.starts_with('/')) {
            return Err(format!("path `{path}` does not begin with `/`"));
        }
        let mut paths: Vec<_> = paths.into_iter().collect();
        paths.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Ok(Self(paths))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_decides_by_its_whole_value() {
        check(test::get("/"), "blue");
        check(test::get("/").cookie("pool", "green"), "green");
        check(test::get("/").cookie("pool", "blue"), "blue");
        check(test::get("/").cookie("pool", "greenish"), "blue");
        check(test::get("/").cookie("xpool", "green"), "blue");
    }

    #[test]
    fn the_path_goes_before_the_cookie_and_the_longest_prefix_first() {
        check(test::get("/beta/cart"), "green");
        check(test::get("/beta/cart").cookie("pool", "blue"), "green");
        check(test::get("/beta/inner/").cookie("pool", "green"), "grey");
    }

    #[test]
    fn prefixes_are_text_as_it_was_sent() {
        check(test::get("/beta"), "blue");
        check(test::get("/betamax"), "blue");
        check(test::get("/%62eta/cart"), "blue");
        check(test::get("/shop?from=/beta/"), "blue");
    }

    #[test]
    fn a_path_begins_with_a_slash_and_a_pool_exists() {
        check_refused(r#""paths":{"beta/":"green"},"values":{}"#, "path `beta/` does not begin with `/`");
        check_refused(r#""paths":{},"values":{"green":"red"}"#, "pool `red` is not one of: blue, green, grey");
    }

    fn check(request: test::TestRequest, expect: &str) {
        let config = r#"{
            "paths": { "/beta/": "green", "/beta/inner/": "grey" },
            "cookie": "pool", "values": { "green": "green" }, "otherwise": "blue"
        }"#;
        assert_eq!(test::configure::<decide>(config, POOLS).unwrap().decide(request).pool(), expect);
    }

    fn check_refused(part: &str, expect: &str) {
        let config = format!(r#"{{{part},"cookie":"pool","otherwise":"blue"}}"#);
        let message = test::configure::<decide>(&config, POOLS).err().unwrap();
        assert!(message.contains(expect), "{message}");
    }

    const POOLS: &[&str] = &["blue", "green", "grey"];
}
