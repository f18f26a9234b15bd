//! The policy of the peers' table, as Envoy takes it: a proxy-wasm filter.
//!
//! It chooses by the same cookie and path as all the others there, writes the pool's name into a header, and the route is
//! found anew by it. That is how a filter chooses in Envoy: it cannot name a cluster itself.
//! `cargo build --release --manifest-path benches/peers/filter/Cargo.toml --target wasm32-unknown-unknown --target-dir target/filter`

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

/// The header by which the routes choose. Always set, so that none that a client sent is believed.
const POOL: &str = "x-pool";

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Warn);
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Exchange))
    }
}

struct Exchange;

impl Context for Exchange {}

impl HttpContext for Exchange {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        // Envoy has the route found anew by itself when a filter changes fields; asking for it would be a call more.
        self.set_http_request_header(POOL, Some(pool(self)));
        Action::Continue
    }
}

/// `green` for paths below `/beta/` and for the cookie `pool=green`, else `blue`.
fn pool(exchange: &impl HttpContext) -> &'static str {
    let is_beta = || exchange.get_http_request_header(":path").is_some_and(|path| path.starts_with("/beta/"));
    let is_named = || exchange.get_http_request_header("cookie").is_some_and(|cookies| names_green(&cookies));
    if is_beta() || is_named() { "green" } else { "blue" }
}

fn names_green(cookies: &str) -> bool {
    cookies.split(';').any(|cookie| cookie.trim() == "pool=green")
}
