//! Has callgrind run this program, and reads what it counted.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// What one run has counted.
pub(crate) struct Counted {
    /// What the machine can do, as far as counts depend on it.
    pub(crate) machine: String,
    /// Instructions of one time, by piece; the least of some rounds.
    pub(crate) instructions: BTreeMap<String, u64>,
}

/// Counts the pieces whose names hold `only`. What callgrind wrote of each is kept in `keep`.
pub(crate) fn count(only: &str, keep: Option<&Path>) -> Result<Counted> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("counted");
    let mut valgrind = Command::new("valgrind");
    // The size of the environment moves the stack, and where things lie there decides how they are copied.
    valgrind.env_clear().envs(["PATH", "VALGRIND_LIB"].iter().filter_map(|name| Some((name, env::var_os(name)?))));
    valgrind.args(["--tool=callgrind", "--quiet", "--dump-before=*counts_begin_or_end_here*"]);
    valgrind.arg(format!("--callgrind-out-file={}", file.display()));
    valgrind.arg(env::current_exe()?).args(["--inside", "--only", only]);
    let ran = valgrind.stderr(Stdio::inherit()).output().context("cannot run valgrind: is it installed?")?;
    ensure!(ran.status.success(), "the pieces did not run to their end: {}", ran.status);

    let said = String::from_utf8(ran.stdout)?;
    let mut lines = said.lines();
    let machine = lines.next().context("the run says what the machine can do")?.to_owned();
    let mut instructions = BTreeMap::<String, u64>::new();
    for (at, line) in lines.enumerate() {
        let (times, name) = line.split_once('\t').context("a line is how often, and what")?;
        // Each piece has two marks: what is written at the second one was counted since the first.
        let written = file.with_extension((at * 2 + 2).to_string());
        let text = fs::read_to_string(&written).with_context(|| format!("expected callgrind to write {name}"))?;
        let count = total(&text)? / times.parse::<u64>()?;
        let least = instructions.entry(name.to_owned()).or_insert(count);
        *least = count.min(*least);
        if let (Some(keep), true) = (keep, *least == count) {
            fs::create_dir_all(keep)?;
            fs::copy(&written, keep.join(format!("callgrind.{}", name.replace(['/', ' ', ','], "_"))))?;
        }
    }
    if instructions.is_empty() {
        bail!("no piece has a name that holds `{only}`");
    }
    Ok(Counted { machine, instructions })
}

fn total(text: &str) -> Result<u64> {
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(total.context("callgrind writes totals")?.trim().parse()?)
}
