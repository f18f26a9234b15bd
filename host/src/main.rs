//! The `switchback` program: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    switchback::cli::main()
}
