//! One decision: the call into the policy with its lookups, and the check of the answer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use switchback::policy::wasm::Inputs;
use switchback::policy::{Limits, Policy};
use switchback_plugins as plugins;

use crate::Planned;
use crate::policies::{ALL_HEADERS, TWO_LOOKUPS, browser, chooses, chooses_within};

/// `by-path` with two prefixes, of which the second fits.
const BY_PATH: &str = r#"{ "paths": { "/shop/admin": "blue", "/shop": "green" }, "otherwise": "blue" }"#;

/// `label` with a field set on the request, one removed, and one added to the answer.
const LABEL: &str =
    r#"{ "pool": "blue", "set": { "x-side": "blue" }, "remove": ["x-debug"], "add": { "x-served-by": "blue" } }"#;

/// By what is read, and by what it was built for; a fresh instance for each.
pub fn pieces() -> Vec<Planned> {
    vec![
        live("live, two lookups", plugins::BY_HEADER, TWO_LOOKUPS),
        live("live, two lookups, wasip2", plugins::BY_HEADER_WASIP2, TWO_LOOKUPS),
        live("live, canary by cookie", plugins::CANARY, ""),
        live("live, path prefix", plugins::BY_PATH, BY_PATH),
        live("live, all headers read", plugins::BLOCK, ALL_HEADERS),
        live("live, fields set", plugins::LABEL, LABEL),
        fresh("fresh, configured, two lookups", plugins::BY_HEADER, TWO_LOOKUPS),
        fresh("fresh, configured, two lookups, wasip2", plugins::BY_HEADER_WASIP2, TWO_LOOKUPS),
    ]
}

/// The same two lookups in JavaScript, where somebody has run `languages/build`: what it needs is too large to come with each
/// build.
pub fn languages() -> Vec<Planned> {
    let built = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/languages/built/javascript.wasm"));
    let Ok(bytes) = std::fs::read(built) else { return Vec::new() };
    let bytes: &'static [u8] = bytes.leak();
    let staged = move || chooses_within(bytes, TWO_LOOKUPS, &roomy());
    vec![
        Planned::new("decision/live, two lookups, JavaScript", move || decides(&staged())),
        Planned::new("decision/fresh, configured, two lookups, JavaScript", move || decides_afresh(staged())),
    ]
}

/// As much as the host gives to anybody.
fn roomy() -> Limits {
    Limits { deadline: Duration::from_secs(1), memory_bytes: 64 * 1024 * 1024, ..Limits::default() }
}

fn live(name: &str, bytes: &'static [u8], config: &'static str) -> Planned {
    Planned::new(format!("decision/{name}"), move || decides(&chooses(bytes, config)))
}

fn fresh(name: &str, bytes: &'static [u8], config: &'static str) -> Planned {
    Planned::new(format!("decision/{name}"), move || decides_afresh(chooses(bytes, config)))
}

fn decides(policy: &Policy) -> impl FnMut(u64) + use<> {
    let mut instance = policy.instance().expect("it was staged");
    let mut head = Some(Box::new(browser()));
    move |times| {
        for _ in 0..times {
            let asked = head.take().expect("the head comes back");
            let (back, answer) = instance.decide(asked, Inputs::default());
            head = Some(back);
            answer.expect("it decides");
        }
    }
}

fn decides_afresh(policy: Arc<Policy>) -> impl FnMut(u64) {
    let mut head = Some(Box::new(browser()));
    move |times| {
        for _ in 0..times {
            let mut instance = policy.instance().expect("it was staged");
            let asked = head.take().expect("the head comes back");
            let (back, answer) = instance.decide(asked, Inputs::default());
            head = Some(back);
            answer.expect("it decides");
        }
    }
}
