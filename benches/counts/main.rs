//! Counts the instructions of each piece of the request line, and compares them with what they were.
//!
//! Times differ from one run to the next by more than most changes do; instructions hardly do. They are counted by
//! valgrind's callgrind, which runs this same program once more and has it say where a piece begins and ends. What the
//! kernel does is not in them: a system call is one instruction here.

#![allow(clippy::print_stdout, reason = "its results go to stdout")]

mod callgrind;
mod inside;
mod record;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Parser;

use crate::callgrind::Counted;
use crate::record::Record;

/// Counts the instructions of each piece of the request line, and compares them with counts.toml
///
/// Needs valgrind. Build it with optimisation, as what is served with is: cargo run --release -p switchback-benches --bin
/// switchback-counts
#[derive(Parser)]
struct Args {
    /// Takes what is found now as what is right, and writes it to counts.toml
    #[arg(long)]
    accept: bool,
    /// Counts only pieces whose names hold this text
    #[arg(long, default_value = "")]
    only: String,
    /// Counts so many times, each in a process of its own, and shows how much the counts differ
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    runs: u8,
    /// Keeps what callgrind wrote in this folder, one file for each piece: for callgrind_annotate and KCachegrind
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Is the program that callgrind runs
    #[arg(long, hide = true)]
    inside: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if args.inside {
        return inside::run(&args.only);
    }
    if cfg!(debug_assertions) {
        bail!("expected a program that was built with --release, got one without optimisation");
    }
    let mut runs = Vec::new();
    for _ in 0..args.runs {
        runs.push(callgrind::count(&args.only, args.keep.as_deref())?);
    }
    if args.runs > 1 {
        show_spread(&runs);
    }
    let counted = runs.pop().expect("one run at least");
    if args.accept {
        return Record::accept(&counted, args.only.is_empty());
    }
    Record::read()?.compare(&counted, args.only.is_empty())
}

/// How much the counts of each piece differ.
fn show_spread(runs: &[Counted]) {
    println!("least      most       spread    piece");
    for name in runs[0].instructions.keys() {
        let counts = runs.iter().filter_map(|run| run.instructions.get(name));
        let (least, most) = (counts.clone().min().expect("it was counted"), counts.max().expect("it was counted"));
        let spread = (most - least) as f64 * 100.0 / *least as f64;
        println!("{least:<10} {most:<10} {spread:>6.3} %  {name}");
    }
}
