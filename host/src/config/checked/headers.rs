//! `[vips.NAME.request_headers]` and `[vips.NAME.response_headers]`

use std::collections::BTreeMap;

use toml::Spanned;

use super::{Checker, ConfigError};
use crate::config::raw::RawHeaderRules;
use crate::proxy::header_rules;
use crate::spec::HeaderRulesSpec;

impl Checker<'_> {
    pub(super) fn header_rules(&self, raw: RawHeaderRules) -> Result<HeaderRulesSpec, ConfigError> {
        let mut remove = Vec::new();
        for text in &raw.remove {
            let name = header_rules::name(text.as_ref());
            let name = name.or_else(|error| self.wrong("remove", text.span().start, error.to_string()))?;
            if remove.iter().any(|known| known == name.as_str()) {
                return self.wrong("remove", text.span().start, format!("`{name}` is there twice"));
            }
            remove.push(name.as_str().to_owned());
        }
        Ok(HeaderRulesSpec { remove, set: self.fields("set", raw.set)?, add: self.fields("add", raw.add)? })
    }

    fn fields(
        &self,
        table: &str,
        raw: BTreeMap<Spanned<String>, Spanned<String>>,
    ) -> Result<BTreeMap<String, String>, ConfigError> {
        let mut fields = BTreeMap::new();
        for (text, value) in raw {
            let at = text.span().start;
            let field = header_rules::field(text.as_ref(), value.as_ref());
            let (name, _) = field.or_else(|error| self.wrong(table, at, error.to_string()))?;
            // TOML tells cases apart, HTTP does not.
            if fields.insert(name.as_str().to_owned(), value.into_inner()).is_some() {
                return self.wrong(table, at, format!("`{name}` is there twice"));
            }
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, parse};

    fn vip(rest: &str) -> String {
        format!("[pools.blue]\nmembers = []\n[vips.v]\nlisten = '127.0.0.1:1'\npool = 'blue'\n{rest}")
    }

    #[test]
    fn rules_are_kept_as_fields_are_named() {
        let config = parse(&vip(
            "[vips.v.request_headers]\nset = { X-Env = 'prod', x-empty = '' }\nadd = { X-Seen-By = 'a, b' }\nremove = ['X-Debug']\n[vips.v.response_headers]\nremove = ['Server']",
        ));
        let vip = &config.unwrap().desired.vips["v"];
        let pairs = |fields: &[(&str, &str)]| fields.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        assert_eq!(vip.request_headers.set, pairs(&[("x-env", "prod"), ("x-empty", "")]));
        assert_eq!(vip.request_headers.add, pairs(&[("x-seen-by", "a, b")]));
        assert_eq!((&*vip.request_headers.remove[0], &*vip.response_headers.remove[0]), ("x-debug", "server"));
    }

    #[test]
    fn a_rule_that_cannot_be_is_refused() {
        for table in ["request_headers", "response_headers"] {
            let refuse = |rule: &str, expected: &str| {
                check(&vip(&format!("[vips.v.{table}]\n{rule}")), &format!("/etc/x.toml:7: vips.v.{table}.{expected}"));
            };
            refuse("set = { 'a b' = '1' }", "set: header name `a b` is not a token");
            refuse("remove = ['']", "remove: header name `` is not a token");
            refuse(
                "set = { Content-Length = '1' }",
                "set: header `content-length` may not be set, added or removed: it frames the message or belongs to the connection",
            );
            refuse(
                "remove = ['Transfer-Encoding']",
                "remove: header `transfer-encoding` may not be set, added or removed: it frames the message or belongs to the connection",
            );
            refuse(
                "add = { Connection = 'close' }",
                "add: header `connection` may not be set, added or removed: it frames the message or belongs to the connection",
            );
            refuse(
                r#"add = { x-a = "a\r\nb: c" }"#,
                "add: the value of header `x-a` holds what a header may not carry, or begins or ends with a space",
            );
            refuse("set = { x-a = '1', X-A = '2' }", "set: `x-a` is there twice");
            refuse("remove = ['x-a', 'X-A']", "remove: `x-a` is there twice");
        }
    }
}
