//! Chooses a pool by the longest matching path prefix.
//!
//! Prefixes end where a segment ends: `/shop` covers `/shop` and `/shop/cart`, not `/shopping`. Paths are compared as
//! they were sent, so `/%73hop` is not `/shop`.
//!
//! ```json
//! { "paths": { "/shop": "green", "/shop/admin": "blue" }, "otherwise": "blue" }
//! ```

use std::collections::BTreeMap;

use switchback_policy::prelude::*;

/// Which path goes where.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    paths: Paths,
    otherwise: Pool,
}

#[policy]
fn decide(request: &Request, config: &Config) -> Decision {
    let path = request.path();
    match config.paths.0.iter().find(|(prefix, _)| covers(prefix, &path)) {
        Some((prefix, pool)) => Decision::to(*pool).because(format!("path {prefix}/")),
        None => config.otherwise.into(),
    }
}

fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Prefixes without the slash at their end, longest first.
#[derive(Deserialize)]
#[serde(try_from = "BTreeMap<String, Pool>")]
struct Paths(Vec<(String, Pool)>);

impl TryFrom<BTreeMap<String, Pool>> for Paths {
    type Error = String;

    fn try_from(paths: BTreeMap<String, Pool>) -> Result<Self, String> {
        if let Some(path) = paths.keys().find(|path| !path.starts_with('/')) {
            return Err(format!("path `{path}` does not begin with `/`"));
        }
        let mut paths: Vec<_> =
            paths.into_iter().map(|(path, pool)| (path.trim_end_matches('/').to_owned(), pool)).collect();
        paths.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Ok(Self(paths))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins() {
        check("/", "blue");
        check("/shop", "green");
        check("/shop/", "green");
        check("/shop/cart", "green");
        check("/shop/admin", "grey");
        check("/shop/admin/users", "grey");
    }

    #[test]
    fn a_prefix_ends_where_a_segment_ends() {
        check("/shopping", "blue");
        check("/shop/administer", "green");
        check("/shop.html", "blue");
    }

    #[test]
    fn paths_are_compared_as_they_were_sent() {
        check("/%73hop", "blue");
        check("/Shop", "blue");
        check("/shop?page=/shop/admin", "green");
    }

    #[test]
    fn the_root_covers_everything() {
        let policy = test::configure::<decide>(r#"{"paths":{"/":"green"},"otherwise":"blue"}"#, POOLS).unwrap();
        assert_eq!(policy.decide(test::get("/")).pool(), "green");
        assert_eq!(policy.decide(test::get("/any/where")).reason(), Some("path /"));
    }

    #[test]
    fn a_path_begins_with_a_slash() {
        let message =
            test::configure::<decide>(r#"{"paths":{"shop":"green"},"otherwise":"blue"}"#, POOLS).err().unwrap();
        assert!(message.starts_with("path `shop` does not begin with `/`"), "{message}");
    }

    fn check(target: &str, expect: &str) {
        let config = r#"{ "paths": { "/shop/": "green", "/shop/admin": "grey" }, "otherwise": "blue" }"#;
        let policy = test::configure::<decide>(config, POOLS).unwrap();
        assert_eq!(policy.decide(test::get(target)).pool(), expect, "{target}");
    }

    const POOLS: &[&str] = &["blue", "green", "grey"];
}
