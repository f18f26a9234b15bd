//! The journal through the doors a user has: receipts shown again, the chain of hashes, the export, pins.

use serde_json::{Value, json};
use switchback_plugins::faulty;

use crate::support::{Host, Member, until};

async fn blue_then_green() -> (Host, Member, Member) {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let host = Host::with().pool("blue", &[&blue]).pool("green", &[&green]).vip("web", "pool = \"blue\"").start().await;
    host.control("PUT", "/v1/vips/web", r#"{"pool":"green","why":"ship it"}"#).await;
    (host, blue, green)
}

async fn verified(host: &Host, query: &str) -> Value {
    let (status, verified) = host.control("GET", &format!("/v1/journal/verify{query}"), "").await;
    assert_eq!(status, 200, "{verified}");
    verified
}

fn edit(host: &Host, statements: &str) {
    let file = rusqlite::Connection::open(host.state_path().join("journal.db")).unwrap();
    file.execute_batch(statements).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_shown_again_also_after_a_restart() {
    let (mut host, _blue, _green) = blue_then_green().await;
    let (_, given) = host.control("POST", "/v1/back", r#"{"why":"errors"}"#).await;
    let id = given["id"].as_u64().unwrap();
    for _ in 0..2 {
        let (status, kept) = host.control("GET", &format!("/v1/receipts/{id}"), "").await;
        assert_eq!((status.as_u16(), &kept["receipt"], &kept["durable"]), (200, &given, &json!(true)));
        assert_eq!((&kept["entry"]["kind"], &kept["entry"]["to_digest"]), (&json!("back"), &given["to"]["digest"]));
        host.restart().await;
    }
    let (status, answer) = host.control("GET", "/v1/receipts/99", "").await;
    assert_eq!((status.as_u16(), &answer["message"]), (404, &json!("entry 99 is not kept")));
    assert_eq!(host.control("GET", "/v1/receipts/x", "").await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_its_entry_and_the_entry_says_why() {
    let (host, _blue, _green) = blue_then_green().await;
    let refusals: [(&str, &str, Vec<u8>); 4] = [
        ("PUT", "/v1/vips/web", br#"{"pool":"red"}"#.to_vec()),
        ("POST", "/v1/forward", Vec::new()),
        ("PUT", "/v1/policies/web", faulty::GARBAGE.to_vec()),
        ("PUT", "/v1/pools/red/members/127.0.0.1:1", b"{}".to_vec()),
    ];
    for (method, path, body) in refusals {
        let (_, answer) = host.control(method, path, body).await;
        let id = answer["entry"].as_u64().unwrap_or_else(|| panic!("{path}: {answer}"));
        let (_, kept) = host.control("GET", &format!("/v1/receipts/{id}"), "").await;
        assert_eq!((&kept["entry"]["kind"], &kept["receipt"]), (&json!("refuse"), &Value::Null));
        assert_eq!(kept["entry"]["why"], answer["message"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_holds_and_what_is_changed_shows() {
    let (mut host, _blue, _green) = blue_then_green().await;
    host.control("POST", "/v1/back", "").await;
    let before = verified(&host, "").await;
    assert_eq!((&before["whole"], &before["links"]), (&json!(true), &json!(6)), "{before}");
    let head = before["head"].as_str().unwrap();
    let (_, status) = host.control("GET", "/v1/status", "").await;
    assert_eq!(status["journal"]["head"], head);

    host.restart().await;
    host.control("POST", "/v1/forward", "").await;
    let after = verified(&host, &format!("?head={head}")).await;
    assert_eq!((&after["whole"], &after["noted"], &after["links"]), (&json!(true), &json!(6), &json!(8)), "{after}");

    edit(&host, "UPDATE entries SET who = 'nobody' WHERE id = 2");
    let changed = verified(&host, "").await;
    assert_eq!((&changed["whole"], &changed["broken"]["what"]), (&json!(false), &json!("changed")));
    assert_eq!(changed["broken"]["message"], "the entry 2 (link 3) was changed");
    assert_eq!(host.control("GET", "/v1/journal/verify?head=x", "").await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_that_is_cut_off_is_missed_after_a_restart() {
    let (mut host, _blue, _green) = blue_then_green().await;
    host.control("POST", "/v1/back", "").await;
    host.stop().await;
    edit(&host, "DELETE FROM entries WHERE id = 3; DELETE FROM links WHERE entry = 3");
    host.restart().await;
    let cut = verified(&host, "").await;
    assert_eq!(cut["broken"]["what"], "cut-off", "{cut}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_export_has_a_line_for_each_entry_and_goes_on_where_it_ended() {
    let (host, _blue, _green) = blue_then_green().await;
    host.control("POST", "/v1/forward", "").await;
    let (_, text) = host.control("GET", "/v1/journal", "").await;
    let lines: Vec<Value> = text.as_str().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = lines.iter().map(|line| line["entry"]["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["activate", "activate", "refuse"]);
    assert_eq!(lines[1]["receipt"]["receipt"]["why"], "ship it");
    assert!(lines[1]["hash"].as_str().unwrap().len() == 64 && lines[2]["receipt"].is_null());
    let (_, rest) = host.control("GET", "/v1/journal?since=2", "").await;
    assert_eq!(rest["entry"]["id"], 3);
    let (_, one) = host.control("GET", "/v1/journal?since=1&limit=1", "").await;
    assert_eq!(one["entry"]["id"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_are_for_those_who_have_the_token() {
    let (host, _blue, _green) = blue_then_green().await;
    let (status, answer) = host.control("PUT", "/v1/journal/2/pin", "").await;
    assert_eq!((status.as_u16(), answer), (200, json!({"entry": 2, "pinned": true})));
    assert_eq!(host.control("DELETE", "/v1/journal/2/pin", "").await.0, 200);
    assert_eq!(host.control("PUT", "/v1/journal/99/pin", "").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_how_the_journal_stands() {
    let (host, _blue, _green) = blue_then_green().await;
    until("all is written", || host.app().switch.journal.stand().waiting == 0).await;
    let (_, page) = host.control("GET", "/metrics", "").await;
    for line in
        ["switchback_journal_entries 2\n", "switchback_journal_waiting 0\n", "switchback_journal_links_total 4\n"]
    {
        assert!(page.as_str().unwrap().contains(line), "no {line} in {page}");
    }
}
