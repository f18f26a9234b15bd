//! The policy folder as a door: however a file gets there, it is taken in whole or not at all.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use switchback_plugins as plugins;
use switchback_plugins::faulty;

use crate::support::{BY_GROUP, Host, Member, until};

async fn host() -> (Host, Member, Member) {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]).config(BY_GROUP);
    (setup.vip("web", "policy = \"web\"\nfallback = \"blue\"").start().await, blue, green)
}

async fn serves_green(host: &Host) {
    until("a new release", || host.current() == 2).await;
    assert_eq!(host.get("/", &[("x-group", "green")]).await.body, "green");
}

async fn refusals(host: &Host) -> usize {
    host.history().await.iter().filter(|entry| entry["kind"] == "refuse").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_slowly_is_read_when_it_is_whole() {
    let (host, _blue, _green) = host().await;
    let mut file = fs::File::create(host.policy_path("web")).unwrap();
    for piece in plugins::BY_HEADER.chunks(plugins::BY_HEADER.len() / 5) {
        file.write_all(piece).unwrap();
        file.sync_all().unwrap();
        // The writer's own pace, not a wait for the host.
        tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    }
    drop(file);
    serves_green(&host).await;
    assert_eq!(refusals(&host).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_renamed_into_place_is_read() {
    let (host, _blue, _green) = host().await;
    let beside = host.folder.path().join("policies/.web.wasm.tmp");
    fs::write(&beside, plugins::BY_HEADER).unwrap();
    fs::rename(beside, host.policy_path("web")).unwrap();
    serves_green(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_link_is_read() {
    let (host, _blue, _green) = host().await;
    let elsewhere = host.folder.path().join("built");
    fs::write(&elsewhere, plugins::BY_HEADER).unwrap();
    fs::hard_link(elsewhere, host.policy_path("web")).unwrap();
    serves_green(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_swapped_as_kubernetes_does_is_followed() {
    let (host, _blue, _green) = host().await;
    let folder = host.folder.path().join("policies");
    let version = |name: &str, bytes: &[u8]| {
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("web.wasm"), bytes).unwrap();
        symlink(name, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    version("..v1", plugins::CANARY);
    symlink("..data/web.wasm", host.policy_path("web")).unwrap();
    host.wait_for_entry("refuse", "unknown field").await;
    version("..v2", plugins::BY_HEADER);
    serves_green(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_at_once_are_taken_in_one_after_another() {
    let (host, _blue, _green) = host().await;
    for name in ["a", "b", "c", "d"] {
        host.drop_in(name, plugins::CANARY);
    }
    host.drop_in("web", plugins::BY_HEADER);
    until("five releases", || host.current() == 6).await;
    let (_, status) = host.control("GET", "/v1/status", "").await;
    assert_eq!(status["policies"].as_array().unwrap().len(), 5);
    assert_eq!(host.get("/", &[("x-group", "green")]).await.body, "green");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_removed_keeps_serving() {
    let (host, _blue, _green) = host().await;
    host.activate_from_folder("web", plugins::BY_HEADER).await;
    fs::remove_file(host.policy_path("web")).unwrap();
    host.drop_in("sign", faulty::GARBAGE);
    host.wait_for_entry("refuse", "policy `sign`").await;
    serves_green(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_passed_over() {
    let (host, _blue, _green) = host().await;
    fs::create_dir(host.policy_path("folder")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, host.policy_path("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    symlink("nowhere", host.policy_path("dangling")).unwrap();
    fs::write(host.policy_path("empty"), b"").unwrap();
    fs::write(host.folder.path().join("policies/notes.txt"), b"notes").unwrap();
    host.drop_in("web", plugins::BY_HEADER);
    serves_green(&host).await;
    assert_eq!(refusals(&host).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_again_is_no_change() {
    let (host, _blue, _green) = host().await;
    host.activate_from_folder("web", plugins::BY_HEADER).await;
    host.drop_in("web", plugins::BY_HEADER);
    host.drop_in("sign", faulty::GARBAGE);
    host.wait_for_entry("refuse", "policy `sign`").await;
    assert_eq!(host.current(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_gone_back_from_does_not_return_by_itself() {
    let (mut host, _blue, _green) = host().await;
    host.activate_from_folder("web", plugins::BY_HEADER).await;
    host.control("POST", "/v1/back", "").await;
    host.drop_in("web", plugins::BY_HEADER);
    host.wait_for_entry("refuse", "was taken in before and then left; `switchback forward`").await;
    assert_eq!(host.current(), 1);
    host.restart().await;
    host.drop_in("sign", faulty::GARBAGE);
    host.wait_for_entry("refuse", "policy `sign`").await;
    assert_eq!(host.current(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_the_host_was_down_is_taken_in_at_start() {
    let (mut host, _blue, _green) = host().await;
    host.stop().await;
    host.drop_in("web", plugins::BY_HEADER);
    host.restart().await;
    serves_green(&host).await;
}
