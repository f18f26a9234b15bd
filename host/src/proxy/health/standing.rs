//! What is believed of one member, and what changes it.
//!
//! Results go in, changes come out; no clock and no network is here. The first result decides at once, as nothing is known
//! that it could contradict; later it takes as many in a row as the check says, so that one lost packet does not take
//! a member out, and one lucky answer does not bring it back.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::probe::Sick;
use crate::spec::check::CheckSpec;

/// Whether a member is fit to serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It has not been asked yet.
    #[default]
    Unknown,
    /// It does not answer as expected.
    Sick,
    /// It does.
    Healthy,
}

/// A member's health, and the results that speak against it.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    health: Health,
    contrary: u32,
}

/// A member's health is another one than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// What was believed.
    pub from: Health,
    /// What is believed now.
    pub to: Health,
    /// Why.
    pub reason: Reason,
}

/// What changed a member's health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Results in a row.
    pub results: u32,
    /// The last of them.
    pub last: Result<(), Sick>,
}

impl Standing {
    /// What is believed.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Whether the last result spoke against it, and more are needed.
    pub fn is_in_doubt(&self) -> bool {
        self.contrary > 0
    }

    /// Weighs a result; answers what has changed by it.
    pub fn weigh(&mut self, result: &Result<(), Sick>, check: &CheckSpec) -> Option<Changed> {
        let said = if result.is_ok() { Health::Healthy } else { Health::Sick };
        if said == self.health {
            self.contrary = 0;
            return None;
        }
        self.contrary += 1;
        let enough = match self.health {
            Health::Unknown => 1,
            Health::Healthy => check.fall.get(),
            Health::Sick => check.rise.get(),
        };
        if self.contrary < enough {
            return None;
        }
        let reason = Reason { results: self.contrary, last: result.clone() };
        let from = std::mem::replace(self, Self { health: said, contrary: 0 }).health;
        Some(Changed { from, to: said, reason })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.last, self.results) {
            (Ok(()), 1) => f.write_str("a probe was answered as expected"),
            (Ok(()), results) => write!(f, "{results} probes in a row were answered as expected"),
            (Err(sick), 1) => sick.fmt(f),
            (Err(sick), results) => write!(f, "{results} probes in a row were bad, the last: {sick}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of results: `+` is good, `-` bad; `H` and `S` in what is expected are changes, `?` is doubt.
    fn check(results: &str, expected: &str) {
        let (mut standing, spec) = (Standing::default(), CheckSpec::default());
        let mut seen = String::new();
        for result in results.chars() {
            let before = standing.health();
            let result = if result == '+' { Ok(()) } else { Err(Sick::Refused) };
            let changed = standing.weigh(&result, &spec);
            if let Some(changed) = &changed {
                assert_eq!((changed.from, changed.to), (before, standing.health()));
                assert!(!standing.is_in_doubt());
            }
            seen.push(match changed.map(|changed| changed.to) {
                Some(Health::Healthy) => 'H',
                Some(_) => 'S',
                None if standing.is_in_doubt() => '?',
                None => '.',
            });
        }
        assert_eq!(seen, expected, "{results}");
    }

    #[test]
    fn the_first_result_decides() {
        check("+", "H");
        check("-", "S");
    }

    #[test]
    fn three_bad_results_in_a_row_make_it_sick() {
        check("+---", "H??S");
        check("+--+--+", "H??.??.");
        check("+------", "H??S...");
    }

    #[test]
    fn two_good_results_in_a_row_make_it_healthy() {
        check("-++", "S?H");
        check("-+-+-", "S?.?.");
        check("-++---++", "S?H??S?H");
    }

    #[test]
    fn a_check_may_ask_for_one_result_only() {
        let one = std::num::NonZeroU32::MIN;
        let spec = CheckSpec { rise: one, fall: one, ..CheckSpec::default() };
        let mut standing = Standing::default();
        for result in [Ok(()), Err(Sick::Refused), Ok(())] {
            assert!(standing.weigh(&result, &spec).is_some());
        }
    }

    #[test]
    fn a_reason_says_how_many_results_and_the_last() {
        let reason = |results, last| Reason { results, last }.to_string();
        assert_eq!(reason(1, Ok(())), "a probe was answered as expected");
        assert_eq!(reason(2, Ok(())), "2 probes in a row were answered as expected");
        assert_eq!(reason(1, Err(Sick::Refused)), "refused");
        assert_eq!(reason(3, Err(Sick::Refused)), "3 probes in a row were bad, the last: refused");
    }
}
