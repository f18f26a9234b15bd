//! The policies in `plugins/`, built, as bytes: for tests, benches and the demo.
//!
//! Each is what `cargo build` gives for `wasm32-unknown-unknown`, a bare core module that describes its component in a
//! section, unless its name says otherwise. Building them is part of building this crate.

/// A guest's bytes, by the variable that `build.rs` set.
macro_rules! guest {
    ($variable:literal) => {
        include_bytes!(env!($variable))
    };
}

/// `plugins/block`: answers 403 where any header field holds a blocked text; reads them all.
pub const BLOCK: &[u8] = guest!("POLICY_BLOCK");

/// `plugins/by-certificate`: chooses a pool by the name in the client's certificate.
pub const BY_CERTIFICATE: &[u8] = guest!("POLICY_BY_CERTIFICATE");

/// `plugins/by-cookie-and-path`: chooses a pool by the beginning of the path, or else by a cookie.
pub const BY_COOKIE_AND_PATH: &[u8] = guest!("POLICY_BY_COOKIE_AND_PATH");

/// `plugins/by-header`: chooses a pool by a header or cookie value.
pub const BY_HEADER: &[u8] = guest!("POLICY_BY_HEADER");

/// `plugins/by-header`, built for `wasm32-wasip2`: a component already, and one that imports `wasi:*`.
pub const BY_HEADER_WASIP2: &[u8] = guest!("POLICY_BY_HEADER_WASIP2");

/// `plugins/by-path`: chooses a pool by the longest matching path prefix.
pub const BY_PATH: &[u8] = guest!("POLICY_BY_PATH");

/// `plugins/canary`: sends a steady share of clients to the canary pool; works without a configuration.
pub const CANARY: &[u8] = guest!("POLICY_CANARY");

/// `plugins/label`: one pool, and fields of requests and answers.
pub const LABEL: &[u8] = guest!("POLICY_LABEL");

/// `plugins/time-limit`: one pool; members have as long as a field of the request says, and a key may come from another.
pub const TIME_LIMIT: &[u8] = guest!("POLICY_TIME_LIMIT");

/// Policies that misbehave.
///
/// Those that do so while deciding behave for the first 16 decisions of an instance, or `{ "after": N }`. All but those
/// that never configure accept any JSON object as their configuration.
pub mod faulty {
    /// Decides what no proxy may do: `{ "answer": "huge-headers" }`, `bad-header-name`, `bad-header-value`, `status-42`
    /// or `huge-body`; without it all of them in that order, again and again.
    pub const ABSURD_ANSWERS: &[u8] = guest!("FAULTY_ABSURD_ANSWERS");

    /// Refuses every configuration, for a reason full of control characters.
    pub const CONFIGURE_FAILS: &[u8] = guest!("FAULTY_CONFIGURE_FAILS");

    /// Never finishes configuring.
    pub const CONFIGURE_LOOPS: &[u8] = guest!("FAULTY_CONFIGURE_LOOPS");

    /// Never finishes deciding.
    pub const ENDLESS_LOOP: &[u8] = guest!("FAULTY_ENDLESS_LOOP");

    /// Is a policy that also imports `evil:host/exec@1.0.0`.
    pub const FORBIDDEN_IMPORT: &[u8] = guest!("FAULTY_FORBIDDEN_IMPORT");

    /// Takes memory until it is refused, and traps then.
    pub const MEMORY_HOARD: &[u8] = guest!("FAULTY_MEMORY_HOARD");

    /// Behaves, in the contract's first words: no `brief`.
    pub const LONGHAND: &[u8] = guest!("FAULTY_LONGHAND");

    /// Asks for the whole request twice; with `{ "when": "configure" }` it looks something up before there is one, with
    /// `{ "expects": 3 }` or `"long"` it expects more than a host takes.
    pub const OUT_OF_TURN: &[u8] = guest!("FAULTY_OUT_OF_TURN");

    /// Recurses without end.
    pub const STACK_OVERFLOW: &[u8] = guest!("FAULTY_STACK_OVERFLOW");

    /// Panics, with a message that says so.
    pub const TRAP: &[u8] = guest!("FAULTY_TRAP");

    /// Decides for a position outside its manifest; with `{ "when": "configure" }` the manifest lists `no-such-pool`.
    pub const UNKNOWN_POOL: &[u8] = guest!("FAULTY_UNKNOWN_POOL");

    /// Tells in `x-witness` and in the log by what it was to decide: clock, chance, load. Panics then.
    pub const WITNESS: &[u8] = guest!("FAULTY_WITNESS");

    /// Is no policy: exports `greet`.
    pub const WRONG_WORLD: &[u8] = guest!("FAULTY_WRONG_WORLD");

    /// Not WebAssembly, from the first byte on.
    pub const GARBAGE: &[u8] = &garbage();

    /// Begins like a module, and is garbage from there.
    pub const GARBAGE_AFTER_HEADER: &[u8] = &garbage_after_header();

    /// The first half of `BY_HEADER`: an upload that broke off.
    pub const TRUNCATED: &[u8] = super::BY_HEADER.split_at(super::BY_HEADER.len() / 2).0;

    const GARBAGE_BYTES: usize = 4096;

    /// Xorshift: the same noise in every build.
    const fn garbage() -> [u8; GARBAGE_BYTES] {
        let mut noise = [0; GARBAGE_BYTES];
        let mut state: u32 = 2013;
        let mut position = 0;
        while position < GARBAGE_BYTES {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            noise[position] = (state >> 24) as u8;
            position += 1;
        }
        noise
    }

    const fn garbage_after_header() -> [u8; GARBAGE_BYTES] {
        const HEADER: [u8; 8] = *b"\0asm\x01\0\0\0";
        let mut noise = garbage();
        let mut position = 0;
        while position < HEADER.len() {
            noise[position] = HEADER[position];
            position += 1;
        }
        noise
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &[u8] = b"\0asm\x01\0\0\0";
    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn guests_are_modules_and_those_for_wasip2_components() {
        for module in [BY_HEADER, BY_PATH, CANARY, faulty::TRAP, faulty::WRONG_WORLD, faulty::GARBAGE_AFTER_HEADER] {
            assert!(module.starts_with(MODULE));
        }
        assert!(BY_HEADER_WASIP2.starts_with(COMPONENT));
    }

    #[test]
    fn garbage_is_none_of_them() {
        assert!(!faulty::GARBAGE.starts_with(b"\0asm"));
        assert!(BY_HEADER.starts_with(faulty::TRUNCATED) && faulty::TRUNCATED.len() < BY_HEADER.len());
    }
}
