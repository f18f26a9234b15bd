//! A decision as a test looks at it: pools by name.

use crate::{Decision, Response, Route};

/// What a policy decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    decision: Decision,
    pool: Option<String>,
}

impl Answer {
    /// Made while the policy's pools are the current ones.
    pub(super) fn new(decision: Decision) -> Self {
        let pool = match &decision {
            Decision::Route(route) => Some(route.pool.name()),
            Decision::Respond(_) => None,
        };
        Self { decision, pool }
    }

    /// The name of the pool chosen.
    ///
    /// # Panics
    ///
    /// If the policy answered the request itself.
    pub fn pool(&self) -> &str {
        self.pool.as_deref().unwrap_or_else(|| panic!("no pool was chosen: {:?}", self.decision))
    }

    /// Why, if the policy said so.
    pub fn reason(&self) -> Option<&str> {
        match &self.decision {
            Decision::Route(route) => route.reason.as_deref(),
            Decision::Respond(response) => response.reason.as_deref(),
        }
    }

    /// Which pool, and how.
    ///
    /// # Panics
    ///
    /// If the policy answered the request itself.
    pub fn route(&self) -> &Route {
        match &self.decision {
            Decision::Route(route) => route,
            Decision::Respond(response) => panic!("no pool was chosen: {response:?}"),
        }
    }

    /// The policy's own answer.
    ///
    /// # Panics
    ///
    /// If the policy chose a pool.
    pub fn response(&self) -> &Response {
        match &self.decision {
            Decision::Respond(response) => response,
            Decision::Route(route) => panic!("a pool was chosen: {route:?}"),
        }
    }
}
