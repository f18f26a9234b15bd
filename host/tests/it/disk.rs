//! Disk trouble: a journal that is damaged, and a state folder that is full, read-only or slow.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::process::{Load, Site};
use crate::support::{Host, Member, in_time, nobody, until};

async fn blue_then_green() -> (Host, Member, Member) {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let host = Host::with().pool("blue", &[&blue]).pool("green", &[&green]).vip("web", "pool = \"blue\"").start().await;
    host.control("PUT", "/v1/vips/web", r#"{"pool":"green"}"#).await;
    (host, blue, green)
}

/// Stops the host, and waits until the last of it has closed the journal: what closes it writes there.
async fn stopped(host: &mut Host) {
    host.stop().await;
    let log = host.state_path().join("journal.db-wal");
    until("the journal is closed", || !log.exists()).await;
}

/// What was set aside in the state folder.
fn aside(state: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(state).unwrap().map(|file| file.unwrap().path());
    paths.filter(|path| path.to_string_lossy().contains("journal.db.damaged-")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_journal_is_set_aside_and_the_host_goes_on_where_it_stood() {
    let (mut host, _blue, _green) = blue_then_green().await;
    stopped(&mut host).await;
    let path = host.state_path().join("journal.db");
    std::fs::write(&path, "this is no database").unwrap();
    host.restart().await;
    assert_eq!((host.current(), &*host.get("/", &[]).await.body), (2, "green"));
    let aside = aside(&host.state_path());
    assert_eq!(std::fs::read(&aside[0]).unwrap(), b"this is no database", "nothing of it is lost");

    let (_, status) = host.control("GET", "/v1/status", "").await;
    let damage = status["journal"]["damage"].as_str().unwrap();
    assert!(damage.contains(aside[0].to_str().unwrap()) && damage.contains("the copy of"), "{damage}");
    host.wait_for_entry("damage", "is set aside as").await;
    // The release before is in the copy as well, and numbers go on rising.
    assert_eq!(host.control("POST", "/v1/back", "").await.1["to"]["number"], 1);
    let (_, receipt) = host.control("PUT", "/v1/vips/web", r#"{"pool":"green"}"#).await;
    assert!(receipt["to"]["number"].as_u64().unwrap() > 2 && receipt["durable"] == true, "{receipt}");
    assert_eq!(host.control("GET", "/v1/journal/verify", "").await.1["whole"], true);

    host.restart().await;
    let (_, status) = host.control("GET", "/v1/status", "").await;
    assert_eq!((&status["journal"]["damage"], &status["current"]), (&Value::Null, &receipt["to"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_copy_the_host_goes_on_from_the_configuration_file() {
    let (mut host, _blue, _green) = blue_then_green().await;
    stopped(&mut host).await;
    std::fs::write(host.state_path().join("journal.db"), "nonsense").unwrap();
    std::fs::write(host.state_path().join("standing.json"), "nonsense").unwrap();
    host.restart().await;
    assert_eq!(host.get("/", &[]).await.body, "blue");
    host.wait_for_entry("damage", "from the configuration file").await;
}

/// A small disk, for whoever may mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&at).unwrap();
        let mounted = mount(&["-t", "tmpfs", "-o", "size=8m,mode=0700", "none"], &at);
        if !mounted {
            eprintln!("not checked: no file system can be mounted here, which takes root");
        }
        mounted.then_some(Self(at))
    }

    fn fill(&self) {
        let filler = std::fs::File::create(self.0.join("filler")).unwrap();
        let zeros = [0; 4096];
        while std::io::Write::write_all(&mut &filler, &zeros).is_ok() {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }

    fn may_be_written(&self, may: bool) {
        assert!(mount(&["-o", if may { "remount,rw" } else { "remount,ro" }], &self.0), "it is mounted by us");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what a test leaves behind when it fails may still have files open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(args: &[&str], at: &Path) -> bool {
    let mounted = Command::new("mount").args(args).arg(at).stderr(std::process::Stdio::null()).status();
    mounted.is_ok_and(|mounted| mounted.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_back_works_under_load_and_the_journal_is_whole_afterwards() {
    let blue = Member::named("blue").await;
    let site = Site::new(&format!("\"{}\"", nobody()), blue.address, "");
    let Some(disk) = SmallDisk::mount(site.path("state")) else { return };
    let host = site.start(&[]).await;
    let load = Load::start(host.address(), None);
    for pool in ["green", "blue", "green"] {
        site.ask(&["switch", "web", pool]).await.unwrap();
    }
    disk.fill();
    let mut ids = Vec::new();
    let mut full = 0;
    for turn in 0..60 {
        let receipt = site.ask(&[if turn % 2 == 0 { "back" } else { "forward" }]).await.unwrap();
        full += u32::from(receipt["durable"] == false);
        ids.push(receipt["id"].as_u64().unwrap());
    }
    assert!(full > 0, "the disk was full");
    let refused = site.ask(&["switch", "web", "blue"]).await.unwrap_err();
    assert!(refused.contains("cannot be recorded") && refused.contains("full"), "{refused}");
    load.goes_on(200).await;
    load.stop().await;
    let status = site.ask(&["status"]).await.unwrap();
    assert!(status["journal"]["waiting"].as_u64().unwrap() > 0, "{}", status["journal"]);
    let shown = site.ask(&["receipt", &ids[59].to_string()]).await.unwrap();
    assert_eq!((&shown["durable"], &shown["receipt"]["action"]), (&json!(false), &json!("forward")));

    disk.empty();
    let mut status = Value::Null;
    in_time("the journal catches up", async {
        while status["journal"]["waiting"] != 0 {
            status = site.ask(&["status"]).await.unwrap();
        }
    })
    .await;
    assert_eq!(site.ask(&["journal", "verify"]).await.unwrap()["whole"], true);
    for id in ids {
        let kept = site.ask(&["receipt", &id.to_string()]).await.unwrap();
        assert!(kept["durable"] == true && kept["receipt"]["id"] == id, "{kept}");
    }
}

/// Starts a host on a disk to which `worsen` is done meanwhile, and has it write when `mend` was.
async fn starts_on(worsen: fn(&SmallDisk), mend: fn(&SmallDisk)) {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]).vip("web", "pool = \"blue\"");
    let mut host = setup.start().await;
    host.stop().await;
    let Some(disk) = SmallDisk::mount(host.state_path()) else { return };
    host.restart().await;
    host.control("PUT", "/v1/vips/web", r#"{"pool":"green"}"#).await;
    stopped(&mut host).await;

    worsen(&disk);
    host.restart().await;
    assert_eq!((host.current(), &*host.get("/", &[]).await.body), (2, "green"));
    let (status, receipt) = host.control("POST", "/v1/back", r#"{"why":"at night"}"#).await;
    assert_eq!((status.as_u16(), &receipt["durable"]), (200, &json!(false)), "{receipt}");
    assert_eq!(host.control("PUT", "/v1/vips/web", r#"{"pool":"blue"}"#).await.1["changed"], false);
    // Its socket may not be where it should, and commands find it all the same.
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_switchback"));
    let said = command.arg("--config").arg(host.config_path()).arg("forward").output().await.unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(said.contains("forward: r1 -> r2") && said.contains("durable: no"), "{said}");
    host.control("POST", "/v1/back", "").await;
    assert_eq!(host.control("POST", "/v1/releases/2/activate", "").await.0, 507);

    mend(&disk);
    until("the journal catches up", || host.app().switch.journal.stand().waiting == 0).await;
    host.wait_for_entry("back", "at night").await;
    assert_eq!(host.control("GET", "/v1/journal/verify", "").await.1["whole"], true);
    stopped(&mut host).await;
    host.restart().await;
    assert_eq!(host.current(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_starts_on_a_read_only_disk_and_writes_when_it_is_none() {
    starts_on(|disk| disk.may_be_written(false), |disk| disk.may_be_written(true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_starts_on_a_full_disk_and_writes_when_there_is_room() {
    starts_on(SmallDisk::fill, SmallDisk::empty).await;
}
