//! Chooses a pool by who the client has proven to be.
//!
//! Clients are known by a name in their certificate, by its subject, or by its fingerprint; the first in the
//! certificate's own order that is listed counts, names first. Whoever is not listed, or shows no certificate, goes to
//! `otherwise`, and gets a 403 where there is none. The listener must ask for certificates (`client_ca`).
//!
//! ```json
//! { "clients": { "spiffe://shop/partner": "green", "CN=monitor,O=Example": "blue" }, "otherwise": "blue" }
//! ```

use std::collections::HashMap;

use switchback_policy::prelude::*;

/// Who goes where.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    clients: HashMap<String, Pool>,
    otherwise: Option<Pool>,
}

#[policy]
fn decide(request: &Request, config: &Config) -> Decision {
    let found = request.client_certificate().and_then(|certificate| {
        let Certificate { subject, names, fingerprint } = certificate;
        let mut known_as = names.into_iter().chain([subject, fingerprint]);
        known_as.find_map(|name| config.clients.get(&name).map(|pool| (name, *pool)))
    });
    match (found, config.otherwise) {
        (Some((name, pool)), _) => Decision::to(pool).because(name),
        (None, Some(pool)) => pool.into(),
        (None, None) => Decision::respond(403).because("no certificate that is listed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_known_by_a_name_its_subject_or_its_fingerprint() {
        let by = |subject, names| test::get("/").client_certificate(subject, names);
        check(by("CN=a", &["a.example", "spiffe://shop/partner"]), "green");
        check(by("CN=monitor,O=Example", &[]), "grey");
        check(by("CN=a", &[]).fingerprint(&"ab".repeat(32)), "green");
        check(by("CN=monitor,O=Example", &["spiffe://shop/partner"]), "green");
    }

    #[test]
    fn others_go_elsewhere() {
        check(test::get("/"), "blue");
        check(test::get("/").client_certificate("CN=monitor", &["partner"]), "blue");
    }

    #[test]
    fn without_an_elsewhere_others_are_refused() {
        let policy = test::configure::<decide>(r#"{"clients":{"CN=a":"green"}}"#, &["green"]).unwrap();
        assert_eq!(policy.decide(test::get("/")).response().status, 403);
        assert_eq!(policy.decide(test::get("/").client_certificate("CN=a", &[])).reason(), Some("CN=a"));
    }

    fn check(request: test::TestRequest, expect: &str) {
        let fingerprint = "ab".repeat(32);
        let config = format!(
            r#"{{
                "clients": {{
                    "spiffe://shop/partner": "green", "CN=monitor,O=Example": "grey", "{fingerprint}": "green"
                }},
                "otherwise": "blue"
            }}"#
        );
        let policy = test::configure::<decide>(&config, &["blue", "green", "grey"]).unwrap();
        assert_eq!(policy.decide(request).pool(), expect);
    }
}
