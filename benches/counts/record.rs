//! `counts.toml`: what each piece took when somebody last said that it is right.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::callgrind::Counted;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/counts/counts.toml");

/// What stands at the head of the file.
const ABOUT: &str = "# Instructions that each piece of the request line takes, counted by valgrind. Compared in .ci/run; README.md has the
# meaning of the names, and how they are counted. After a change that is meant:
#   cargo run --release -p switchback-benches --bin switchback-counts -- --accept
";

/// What is recorded.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// What the machine could do that it was counted on.
    machine: String,
    /// Percent by which a count may differ.
    tolerance: f64,
    /// The same of pieces that are less steady than others.
    #[serde(default)]
    tolerances: BTreeMap<String, f64>,
    /// Instructions by piece.
    instructions: BTreeMap<String, u64>,
}

impl Record {
    /// Reads the file.
    pub(crate) fn read() -> Result<Self> {
        let text = fs::read_to_string(PATH).with_context(|| format!("cannot read {PATH}"))?;
        toml::from_str(&text).with_context(|| format!("{PATH} is not a record"))
    }

    /// Writes what was counted as what is right. Where that is not `all` there is, the rest stays.
    pub(crate) fn accept(counted: &Counted, all: bool) -> Result<()> {
        let mut record = Self::read().unwrap_or_else(|_| Self {
            machine: String::new(),
            tolerance: 3.0,
            tolerances: BTreeMap::new(),
            instructions: BTreeMap::new(),
        });
        if all {
            record.instructions.clear();
        }
        record.machine.clone_from(&counted.machine);
        record.instructions.extend(counted.instructions.clone());
        fs::write(PATH, record.text()).with_context(|| format!("cannot write {PATH}"))?;
        println!("{} counts accepted", counted.instructions.len());
        Ok(())
    }

    /// Shows each count beside what it was. Where that is not `all` there is, nothing is said of the rest.
    ///
    /// # Errors
    /// When one differs by more than it may, either way: what has become less could creep back unseen.
    pub(crate) fn compare(&self, counted: &Counted, all: bool) -> Result<()> {
        if self.machine != counted.machine {
            println!(
                "NOT COMPARED: expected a machine that can `{}`, got one that can `{}`, where other instructions are chosen",
                self.machine, counted.machine
            );
            return Ok(());
        }
        println!("recorded   counted    change    piece");
        let mut wrong = Vec::new();
        for (name, &found) in &counted.instructions {
            let Some(&expected) = self.instructions.get(name) else {
                println!("           {found:<10}           {name}");
                wrong.push(format!("`{name}`: expected a count in the record, got {found} and none recorded"));
                continue;
            };
            let change = (found as f64 - expected as f64) * 100.0 / expected as f64;
            println!("{expected:<10} {found:<10} {change:>+6.2} %  {name}");
            let tolerance = self.tolerances.get(name).copied().unwrap_or(self.tolerance);
            if change.abs() > tolerance {
                wrong.push(format!(
                    "`{name}`: expected {expected} instructions within {tolerance} %, got {found} ({change:+.2} %)"
                ));
            }
        }
        let gone = self.instructions.keys().filter(|name| all && !counted.instructions.contains_key(*name));
        wrong.extend(gone.map(|name| format!("`{name}`: expected a piece of this name, got none")));
        if wrong.is_empty() {
            return Ok(());
        }
        bail!(
            "the request line does not cost what it did:\n  {}\nhint: if that is meant, run `cargo run --release -p \
             switchback-benches --bin switchback-counts -- --accept`, and say why in the commit",
            wrong.join("\n  ")
        );
    }

    fn text(&self) -> String {
        let Self { machine, tolerance, tolerances, instructions } = self;
        let mut text = format!("{ABOUT}machine = {machine:?}\ntolerance = {tolerance:?}\n");
        if !tolerances.is_empty() {
            text += "\n[tolerances]\n";
            for (name, percent) in tolerances {
                writeln!(text, "{name:?} = {percent:?}").expect("a text takes all");
            }
        }
        text += "\n[instructions]\n";
        for (name, count) in instructions {
            writeln!(text, "{name:?} = {count}").expect("a text takes all");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(counted: &[(&str, u64)], all: bool, expect: &[&str]) {
        let record: Record = toml::from_str(
            "machine = 'm'\ntolerance = 3.0\n[tolerances]\n'b' = 10.0\n[instructions]\n'a' = 1000\n'b' = 1000",
        )
        .expect("it is a record");
        let instructions = counted.iter().map(|&(name, count)| (name.to_owned(), count)).collect();
        let compared = record.compare(&Counted { machine: "m".into(), instructions }, all);
        let said = compared.err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(said.is_empty(), expect.is_empty(), "{said}");
        for line in expect {
            assert!(said.contains(line), "{said}");
        }
    }

    #[test]
    fn counts_within_their_tolerance_pass() {
        check(&[("a", 1030), ("b", 900)], true, &[]);
    }

    #[test]
    fn a_count_that_left_its_tolerance_is_named_either_way() {
        check(&[("a", 1031), ("b", 1000)], true, &["`a`: expected 1000 instructions within 3 %, got 1031 (+3.10 %)"]);
        check(&[("a", 960), ("b", 1000)], true, &["`a`: expected 1000 instructions within 3 %, got 960 (-4.00 %)"]);
    }

    #[test]
    fn a_piece_that_is_not_recorded_or_gone_is_named() {
        check(
            &[("a", 1000), ("c", 7)],
            true,
            &["`c`: expected a count in the record, got 7", "`b`: expected a piece of this name, got none", "--accept"],
        );
        check(&[("a", 1000)], false, &[]);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let instructions: BTreeMap<String, u64> = [("a/b, c's".to_owned(), 7)].into();
        let tolerances = [("a/b, c's".to_owned(), 5.0)].into();
        let record = Record { machine: "m".into(), tolerance: 3.0, tolerances, instructions };
        let again: Record = toml::from_str(&record.text()).expect("it is a record");
        assert_eq!((again.tolerances, again.instructions), (record.tolerances, record.instructions));
    }
}
