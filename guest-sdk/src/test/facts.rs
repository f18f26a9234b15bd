//! A request's facts and the lookups into them: the contract's resource `request`, natively.
//!
//! Answers as the proxy does, by the rules in `wit/policy.wit`.

use crate::{Certificate, Field};

#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(super) method: String,
    pub(super) scheme: String,
    pub(super) authority: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
    /// Names are lower-case.
    pub(super) headers: Vec<Field>,
    pub(super) client_address: String,
    pub(super) version: String,
    pub(super) vip: String,
    pub(super) client_certificate: Option<Certificate>,
}

impl Facts {
    pub(crate) fn method(&self) -> String {
        self.method.clone()
    }

    pub(crate) fn scheme(&self) -> String {
        self.scheme.clone()
    }

    pub(crate) fn authority(&self) -> String {
        self.authority.clone()
    }

    pub(crate) fn path(&self) -> String {
        self.path.clone()
    }

    pub(crate) fn query(&self) -> Option<String> {
        self.query.clone()
    }

    pub(crate) fn query_parameter(&self, name: &str) -> Option<String> {
        let pairs = self.query.as_deref()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.map(|(key, value)| (decoded(key), value)).find(|(key, _)| key == name).map(|(_, value)| decoded(value))
    }

    pub(crate) fn header(&self, name: &str) -> Option<Vec<u8>> {
        self.values(name).next().map(<[u8]>::to_vec)
    }

    pub(crate) fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
        self.values(name).map(<[u8]>::to_vec).collect()
    }

    pub(crate) fn header_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for field in &self.headers {
            if !names.contains(&field.name) {
                names.push(field.name.clone());
            }
        }
        names
    }

    pub(crate) fn headers(&self) -> Vec<Field> {
        self.headers.clone()
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<Vec<u8>> {
        let pairs = self.values("cookie").flat_map(|value| value.split(|&byte| byte == b';'));
        pairs
            .filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
            .next()
            .map(<[u8]>::to_vec)
    }

    pub(crate) fn client_address(&self) -> String {
        self.client_address.clone()
    }

    pub(crate) fn version(&self) -> String {
        self.version.clone()
    }

    pub(crate) fn vip(&self) -> String {
        self.vip.clone()
    }

    pub(crate) fn client_certificate(&self) -> Option<Certificate> {
        self.client_certificate.clone()
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| &*field.value)
    }
}

/// `+` is a space, `%41` a byte; a `%` without two digits stays.
fn decoded(text: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        bytes.push(match (first, digit(after.first()), digit(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                rest = &after[2..];
                (high * 16 + low) as u8
            }
            (b'+', ..) => b' ',
            _ => *first,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use crate::test::get;

    #[test]
    fn query_parameters_are_decoded() {
        check_parameter("/?a=1&b=2", "b", Some("2"));
        check_parameter("/?a=1&a=2", "a", Some("1"));
        check_parameter("/?a", "a", Some(""));
        check_parameter("/?na%6de=x+y%2Bz", "name", Some("x y+z"));
        check_parameter("/?a=100%&b=%zz", "b", Some("%zz"));
        check_parameter("/?a=%ff", "a", Some("\u{fffd}"));
        check_parameter("/", "a", None);
    }

    #[test]
    fn header_names_are_compared_without_case() {
        let request = get("/").header("X-Group", "beta").header("x-group", "alpha");
        assert_eq!(request.facts().header("x-GROUP").unwrap(), b"beta");
        assert_eq!(request.facts().header_values("x-group").len(), 2);
        assert_eq!(request.facts().header_names(), ["x-group"]);
    }

    #[test]
    fn the_first_cookie_of_a_name_is_found() {
        let request = get("/").header("cookie", "uid2=no; uid=17;uid=18").cookie("late", "yes");
        assert_eq!(request.facts().cookie("uid").unwrap(), b"17");
        assert_eq!(request.facts().cookie("late").unwrap(), b"yes");
        assert_eq!(request.facts().cookie("ui"), None);
    }

    fn check_parameter(target: &str, name: &str, expect: Option<&str>) {
        assert_eq!(get(target).facts().query_parameter(name).as_deref(), expect, "{target}");
    }
}
