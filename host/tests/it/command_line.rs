//! The command line, run as a person or a script would.

use std::process::Output;

use serde_json::Value;
use switchback_plugins as plugins;
use switchback_plugins::faulty;
use tokio::process::Command;

use crate::support::{BY_GROUP, Host, Member};

async fn host() -> (Host, Member, Member) {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]).config(BY_GROUP);
    (setup.vip("web", "pool = \"blue\"").start().await, blue, green)
}

pub(crate) async fn switchback(host: &Host, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchback"));
    command.env_clear().env("USER", "ann").arg("--config").arg(host.config_path()).args(args);
    command.output().await.unwrap()
}

async fn check(host: &Host, args: &[&str], code: i32, out: &str, err: &str) {
    let output = switchback(host, args).await;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stdout}{stderr}");
    assert!(stdout.contains(out), "{args:?}: no `{out}` in {stdout}");
    assert!(stderr.contains(err) && (code == 0 || !stderr.is_empty()), "{args:?}: no `{err}` in {stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_at_the_keyboard() {
    let (host, _blue, _green) = host().await;
    check(&host, &["status"], 0, "release   r1", "").await;
    check(&host, &["switch", "web", "green", "--why", "ship"], 0, "activated: r1 -> r2", "").await;
    assert_eq!(host.get("/", &[]).await.body, "green");
    check(&host, &["back"], 0, "back: r2 -> r1", "").await;
    check(&host, &["forward"], 0, "forward: r1 -> r2", "").await;
    check(&host, &["history"], 0, "trail  r1 [r2]", "").await;
    check(&host, &["history"], 0, "ann (api)  ship", "").await;
    check(&host, &["show", "r1"], 0, "\"current\": false", "").await;
    check(&host, &["pools"], 0, "green: 1 requests, 0 errors", "").await;
    check(&host, &["activate", "r1"], 0, "activated: r2 -> r3", "").await;
    check(&host, &["check"], 0, "ok, 1 vips, 2 pools", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_pushed_and_takes_over() {
    let (host, _blue, _green) = host().await;
    let file = host.folder.path().join("web.wasm");
    std::fs::write(&file, plugins::BY_HEADER).unwrap();
    let file = file.to_str().unwrap();
    check(&host, &["push", file], 0, "activated: r1 -> r2", "").await;
    check(&host, &["switch", "web", "--policy", "web"], 0, "activated: r2 -> r3", "").await;
    assert_eq!(host.get("/", &[("x-group", "green")]).await.body, "green");
    let config = host.folder.path().join("config.json");
    std::fs::write(&config, r#"{"rules": [], "otherwise": "blue"}"#).unwrap();
    check(&host, &["push", file, "--policy-config", config.to_str().unwrap()], 0, "activated: r3 -> r4", "").await;
    assert_eq!(host.get("/", &[("x-group", "green")]).await.body, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_is_asked_at_the_keyboard() {
    let (host, _blue, _green) = host().await;
    check(&host, &["switch", "web", "green", "--why", "ship"], 0, "), entry 2", "").await;
    check(&host, &["receipt", "2"], 0, "activated: r1 -> r2", "").await;
    check(&host, &["switch", "web", "red"], 1, "", "there are: blue, green (entry 3)").await;
    check(&host, &["receipt", "3"], 0, "refused: nothing changed", "").await;
    check(&host, &["receipt", "99"], 1, "", "entry 99 is not kept").await;
    check(&host, &["back", "--if-current", "r1"], 1, "", "r2 is current, not r1").await;
    check(&host, &["back", "--if-current", "r2"], 0, "back: r2 -> r1", "").await;
    check(&host, &["journal", "verify"], 0, "whole: 8 links hold, and the contents of 2 releases", "").await;
    check(&host, &["journal", "export", "--since", "4"], 0, "\"kind\":\"back\"", "").await;
    check(&host, &["journal", "pin", "2"], 0, "entry 2 is pinned", "").await;
    check(&host, &["journal", "unpin", "2"], 0, "entry 2 is not pinned", "").await;
    check(&host, &["status"], 0, "journal   5 entries", "").await;
    let noted = "0".repeat(63) + "1";
    check(&host, &["journal", "verify", "--head", &noted], 1, "head ", "the journal is not whole: no link has").await;
    let journal = rusqlite::Connection::open(host.state_path().join("journal.db")).unwrap();
    journal.execute_batch("UPDATE entries SET why = 'other' WHERE id = 2").unwrap();
    check(&host, &["journal", "verify"], 1, "", "the entry 2 (link 3) was changed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_exits_with_one_and_says_why() {
    let (host, _blue, _green) = host().await;
    check(&host, &["back"], 1, "", "error: there is no release to go back to").await;
    check(&host, &["switch", "web", "red"], 1, "", "pool `red` is not defined; there are: blue, green").await;
    let file = host.folder.path().join("bad.wasm");
    std::fs::write(&file, faulty::GARBAGE).unwrap();
    check(&host, &["push", file.to_str().unwrap()], 1, "", "error: policy `bad` is not WebAssembly").await;
    check(&host, &["push", "/nowhere.wasm"], 1, "", "cannot read /nowhere.wasm").await;
    check(&host, &["switch", "web"], 2, "", "required").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_can_be_had_as_json() {
    let (host, _blue, _green) = host().await;
    for args in [
        &["status"][..],
        &["switch", "web", "green"],
        &["history"],
        &["show"],
        &["pools"],
        &["back"],
        &["forward"],
        &["check"],
    ] {
        let output = switchback(&host, &[args, &["--json"]].concat()).await;
        assert!(output.status.success(), "{args:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn back_works_while_the_configuration_file_is_broken() {
    let (host, _blue, _green) = host().await;
    check(&host, &["switch", "web", "green"], 0, "r1 -> r2", "").await;
    std::fs::write(host.config_path(), "this is [ no TOML").unwrap();
    check(&host, &["back"], 0, "back: r2 -> r1", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_there_exits_with_three() {
    let (mut host, _blue, _green) = host().await;
    host.stop().await;
    check(&host, &["status"], 3, "", "hint: is it running?").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_finds_what_run_would_refuse() {
    let (host, _blue, _green) = host().await;
    host.drop_in("bad", faulty::WRONG_WORLD);
    check(&host, &["check"], 1, "", "policy `bad` is not of world").await;
    std::fs::remove_file(host.policy_path("bad")).unwrap();
    let text = std::fs::read_to_string(host.config_path()).unwrap();
    std::fs::write(host.config_path(), format!("{text}\n[vips.two]\nlisten = \"127.0.0.1:0\"\npool = \"blue\"\n"))
        .unwrap();
    check(&host, &["check"], 1, "", "vips `two` and `web` both serve */ on 127.0.0.1:0").await;
    std::fs::write(host.config_path(), "nonsense = 1").unwrap();
    check(&host, &["check"], 1, "", "switchback.toml:1: unknown field `nonsense`").await;
}
