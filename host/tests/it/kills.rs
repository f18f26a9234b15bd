//! `kill -9` at random moments of the switch path, again and again on the same folder: no switch that was acknowledged is
//! lost, none is half applied, and the journal's chain is whole.
//!
//! Kills fall where chance wants them; in two rounds of three a switch is held up at a moment that is short otherwise (see
//! `switch::moment`, which is not in release builds), so that many fall between the journal and the swap.
//! `SWITCHBACK_KILLS=500` and `SWITCHBACK_SEED` have it do more, or something else.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::process::{Process, Site, ask};
use crate::support::{Chance, Member, nobody};

/// Kills in the suite.
const KILLS: usize = 20;

/// Where a switch is held up, in turn.
const HOLD_UPS: [&str; 3] = ["", "journalled=40ms", "swapped=40ms"];

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_loses_no_acknowledged_switch() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let kills = number("SWITCHBACK_KILLS").map_or(KILLS, |kills: u64| kills as usize);
    let mut chance = Chance::seeded(number("SWITCHBACK_SEED").unwrap_or(5));
    let member = Member::named("blue").await;
    let site = Site::new(&format!("\"{}\"", nobody()), member.address, "[journal]\nentries_max = 100");
    let mut seen = Seen::default();
    let mut fell = [0; HOLD_UPS.len()];
    for kill in 0..kills {
        let which = kill % HOLD_UPS.len();
        let mut command = site.command();
        command.env("SWITCHBACK_HOLD_UP", HOLD_UPS[which]);
        let mut host = Process::serving(command).await;
        seen.check(&site, &host, kill).await;
        let lifetime = Duration::from_micros(chance.below(150_000));
        let _ = tokio::time::timeout(lifetime, seen.switch(&site, &mut chance)).await;
        host.signal(Signal::KILL);
        host.ended().await;
        fell[which] += usize::from(is_held_up(&host).await);
    }
    let host = site.start(&[]).await;
    seen.check(&site, &host, kills).await;
    eprintln!("{kills} kills, {} switches acknowledged; held up when they fell: {fell:?}", seen.acknowledged_total);
    assert!(seen.acknowledged_total > kills, "it switched in between");
    assert!(kills < KILLS || fell[1] > 0 && fell[2] > 0, "none fell where a switch was held up: {fell:?}");
}

/// Whether the last word of a host was that a switch is held up.
async fn is_held_up(host: &Process) -> bool {
    // Its log is read by a task of its own, up to the end that the kill made.
    let mut log = String::new();
    let end = Instant::now() + Duration::from_millis(200);
    while Instant::now() < end && (log.is_empty() || log != host.log()) {
        log = host.log();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    log.matches("held up: ").count() > log.matches("goes on: ").count()
}

/// What the host has said, over all its lives.
#[derive(Default)]
struct Seen {
    /// The release that the last receipt named.
    current: Option<u64>,
    /// The entry of the last receipt.
    last_id: u64,
    acknowledged_total: usize,
    /// The head of the chain at the last start.
    head: Option<String>,
}

impl Seen {
    /// Switches as fast as it can, for ever.
    async fn switch(&mut self, site: &Site, chance: &mut Chance) {
        let state = site.path("state");
        loop {
            let (method, path, body) = match chance.below(5) {
                0 => ("PUT", "/v1/vips/web", r#"{"pool":"green"}"#),
                1 => ("PUT", "/v1/vips/web", r#"{"pool":"blue"}"#),
                2 => ("POST", "/v1/forward", ""),
                // A refusal is an entry as well.
                3 => ("PUT", "/v1/vips/web", r#"{"pool":"red"}"#),
                _ => ("POST", "/v1/back", ""),
            };
            let Some(receipt) = call(&state, method, path, "", body).await else { continue };
            if receipt["durable"] == true && receipt["changed"] == true {
                self.current = receipt["to"]["number"].as_u64();
                self.last_id = receipt["id"].as_u64().unwrap();
                self.acknowledged_total += 1;
            }
        }
    }

    /// Looks at a host that has just started.
    async fn check(&mut self, site: &Site, host: &Process, kill: usize) {
        let history = site.ask(&["history", "--limit", "1000"]).await.unwrap();
        let current = history["current"].as_u64().unwrap();
        let entries = history["entries"].as_array().unwrap();
        let last = entries.iter().find(|entry| !entry["to"].is_null()).expect("a switch");
        assert_eq!(last["to"].as_u64(), Some(current), "kill {kill}: the journal's last switch is what is current");
        if let Some(acknowledged) = self.current {
            let after = entries.iter().filter(|entry| entry["id"].as_u64().unwrap() > self.last_id);
            let under_way = after.filter(|entry| !entry["to"].is_null()).count();
            assert!(
                under_way == 0 && current == acknowledged || under_way == 1 && last["from"] == acknowledged,
                "kill {kill}: r{acknowledged} was acknowledged by entry {}, r{current} is current: {last}",
                self.last_id
            );
        }
        let ids: Vec<u64> = entries.iter().map(|entry| entry["id"].as_u64().unwrap()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1] + 1), "kill {kill}: there is a hole in {ids:?}");

        let head = self.head.as_ref().map(|head| vec!["--head", head]).unwrap_or_default();
        let verified = site.ask(&[&["journal", "verify"], &*head].concat()).await.unwrap();
        assert_eq!(verified["whole"], true, "kill {kill}: {verified}");
        self.head = verified["head"].as_str().map(str::to_owned);

        // None is half applied: what serves is what the release says, and it is the one on the trail.
        let release = site.ask(&["show"]).await.unwrap();
        assert_eq!((&release["number"], &release["digest"]), (&json!(current), &last["to_digest"]));
        let trail: Vec<u64> = serde_json::from_value(history["trail"].clone()).unwrap();
        assert_eq!(trail[history["position"].as_u64().unwrap() as usize], current);
        let stream = tokio::net::TcpStream::connect(host.address()).await.unwrap();
        ask(stream, false).await.unwrap();
        self.current = Some(current);
        self.last_id = ids[0];
    }
}

/// A call of the control API; `None` where the host has gone.
pub(crate) async fn call(state: &Path, method: &str, path: &str, fields: &str, body: &str) -> Option<Value> {
    let token = std::fs::read_to_string(state.join("control.token")).ok()?;
    let mut stream = UnixStream::connect(state.join("control.sock")).await.ok()?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n{fields}connection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}
