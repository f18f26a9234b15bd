//! Policies compiled and staged right here, and a request as a browser sends it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

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
    Compiled { name: "bench".into(), digest: Digest::of(bytes), artifact: artifact.into() }
}

/// The engine of all pieces. Its clock stands still: the thread that advances it would be counted with them, and deadlines
/// are checked all the same.
static ENGINE: LazyLock<Engine> =
    LazyLock::new(|| Engine::with_room_for(INSTANCES).expect("this machine runs WebAssembly"));

/// Instances that pieces hold at once, and some more. Address space, of which there is less under valgrind.
const INSTANCES: u32 = 16;

/// What was compiled here: under valgrind, each takes seconds.
static ARTIFACTS: LazyLock<Mutex<HashMap<Digest, Arc<Artifact>>>> = LazyLock::new(Mutex::default);

/// A policy of these bytes that may choose among these pools, staged.
pub fn staged(name: &str, bytes: &[u8], config: &str, pools: &[String], limits: &Limits) -> Arc<Policy> {
    let digest = Digest::of(bytes);
    let mut artifacts = ARTIFACTS.lock().unwrap_or_else(PoisonError::into_inner);
    let artifact = artifacts.entry(digest).or_insert_with(|| compiled(&ENGINE, bytes).artifact).clone();
    let compiled = Compiled { name: name.into(), digest, artifact };
    Arc::new(stage(&compiled, config, pools, limits).expect("the policies in plugins/ stage"))
}

/// A policy that chooses between `blue` and `green`.
pub fn chooses(bytes: &[u8], config: &str) -> Arc<Policy> {
    chooses_within(bytes, config, &Limits::default())
}

/// The same with other limits.
pub fn chooses_within(bytes: &[u8], config: &str, limits: &Limits) -> Arc<Policy> {
    staged("bench", bytes, config, &["blue".to_owned(), "green".to_owned()], limits)
}

/// The eight header fields of a browser.
pub const FIELDS: [(&str, &str); 8] = [
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("referer", "https://shop.example/"),
    ("cookie", "uid=user-1234; group=beta; theme=dark"),
    ("sec-fetch-mode", "navigate"),
    ("cache-control", "no-cache"),
];

/// What it asks for.
pub const TARGET: &str = "/shop/cart?item=4711";

/// A request with these, and Host.
pub fn browser() -> Head {
    Head::probe("GET", TARGET, &FIELDS.map(|(name, value)| (name, value.as_bytes())))
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
