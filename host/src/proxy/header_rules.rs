//! What the configuration does to header fields on their way through a vip: take away, set, add.
//!
//! Names and values are made once for each release. What a rule may name is said here, for the check of the
//! configuration; what a policy may do to fields is in `policy::answer`, with the same names refused.

use std::collections::BTreeMap;

use hyper::header::{HeaderName, HeaderValue};

use super::fields::Fields;
use crate::policy::answer::is_reserved;
use crate::spec::HeaderRulesSpec;

/// Changes to header fields, ready to be made.
#[derive(Debug, Default)]
pub struct HeaderRules {
    remove: Box<[HeaderName]>,
    set: Box<[(HeaderName, HeaderValue)]>,
    add: Box<[(HeaderName, HeaderValue)]>,
}

/// What is wrong with a rule.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongRule {
    /// Not a token (RFC 9110, 5.1).
    #[error("header name `{0}` is not a token")]
    Name(String),
    /// The field frames the message or belongs to the connection: it is the proxy's alone.
    #[error("header `{0}` may not be set, added or removed: it frames the message or belongs to the connection")]
    Reserved(HeaderName),
    /// Not a field value (RFC 9110, 5.5).
    #[error("the value of header `{0}` holds what a header may not carry, or begins or ends with a space")]
    Value(HeaderName),
}

impl HeaderRules {
    /// Makes the rules that `spec` describes.
    pub fn new(spec: &HeaderRulesSpec) -> Self {
        // The check of the configuration lets nothing through that would be left out here: only a journal that was
        // edited by hand can hold it, and that must not stop the host.
        let fields = |fields: &BTreeMap<String, String>| {
            fields.iter().filter_map(|(name, text)| field(name, text).ok()).collect()
        };
        Self {
            remove: spec.remove.iter().filter_map(|text| name(text).ok()).collect(),
            set: fields(&spec.set),
            add: fields(&spec.add),
        }
    }

    /// Makes the changes: first fields are removed, then set, then added.
    pub fn apply(&self, fields: &mut Fields) {
        for name in &self.remove {
            fields.remove(name);
        }
        for (name, value) in &self.set {
            fields.insert(name, value);
        }
        for (name, value) in &self.add {
            fields.append(name, value);
        }
    }
}

/// The name of a field that a rule may change.
///
/// # Errors
/// Why this is none.
pub fn name(text: &str) -> Result<HeaderName, WrongRule> {
    let name = HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| WrongRule::Name(crate::policy::text::printable(text).into_owned()))?;
    if is_reserved(&name) { Err(WrongRule::Reserved(name)) } else { Ok(name) }
}

/// A field that a rule may set or add.
///
/// # Errors
/// Why this is none.
pub fn field(name: &str, text: &str) -> Result<(HeaderName, HeaderValue), WrongRule> {
    let name = self::name(name)?;
    match HeaderValue::from_str(text) {
        // Space around a value is not part of it: readers take it away.
        Ok(value) if !text.starts_with([' ', '\t']) && !text.ends_with([' ', '\t']) => Ok((name, value)),
        _ => Err(WrongRule::Value(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &HeaderRules, before: &[(&'static str, &'static str)], after: &[(&str, &str)]) {
        let mut fields = Fields::default();
        for (name, value) in before {
            fields.append(HeaderName::from_static(name), *value);
        }
        rules.apply(&mut fields);
        let mut fields: Vec<_> = fields.iter().map(|(name, value)| (name, value.to_str().expect("ASCII"))).collect();
        fields.sort_unstable();
        assert_eq!(fields, after);
    }

    fn table(fields: &[(&str, &str)]) -> BTreeMap<String, String> {
        fields.iter().map(|&(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn fields_are_removed_then_set_then_added() {
        let rules = HeaderRules::new(&HeaderRulesSpec {
            remove: vec!["Server".into(), "x-a".into(), "x-not-there".into()],
            set: table(&[("x-a", "set"), ("x-b", "set")]),
            add: table(&[("X-B", "added"), ("x-c", "added")]),
        });
        check(
            &rules,
            &[("server", "x"), ("x-a", "1"), ("x-a", "2"), ("x-b", "1"), ("x-b", "2"), ("x-c", "1"), ("x-d", "1")],
            &[("x-a", "set"), ("x-b", "added"), ("x-b", "set"), ("x-c", "1"), ("x-c", "added"), ("x-d", "1")],
        );
    }

    #[test]
    fn no_rules_change_nothing() {
        check(&HeaderRules::new(&HeaderRulesSpec::default()), &[("x-a", "1")], &[("x-a", "1")]);
    }

    #[test]
    fn what_no_rule_may_say_is_named_and_never_done() {
        let wrong = |name: &str, value: &str| field(name, value).unwrap_err().to_string();
        assert_eq!(wrong("a b", "1"), "header name `a b` is not a token");
        for name in ["Host", "content-length", "Connection", "transfer-encoding", "proxy-connection"] {
            let expected = format!(
                "header `{}` may not be set, added or removed: it frames the message or belongs to the connection",
                name.to_ascii_lowercase()
            );
            assert_eq!(wrong(name, "1"), expected);
        }
        for value in ["a\r\nb: c", "a\0", " a", "a\t"] {
            let expected =
                "the value of header `x-a` holds what a header may not carry, or begins or ends with a space";
            assert_eq!(wrong("X-A", value), expected);
        }
        let rules = HeaderRules::new(&HeaderRulesSpec {
            remove: vec!["host".into()],
            set: table(&[("x-a", "a\nb")]),
            add: table(&[("upgrade", "h2c")]),
        });
        check(&rules, &[("host", "a")], &[("host", "a")]);
    }
}
