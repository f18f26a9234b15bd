//! README.md where a machine can check it: its configurations are read, and its table of keys is whole.

use std::collections::BTreeSet;
use std::path::Path;

use switchback::config::Config;

#[test]
fn every_configuration_in_the_readme_is_one_that_the_host_takes() {
    let examples = examples();
    assert!(!examples.is_empty());
    for example in examples {
        parse(&example).unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
}

#[test]
fn the_example_has_every_key_of_the_table_and_the_table_every_key_of_the_example() {
    let shown: BTreeSet<String> = examples().iter().flat_map(|example| keys_of(example)).collect();
    assert_eq!(shown, table());
}

#[test]
fn the_table_has_every_key_that_the_host_knows() {
    let tables = [
        "",
        "control",
        "dns",
        "fail_back",
        "auto_back",
        "journal",
        "access_log",
        "tracing",
        "listeners.NAME",
        "vips.NAME",
        "vips.NAME.request_headers",
        "vips.NAME.response_headers",
        "vips.NAME.mirror",
        "vips.NAME.session",
        "vips.NAME.auto_back",
        "pools.NAME",
        "pools.NAME.tls",
        "pools.NAME.sticky",
        "pools.NAME.check",
        "pools.NAME.breaker",
        "pools.NAME.retries",
        "pools.NAME.limits",
        "pools.NAME.keep_alive",
        "policies.NAME",
    ];
    let known: BTreeSet<String> = tables
        .into_iter()
        .flat_map(known_keys)
        // What is in tables comes under their own names.
        .filter(|key| !tables.iter().any(|table| table == key || table.strip_suffix(".NAME") == Some(key)))
        .collect();
    assert_eq!(table(), known);
}

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The blocks of TOML.
fn examples() -> Vec<String> {
    let readme = readme();
    let blocks = readme.split("\n```toml\n").skip(1);
    blocks.map(|block| block.split("\n```").next().expect("split gives one piece at least").to_owned()).collect()
}

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/etc/switchback/switchback.toml")).map_err(|error| error.to_string())
}

/// The keys of the table, as it writes them: `pools.NAME.members`.
fn table() -> BTreeSet<String> {
    let readme = readme();
    let rows = readme.lines().skip_while(|line| !line.starts_with("| key |")).skip(2);
    let keys = rows.map_while(|row| row.strip_prefix("| `")?.split('`').next());
    keys.map(str::to_owned).collect()
}

/// The keys that a file sets, written as in the table.
fn keys_of(text: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (key, value) in text.parse::<toml::Table>().expect("the example is TOML") {
        match (key.as_str(), value) {
            ("listeners" | "vips" | "pools" | "policies", toml::Value::Table(named)) => {
                let entries = named.into_iter().filter_map(|(_, entry)| entry.as_table().cloned()).flatten();
                for (inner, value) in entries {
                    match (inner.as_str(), value) {
                        // A policy's configuration is one key, whatever is in it.
                        (_, toml::Value::Table(innermost)) if key != "policies" => {
                            keys.extend(innermost.keys().map(|innermost| format!("{key}.NAME.{inner}.{innermost}")));
                        }
                        _ => {
                            keys.insert(format!("{key}.NAME.{inner}"));
                        }
                    }
                }
            }
            (_, toml::Value::Table(inner)) => keys.extend(inner.keys().map(|inner| format!("{key}.{inner}"))),
            _ => {
                keys.insert(key);
            }
        }
    }
    keys
}

/// The keys that the host knows in a table, as it says when it is given another one.
fn known_keys(table: &str) -> BTreeSet<String> {
    let text = if table.is_empty() { "no-key = 1".to_owned() } else { format!("[{table}]\nno-key = 1") };
    let error = parse(&text).expect_err("there is no such key");
    let (_, expected) = error.split_once(", expected ").unwrap_or_else(|| panic!("{error}"));
    let prefix = if table.is_empty() { String::new() } else { format!("{table}.") };
    // What is between backquotes is every second piece.
    expected.split('`').skip(1).step_by(2).map(|key| format!("{prefix}{key}")).collect()
}
