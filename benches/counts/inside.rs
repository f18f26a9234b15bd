//! What runs under callgrind: each piece, warm, so many times between two marks.

use anyhow::Result;
use switchback_benches::pieces;

/// Runs the pieces whose names hold `only`; says on stdout what the machine can do, and then of each piece how often it
/// was run.
pub(crate) fn run(only: &str) -> Result<()> {
    println!("{}", machine());
    for _ in 0..ROUNDS {
        for planned in pieces::all().into_iter().filter(|planned| planned.name.contains(only)) {
            let times = times(&planned.name);
            let mut piece = planned.make();
            // What is made once, and what grows: connections, instances, tables, room for heads.
            piece.run(times / 10 + 20);
            println!("{times}\t{}", piece.name());
            counts_begin_or_end_here();
            piece.run(times);
            counts_begin_or_end_here();
        }
    }
    Ok(())
}

/// How often each piece is made anew. Hash tables have other seeds each time, and memory that is asked for lies elsewhere:
/// that alone makes some percent. The least of three hardly differs.
const ROUNDS: usize = 3;

/// Where callgrind writes down what it has counted, and begins anew: told so by this name.
#[inline(never)]
fn counts_begin_or_end_here() {
    // Without it, nothing would be left of the call.
    std::hint::black_box(());
}

/// So often that what happens once in a while (a date is written anew each second) does not matter, and not more: each
/// instruction takes fifty times as long.
fn times(name: &str) -> u64 {
    match name.split('/').next() {
        // Each client asks its part of them, and all are to be warm after a tenth.
        Some("exchange") if name.contains("clients") => 1600,
        Some("exchange") => 400,
        _ if name.contains("fresh") => 100,
        _ => 2000,
    }
}

/// What the compilers of policies, and the libraries that ask at run time, find here: they choose instructions by it.
/// Under valgrind it is what valgrind can do, on all machines that can do as much.
fn machine() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        let has = [
            ("sse4.2", std::arch::is_x86_feature_detected!("sse4.2")),
            ("avx2", std::arch::is_x86_feature_detected!("avx2")),
            ("bmi2", std::arch::is_x86_feature_detected!("bmi2")),
            ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
            ("sha", std::arch::is_x86_feature_detected!("sha")),
        ];
        let has: Vec<&str> = has.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
        format!("{} {}", std::env::consts::ARCH, has.join(" "))
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::env::consts::ARCH.to_owned()
}
