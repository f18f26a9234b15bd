//! What the benchmarks share: policies compiled right here, and a request as a browser sends it.
//!
//! How to run them, and what they said, is in `README.md` beside this.

use std::sync::Arc;

use switchback::digest::Digest;
use switchback::policy::compile::Compiled;
use switchback::policy::stage::stage;
use switchback::policy::wasm::{Artifact, Engine, compiler};
use switchback::policy::{Limits, Policy};
use switchback::proxy::head::Head;

/// An engine whose deadlines tick, as in a host.
pub fn engine() -> Engine {
    let engine = Engine::new(1).expect("this machine runs WebAssembly");
    engine.tick();
    engine
}

/// A policy's native code.
pub fn compiled(engine: &Engine, bytes: &[u8]) -> Compiled {
    let code = compiler::compile(bytes).expect("the policies in plugins/ compile");
    let artifact = Artifact::load(engine, &code).expect("what was compiled here loads here");
    Compiled { name: "bench".into(), digest: Digest::of(bytes), artifact }
}

/// A policy that chooses between `blue` and `green`, staged.
pub fn staged(engine: &Engine, bytes: &[u8], config: &str) -> Arc<Policy> {
    let pools = ["blue".to_owned(), "green".to_owned()];
    let staged = stage(&compiled(engine, bytes), config, &pools, &Limits::default());
    Arc::new(staged.expect("the policies in plugins/ stage"))
}

/// A request with the eight header fields of a browser, and Host.
pub fn browser() -> Head {
    Head::probe(
        "GET",
        "/shop/cart?item=4711",
        &[
            ("user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
            ("accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            ("accept-language", b"en-US,en;q=0.5"),
            ("accept-encoding", b"gzip, deflate, br, zstd"),
            ("referer", b"https://shop.example/"),
            ("cookie", b"uid=user-1234; group=beta; theme=dark"),
            ("sec-fetch-mode", b"navigate"),
            ("cache-control", b"no-cache"),
        ],
    )
}

/// `by-header` with a rule on a header and one on a cookie: two lookups, of which neither matches.
pub const TWO_LOOKUPS: &str = r#"{
    "rules": [
        { "header": "x-group", "value": "green", "pool": "green" },
        { "cookie": "group", "value": "green", "pool": "green" }
    ],
    "otherwise": "blue"
}"#;

/// `block` with one text: a copy of all header fields, searched.
pub const ALL_HEADERS: &str = r#"{ "texts": ["${jndi:"], "pool": "blue" }"#;
