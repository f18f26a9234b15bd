//! Builds every policy in `plugins/` for WebAssembly, and tells the library where the files are.
//!
//! A cargo inside the cargo, in the workspace's root, with the profile `guest`. Its target folder lies in the outer
//! one's, apart from debug and release: guests are built once, whatever the host is built as.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const UNKNOWN: &str = "wasm32-unknown-unknown";
const WASIP2: &str = "wasm32-wasip2";

/// Folders under `plugins/` and the packages in them.
const GUESTS: &[(&str, &str)] = &[
    ("block", "policy-block"),
    ("by-certificate", "policy-by-certificate"),
    ("by-cookie-and-path", "policy-by-cookie-and-path"),
    ("by-header", "policy-by-header"),
    ("by-path", "policy-by-path"),
    ("canary", "policy-canary"),
    ("label", "policy-label"),
    ("time-limit", "policy-time-limit"),
    ("faulty/absurd-answers", "faulty-absurd-answers"),
    ("faulty/configure-fails", "faulty-configure-fails"),
    ("faulty/configure-loops", "faulty-configure-loops"),
    ("faulty/endless-loop", "faulty-endless-loop"),
    ("faulty/forbidden-import", "faulty-forbidden-import"),
    ("faulty/longhand", "faulty-longhand"),
    ("faulty/memory-hoard", "faulty-memory-hoard"),
    ("faulty/out-of-turn", "faulty-out-of-turn"),
    ("faulty/stack-overflow", "faulty-stack-overflow"),
    ("faulty/trap", "faulty-trap"),
    ("faulty/unknown-pool", "faulty-unknown-pool"),
    ("faulty/witness", "faulty-witness"),
    ("faulty/wrong-world", "faulty-wrong-world"),
];

/// What a build may read beside the guests' own folders. Named one by one: a folder would count its every file, and
/// a change to a README would build everything again.
const SHARED: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
    "wit/policy.wit",
    "guest-sdk/Cargo.toml",
    "guest-sdk/src",
    "guest-sdk/macros/Cargo.toml",
    "guest-sdk/macros/src",
    "plugins/faulty/patience",
    "plugins/artifacts/build.rs",
];

fn main() {
    let root =
        Path::new(&variable("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("this crate is in plugins/");
    let guests = guests_folder();

    install_missing_targets(&root);
    build(&root, &guests, UNKNOWN, &GUESTS.iter().map(|(_, package)| *package).collect::<Vec<_>>());
    build(&root, &guests, WASIP2, &["policy-by-header"]);

    for (_, package) in GUESTS {
        announce(package, &guests, UNKNOWN, "");
    }
    announce("policy-by-header", &guests, WASIP2, "_WASIP2");

    let folders = GUESTS.iter().map(|(folder, _)| format!("plugins/{folder}"));
    for path in SHARED.iter().map(|&path| path.to_owned()).chain(folders) {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
}

/// `<target>/guests`. `OUT_DIR` is `<target>/[<triple>/]<profile>/build/...`.
fn guests_folder() -> PathBuf {
    let out = PathBuf::from(variable("OUT_DIR"));
    let build = out.ancestors().find(|folder| folder.ends_with("build")).expect("OUT_DIR is inside a `build` folder");
    let target = build.ancestors().nth(2).expect("`build` is two levels below the target folder");
    let target = if target.ends_with(variable("TARGET")) { target.parent().unwrap_or(target) } else { target };
    target.join("guests")
}

fn install_missing_targets(root: &Path) {
    let missing: Vec<_> = [UNKNOWN, WASIP2].into_iter().filter(|target| !installed(root, target)).collect();
    if missing.is_empty() {
        return;
    }
    // In the root, so that rustup means the toolchain that is pinned there.
    let added = Command::new("rustup").args(["target", "add"]).args(&missing).current_dir(root).status();
    assert!(
        added.is_ok_and(|status| status.success()),
        "the policies in plugins/ are built for targets that are not installed; run: rustup target add {}",
        missing.join(" ")
    );
}

fn installed(root: &Path, target: &str) -> bool {
    let libraries = Command::new(variable("RUSTC"))
        .args(["--print", "target-libdir", "--target", target])
        .current_dir(root)
        .output()
        .expect("cargo told us which rustc to run");
    libraries.status.success() && Path::new(String::from_utf8_lossy(&libraries.stdout).trim()).exists()
}

fn build(root: &Path, guests: &Path, target: &str, packages: &[&str]) {
    let mut cargo = Command::new(variable("CARGO"));
    cargo.current_dir(root).args(["build", "--locked", "--profile", "guest", "--target", target]);
    cargo.arg("--target-dir").arg(guests);
    for package in packages {
        cargo.args(["--package", package]);
    }
    for name in env::vars_os().filter_map(|(name, _)| name.into_string().ok()).filter(|name| is_for_the_host(name)) {
        cargo.env_remove(name);
    }
    let built = cargo.status().expect("cargo runs: it runs this");
    assert!(built.success(), "the policies in plugins/ do not build for {target}; see above");
}

/// Settings that are meant for the host, or wrap its compiler (clippy does): with them a guest would be built wrong, or
/// again for each of them.
fn is_for_the_host(variable: &str) -> bool {
    const NAMES: &[&str] = &[
        "CARGO_BUILD_TARGET",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "CLIPPY_ARGS",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "RUSTDOCFLAGS",
        "RUSTFLAGS",
    ];
    NAMES.contains(&variable) || variable.starts_with("CARGO_PROFILE_") || variable.starts_with("CARGO_BUILD_RUST")
}

/// Tells the library where a guest's file is: `POLICY_BY_HEADER`, or `POLICY_BY_HEADER_WASIP2`.
fn announce(package: &str, guests: &Path, target: &str, suffix: &str) {
    let file = guests.join(target).join("guest").join(package.replace('-', "_")).with_extension("wasm");
    println!("cargo::rustc-env={}{suffix}={}", package.replace('-', "_").to_uppercase(), file.display());
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets `{name}` for build scripts"))
}
