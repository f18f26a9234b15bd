//! Pools as a policy sees them: names in its configuration, handles from then on.
//!
//! While a policy is configured, a directory notes every name that becomes a handle, and refuses those that the proxy
//! did not give. What it noted is the manifest's list, and a handle is a position in that list: at the request no name
//! is compared.

use std::cell::RefCell;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::{Load, answerer};

/// One of the pools that this policy chooses from.
///
/// Read it from the configuration, where it is the pool's name. A name that is not among the vip's pools refuses the
/// configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pool(u32);

impl Pool {
    /// The pool of that name.
    ///
    /// In a configuration's default, it declares the pool like a name in the text does. Say so field by field,
    /// `#[serde(default = "...")]`: a default for the whole struct declares pools that the text then replaces.
    ///
    /// While deciding, it is looked up among the pools declared.
    ///
    /// # Panics
    ///
    /// While deciding, if no such pool was declared.
    pub fn named(name: &str) -> Self {
        DIRECTORY.with_borrow_mut(|directory| directory.find(name).unwrap_or_else(|message| directory.refuse(message)))
    }

    /// The pools that this policy declared, in that order: those in its configuration, or else all it was given.
    pub fn all() -> impl Iterator<Item = Self> {
        let count = DIRECTORY.with_borrow(|directory| directory.declared.len());
        (0..count as u32).map(Self)
    }

    /// Its name.
    pub fn name(self) -> String {
        DIRECTORY.with_borrow(|directory| directory.declared[self.0 as usize].clone())
    }

    /// How busy it is at this moment. Nothing while the policy is being configured.
    pub fn load(self) -> Load {
        answerer::pool_load(self.0)
    }

    /// Its position in the manifest's list.
    #[cfg(target_family = "wasm")]
    pub(crate) fn position(self) -> u32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Pool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        DIRECTORY.with_borrow_mut(|directory| directory.find(&name)).map_err(D::Error::custom)
    }
}

impl From<&str> for Pool {
    fn from(name: &str) -> Self {
        Self::named(name)
    }
}

/// Begins the configuration of a policy which may choose from the pools given.
pub(crate) fn open(given: Vec<String>) {
    DIRECTORY.set(Directory { given: Some(given), ..Directory::default() });
}

/// Ends the configuration and answers with the pools declared, or with why there is none.
pub(crate) fn close() -> Result<Vec<String>, String> {
    DIRECTORY.with_borrow_mut(|directory| {
        let given = directory.given.take().unwrap_or_default();
        if directory.declared.is_empty() {
            directory.declared = given;
        }
        directory.refusal.take().map_or_else(|| Ok(directory.declared.clone()), Err)
    })
}

/// Makes the pools declared by an earlier configuration the current ones again.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn reopen(declared: Vec<String>) {
    DIRECTORY.set(Directory { declared, ..Directory::default() });
}

thread_local! {
    /// A guest has one thread and is configured once; natively each test has a thread of its own.
    static DIRECTORY: RefCell<Directory> = const { RefCell::new(Directory { given: None, declared: Vec::new(), refusal: None }) };
}

#[derive(Default)]
struct Directory {
    /// The pools that may be declared; none once the configuration is over.
    given: Option<Vec<String>>,
    /// The names behind the handles.
    declared: Vec<String>,
    /// What was wrong with a default: serde does not let a default fail.
    refusal: Option<String>,
}

impl Directory {
    fn find(&mut self, name: &str) -> Result<Pool, String> {
        if let Some(position) = self.declared.iter().position(|declared| declared == name) {
            return Ok(Pool(position as u32));
        }
        let known = self.given.as_ref().unwrap_or(&self.declared);
        if self.given.is_none() || !known.iter().any(|given| given == name) {
            return Err(format!("pool `{name}` is not one of: {}", known.join(", ")));
        }
        self.declared.push(name.to_owned());
        Ok(Pool(self.declared.len() as u32 - 1))
    }

    fn refuse(&mut self, message: String) -> Pool {
        assert!(self.given.is_some(), "{message}");
        self.refusal.get_or_insert(message);
        Pool(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_pool_is_found_by_its_name() {
        reopen(vec!["blue".to_owned(), "green".to_owned()]);
        assert_eq!(Pool::named("green"), Pool(1));
        assert_eq!(Pool::named("green").name(), "green");
        assert_eq!(Pool::all().collect::<Vec<_>>(), [Pool(0), Pool(1)]);
    }

    #[test]
    #[should_panic(expected = "pool `red` is not one of: blue, green")]
    fn an_undeclared_pool_panics_while_deciding() {
        reopen(vec!["blue".to_owned(), "green".to_owned()]);
        Pool::named("red");
    }
}
