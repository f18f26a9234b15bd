//! What `#[policy]` makes of a function, and how it is configured.
//!
//! Between the contract's `configure` and the policy's own types: text becomes a configuration, and the pools named in
//! it become the manifest. The same code runs in the proxy and under the test kit.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Decision, Request, pool};

/// A function from a request to a decision, with its configuration.
///
/// Implemented by [`#[policy]`](crate::policy), for a type named after the function.
pub trait Policy {
    /// What the configuration text is read into.
    type Config: DeserializeOwned;

    /// One line for people: what this policy does.
    const DESCRIPTION: &'static str;

    /// Decides on one request.
    fn decide(request: &Request<'_>, config: &Self::Config) -> Decision;
}

/// The configuration of a policy that has none: a setting that nobody reads is a mistake.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// Reads the configuration. Answers with it and with the pools that the manifest is to list.
pub(crate) fn configure<P: Policy>(text: &str, given: Vec<String>) -> Result<(P::Config, Vec<String>), String> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    pool::open(given);
    let config = serde_json::from_str(text).map_err(|error| error.to_string());
    let declared = pool::close();
    Ok((config?, declared?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pool;

    #[test]
    fn no_text_is_an_empty_configuration() {
        assert!(configure::<Plain>("", given()).is_ok());
        assert!(configure::<Plain>(" \n", given()).is_ok());
        assert!(configure::<Plain>("{}", given()).is_ok());
    }

    #[test]
    fn a_configuration_nobody_reads_is_refused() {
        let error = configure::<Plain>(r#"{"pool":"blue"}"#, given()).unwrap_err();
        assert_eq!(error, "unknown field `pool`, there are no fields at line 1 column 7");
    }

    #[test]
    fn without_a_pool_in_the_configuration_the_manifest_lists_all() {
        assert_eq!(configure::<Plain>("", given()).unwrap().1, ["blue", "green"]);
    }

    #[test]
    fn the_manifest_lists_the_pools_named_once_each_in_the_order_met() {
        let (config, declared) = configure::<Choosy>(r#"{"pools":["green","blue","green"]}"#, given()).unwrap();
        assert_eq!(declared, ["green", "blue"]);
        assert_eq!(config.pools[0], config.pools[2]);

        let (_, declared) = configure::<Choosy>(r#"{"pools":["green"],"last":"green"}"#, given()).unwrap();
        assert_eq!(declared, ["green"]);
    }

    #[test]
    fn a_pool_that_was_not_given_is_refused() {
        let error = configure::<Choosy>(r#"{"pools":["red"]}"#, given()).err().unwrap();
        assert_eq!(error, "pool `red` is not one of: blue, green at line 1 column 16");
    }

    #[test]
    fn a_default_pool_that_was_not_given_is_refused_when_used() {
        assert!(configure::<Choosy>(r#"{"pools":[],"last":"green"}"#, vec!["green".to_owned()]).is_ok());
        let error = configure::<Choosy>(r#"{"pools":[]}"#, vec!["green".to_owned()]).err().unwrap();
        assert_eq!(error, "pool `blue` is not one of: green");
    }

    struct Plain;

    impl Policy for Plain {
        type Config = NoConfig;
        const DESCRIPTION: &'static str = "plain";

        fn decide(_: &Request<'_>, _: &NoConfig) -> Decision {
            unreachable!("only configured")
        }
    }

    struct Choosy;

    #[derive(Debug, Deserialize)]
    struct Pools {
        pools: Vec<Pool>,
        #[serde(default = "blue", rename = "last")]
        _last: Pool,
    }

    fn blue() -> Pool {
        Pool::named("blue")
    }

    impl Policy for Choosy {
        type Config = Pools;
        const DESCRIPTION: &'static str = "choosy";

        fn decide(_: &Request<'_>, _: &Pools) -> Decision {
            unreachable!("only configured")
        }
    }

    fn given() -> Vec<String> {
        vec!["blue".to_owned(), "green".to_owned()]
    }
}
