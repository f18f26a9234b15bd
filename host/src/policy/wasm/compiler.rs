//! The child process that compiles: a policy's bytes in on standard input, native code out on standard output.
//!
//! Compiling is outside of wasmtime's promises: a 2 MB function takes seconds and hundreds of megabytes. So it happens
//! here, where limits on time, memory and priority can end it at no other cost than a refusal.

use std::io::{self, Read, Write};

use rustix::process::{Resource, Rlimit, Signal, nice, set_parent_process_death_signal, setrlimit};
use wasmtime::Module;
use wit_component::ComponentEncoder;

use super::Engine;

/// CPU time for one policy. 45 KB take 55 ms; this leaves room for a JavaScript engine of 10 MB.
const CPU_SECONDS_MAX: u64 = 60;

/// Address space of the child. The compiler itself needs some hundred megabytes for the largest useful guests.
const ADDRESS_BYTES_MAX: u64 = 4 << 30;

/// Exit code that says "refused: the reason is on standard output".
pub const REFUSED: u8 = 3;

/// Runs the child: limits itself, reads, compiles, writes. Answers the process's exit code.
///
/// # Errors
/// When its own pipes break.
pub fn run() -> io::Result<u8> {
    limit_self()?;
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    let (code, out) = match compile(&bytes) {
        Ok(code) => (0, code),
        Err(reason) => (REFUSED, reason.into_bytes()),
    };
    io::stdout().write_all(&out)?;
    io::stdout().flush()?;
    Ok(code)
}

fn limit_self() -> io::Result<()> {
    let at_most = |max| Rlimit { current: Some(max), maximum: Some(max) };
    setrlimit(Resource::Cpu, at_most(CPU_SECONDS_MAX))?;
    setrlimit(Resource::As, at_most(ADDRESS_BYTES_MAX))?;
    setrlimit(Resource::Core, at_most(0))?;
    // Traffic goes first: a tenth of a core is what is left for this when all are busy.
    nice(10)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

/// Compiles right here, without limits: for benchmarks, and for the child that has set its own.
///
/// # Errors
/// Why there is no code.
pub fn compile(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let engine = Engine::for_compiling().map_err(|error| format!("{error:#}"))?;
    let wrapped;
    let component = if is_core_module(bytes) {
        wrapped = wrap(&engine, bytes)?;
        &wrapped
    } else {
        bytes
    };
    engine.inner().precompile_component(component).map_err(|error| format!("does not compile: {error:#}"))
}

/// Makes a component of a bare core module that carries wit-bindgen's section: what `cargo build` leaves behind.
fn wrap(engine: &Engine, module: &[u8]) -> Result<Vec<u8>, String> {
    // The encoder takes a valid module for granted, and panics at some that are not.
    Module::validate(engine.inner(), module).map_err(|error| format!("is not a valid module: {error:#}"))?;
    ComponentEncoder::default()
        .module(module)
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(|error| format!("is a core module that cannot be made a component: {error:#}"))
}

/// Whether these bytes begin a core module (layer 0) and not a component (layer 1).
fn is_core_module(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm\x01\0\0\0")
}
