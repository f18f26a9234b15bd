//! Ask a policy without a proxy: configure it, ask it requests, look at its decisions.
//!
//! ```
//! use std::time::Duration;
//! use switchback_policy::prelude::*;
//!
//! #[policy]
//! fn least_busy(_: &Request) -> Decision {
//!     let night = now().as_secs() % 86_400 < 6 * 3_600;
//!     let pool = Pool::all().min_by_key(|pool| pool.load().in_flight).expect("a vip has pools");
//!     if night { Decision::to("blue").because("night") } else { pool.into() }
//! }
//!
//! let policy = test::configure::<least_busy>("", &["blue", "green"]).unwrap();
//! policy.set_load("blue", Load { members: 3, in_flight: 12 });
//!
//! policy.set_now(Duration::from_secs(12 * 3_600));
//! assert_eq!(policy.decide(test::get("/")).pool(), "green");
//!
//! policy.set_now(Duration::from_secs(3 * 3_600));
//! assert_eq!(policy.decide(test::get("/")).reason(), Some("night"));
//! ```
//!
//! What the proxy would check, such as a header's characters, is not checked here.

mod answer;
mod facts;
pub(crate) mod host;
mod request;

use std::borrow::Borrow;
use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

pub use self::answer::Answer;
pub use self::request::{TestRequest, get};
use crate::log::Level;
use crate::{Load, Policy, Request, policy, pool};

/// Configures a policy with a text (or anything that prints as one) and the pools it may choose from.
///
/// # Errors
///
/// What the policy finds wrong with its configuration: the text with which the proxy would refuse it.
pub fn configure<P: Policy>(config: impl Display, pools: &[&str]) -> Result<Configured<P>, String> {
    let inputs = Rc::new(host::Inputs::default());
    let given = pools.iter().map(|&name| name.to_owned()).collect();
    let (config, pools) = inputs.during(|| policy::configure::<P>(&config.to_string(), given))?;
    Ok(Configured { config, pools, inputs })
}

/// A configured policy, and the proxy as it sees it.
///
/// Time stands still and the sequence of random numbers is the same in every run, until a test says otherwise.
pub struct Configured<P: Policy> {
    config: P::Config,
    pools: Vec<String>,
    inputs: Rc<host::Inputs>,
}

impl<P: Policy> Configured<P> {
    /// Asks for a decision.
    pub fn decide(&self, request: impl Borrow<TestRequest>) -> Answer {
        pool::reopen(self.pools.clone());
        let request = request.borrow();
        let decision = self.inputs.during(|| P::decide(&Request::new(request.facts()), &self.config));
        Answer::new(decision)
    }

    /// The pools in the policy's manifest.
    pub fn pools(&self) -> &[String] {
        &self.pools
    }

    /// Sets the clock, as time since 1970-01-01 UTC.
    pub fn set_now(&self, now: Duration) {
        self.inputs.now.set(now);
    }

    /// Starts the random sequence again from a seed. In the proxy each decision has a sequence of its own; here one
    /// runs through all of them.
    pub fn set_seed(&self, seed: u64) {
        self.inputs.seed.set(seed);
    }

    /// Sets how busy a pool of the manifest is.
    ///
    /// # Panics
    ///
    /// If the manifest does not list it.
    pub fn set_load(&self, pool: &str, load: Load) {
        let position = self.pools.iter().position(|name| name == pool);
        let position = position.unwrap_or_else(|| panic!("pool `{pool}` is not one of: {}", self.pools.join(", ")));
        self.inputs.loads.borrow_mut().insert(position as u32, load);
    }

    /// What the policy has logged so far.
    pub fn log(&self) -> Vec<(Level, String)> {
        self.inputs.log.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decision, NoConfig, log, now, random};

    #[test]
    fn what_the_proxy_would_say_is_the_test_s_to_say() {
        let policy = configure::<Curious>("", &["blue", "green"]).unwrap();
        policy.set_now(Duration::from_secs(7));
        policy.set_load("green", Load { members: 2, in_flight: 5 });
        policy.decide(get("/"));
        let expect = "now 7s, green Load { members: 2, in_flight: 5 }";
        assert_eq!(policy.log(), [(Level::Info, expect.to_owned())]);
    }

    #[test]
    fn chance_repeats_from_its_seed() {
        let policy = configure::<Curious>("", &["blue", "green"]).unwrap();
        let reasons = || [(); 3].map(|()| policy.decide(get("/")).reason().map(str::to_owned));
        policy.set_seed(1);
        let first = reasons();
        assert_ne!(first[0], first[1]);
        policy.set_seed(1);
        assert_eq!(reasons(), first);
    }

    #[test]
    fn two_policies_in_one_test_keep_to_their_own_pools() {
        let first = configure::<Curious>("", &["red", "green"]).unwrap();
        let second = configure::<Curious>("", &["green"]).unwrap();
        assert_eq!(first.decide(get("/")).pool(), "green");
        assert_eq!(second.decide(get("/")).pool(), "green");
    }

    struct Curious;

    impl Policy for Curious {
        type Config = NoConfig;
        const DESCRIPTION: &'static str = "asks everything there is to ask";

        fn decide(_: &Request<'_>, _: &NoConfig) -> Decision {
            log::info(format!("now {:?}, green {:?}", now(), crate::Pool::named("green").load()));
            Decision::to("green").because(random().to_string())
        }
    }
}
