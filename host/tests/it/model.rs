//! The switch against a model of it, small enough to be believed: the same current release, the same way back and the
//! same quarantine after every one of many random operations, restarts and kills among them.
//!
//! A few hundred operations in each run; `SWITCHBACK_MODEL_OPERATIONS=10000 cargo test --test it model::` for more, and
//! `SWITCHBACK_MODEL_SEED` for others.

use std::collections::{BTreeMap, BTreeSet};

use hyper::{Request, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use switchback::digest::Digest;
use switchback_plugins as plugins;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::process::Command;

use crate::process::Process;
use crate::support::{Answer, Chance, in_time, send_on, until, whole};

const POOLS: [&str; 3] = ["a", "b", "c"];
const BUILDS: u8 = 4;

/// What a release is, as far as the model looks: pools of `shop` and `docs`, and the build that decides for `app`.
type Content = [u8; 3];
const VIPS: [&str; 3] = ["shop", "docs", "app"];

/// The switch as it should be. A page of code that anyone can check.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    releases: BTreeMap<u64, Content>,
    trail: Vec<u64>,
    at: usize,
    quarantine: BTreeSet<u8>,
    fences: BTreeSet<u64>,
    /// A release that is tried out.
    canary: Option<u64>,
}

impl Model {
    fn current(&self) -> Content {
        self.releases[&self.trail[self.at]]
    }

    fn next(&self) -> u64 {
        self.releases.keys().max().unwrap() + 1
    }

    /// A new release: it cuts off what lay ahead.
    fn activate(&mut self, content: Content) -> bool {
        if content == self.current() {
            return true;
        }
        if self.canary.is_some() {
            return false;
        }
        let number = self.next();
        self.releases.insert(number, content);
        self.trail.truncate(self.at + 1);
        self.trail.push(number);
        if self.trail.len() > 64 {
            self.trail.remove(0);
        }
        self.at = self.trail.len() - 1;
        self.arrived();
        true
    }

    /// A release decides for a share: the trail stays as it is.
    fn try_out(&mut self, content: Content) -> bool {
        if content == self.current() {
            return true;
        }
        if let Some(canary) = self.canary {
            return self.releases[&canary] == content;
        }
        let number = self.next();
        self.releases.insert(number, content);
        self.canary = Some(number);
        true
    }

    /// What is tried out becomes current, under its own number.
    fn promote(&mut self) {
        let number = self.canary.take().unwrap();
        self.trail.truncate(self.at + 1);
        self.trail.push(number);
        self.at = self.trail.len() - 1;
        if self.trail.len() > 64 {
            self.trail.remove(0);
            self.at -= 1;
        }
        self.arrived();
    }

    fn fenced(&self, to: usize) -> bool {
        to < self.at && self.trail[to + 1..=self.at].iter().any(|release| self.fences.contains(release))
    }

    /// Everything goes to another place of the trail.
    fn go(&mut self, to: Option<usize>) -> bool {
        let may = |to: &usize| *to < self.trail.len() && *to != self.at && !self.fenced(*to) && self.canary.is_none();
        let Some(to) = to.filter(may) else {
            return false;
        };
        let passed: Vec<u8> =
            self.trail.iter().take(self.at + 1).skip(to + 1).map(|step| self.releases[step][2]).collect();
        self.at = to;
        let serves = self.current()[2];
        self.quarantine.extend(passed.into_iter().filter(|build| *build != serves));
        self.arrived();
        true
    }

    /// One vip goes to where it was another, this many times another.
    fn go_alone(&mut self, vip: usize, back: bool, times: usize) -> bool {
        let way: Vec<usize> =
            if back { (0..self.at).rev().collect() } else { (self.at + 1..self.trail.len()).collect() };
        let (mut left, mut before) = (times, self.current()[vip]);
        let mut source = None;
        for place in &way {
            let there = self.releases[&self.trail[*place]][vip];
            if there != before {
                (left, before) = (left - 1, there);
                if left == 0 {
                    source = Some(*place);
                    break;
                }
            }
        }
        let Some(source) = source.filter(|_| before != self.current()[vip]) else { return false };
        let mut content = self.current();
        content[vip] = before;
        let is_it = |place: &&usize| self.releases[&self.trail[**place]] == content;
        // Back, no further than to where the vip was so.
        let near = |place: &&usize| !back || **place >= source;
        if let Some(place) = way.iter().filter(near).find(is_it) {
            return self.go(Some(*place));
        }
        if self.fenced(source) || self.canary.is_some() {
            return false;
        }
        let (number, gone) = (self.next(), self.current()[2]);
        self.releases.insert(number, content);
        let place = if back { source + 1 } else { source };
        self.trail.insert(place, number);
        let dropped = self.trail.len().saturating_sub(64).min(place.saturating_sub(1));
        self.trail.drain(..dropped);
        self.trail.truncate(64);
        self.at = place - dropped;
        if back && gone != content[2] {
            self.quarantine.insert(gone);
        }
        self.arrived();
        true
    }

    /// A person's switch: what serves is not in quarantine.
    fn arrived(&mut self) {
        let serves = self.current()[2];
        self.quarantine.remove(&serves);
        self.fences.retain(|fence| self.trail.contains(fence));
    }
}

/// A host in a process of its own.
struct Real {
    folder: TempDir,
    process: Process,
}

fn build(number: u8) -> Vec<u8> {
    [plugins::BLOCK, &[0, 3, 1, b'x', number]].concat()
}

impl Real {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("policies")).unwrap();
        std::fs::write(folder.path().join("policies/web.wasm"), build(0)).unwrap();
        let mut config = String::from("workers = 1\n[control]\nlisten = \"127.0.0.1:0\"\n");
        for (vip, decider) in VIPS.iter().zip(["pool = \"a\"", "pool = \"a\"", "policy = \"web\""]) {
            config += &format!("[vips.{vip}]\nlisten = \"127.0.0.1:0\"\nhosts = [\"{vip}\"]\n{decider}\n");
        }
        for pool in POOLS {
            config += &format!("[pools.{pool}]\nmembers = []\n");
        }
        config += "[policies.web]\nconfig = '{\"pool\":\"a\",\"texts\":[\"x\"]}'\n";
        std::fs::write(folder.path().join("switchback.toml"), config).unwrap();
        let process = Self::process(&folder).await;
        Self { folder, process }
    }

    async fn process(folder: &TempDir) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchback"));
        command.arg("--config").arg(folder.path().join("switchback.toml")).arg("run");
        Process::serving(command).await
    }

    async fn restart(&mut self, signal: Signal) {
        self.process.signal(signal);
        self.process.ended().await;
        self.process = Self::process(&self.folder).await;
    }

    async fn ask(&self, method: &str, path: &str, body: impl Into<hyper::body::Bytes>) -> (StatusCode, Value) {
        let state = self.folder.path().join("state");
        let token = std::fs::read_to_string(state.join("admin.token")).unwrap();
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let request = request.header("authorization", format!("Bearer {token}")).body(whole(body)).unwrap();
        let stream = UnixStream::connect(state.join("control.sock")).await.unwrap();
        let asked = async { Answer::of(send_on(stream, request).await).await };
        let answer = in_time(&format!("an answer to {method} {path}"), asked).await;
        (answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::String(answer.body)))
    }

    /// Drops a build into the folder; answers once it serves or was refused, with what the history says of it.
    async fn drop_in(&self, number: u8) -> Value {
        let newest = |history: &Value| history["entries"][0]["id"].as_u64();
        let before = newest(&self.ask("GET", "/v1/history?limit=1", "").await.1);
        let beside = self.folder.path().join("web.new");
        std::fs::write(&beside, build(number)).unwrap();
        let place = self.folder.path().join("policies/web.wasm");
        std::fs::rename(beside, &place).unwrap();
        let end = tokio::time::Instant::now() + crate::support::PATIENCE;
        let said = loop {
            let (_, history) = self.ask("GET", "/v1/history?limit=1", "").await;
            // It is in the journal before it serves.
            let serves = history["entries"][0]["to"] == history["current"];
            if newest(&history) != before && (serves || history["entries"][0]["kind"] == "refuse") {
                break history["entries"][0].clone();
            }
            assert!(tokio::time::Instant::now() < end, "the folder was not looked at");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        };
        std::fs::remove_file(place).unwrap();
        said
    }

    /// As the model has it: the trail, where on it, what is out of reach.
    async fn check(&self, model: &Model, whole: bool, last: &str) {
        let (_, history) = self.ask("GET", "/v1/history?limit=1", "").await;
        let trail: Vec<u64> = serde_json::from_value(history["trail"].clone()).unwrap();
        let at = history["position"].as_u64().unwrap() as usize;
        assert_eq!((&trail, at), (&model.trail, model.at), "after {last}");
        if whole {
            let (_, status) = self.ask("GET", "/v1/status", "").await;
            assert_eq!(status["canary"]["number"].as_u64(), model.canary, "after {last}");
        }
        let (_, kept_out) = self.ask("GET", "/v1/quarantine", "").await;
        let kept_out: BTreeSet<String> =
            kept_out.as_array().unwrap().iter().map(|it| it["digest"].as_str().unwrap().to_owned()).collect();
        let expected = model.quarantine.iter().map(|number| Digest::of(&build(*number)).to_string()).collect();
        assert_eq!(kept_out, expected, "after {last}");
        if whole {
            let (_, release) = self.ask("GET", "/v1/releases/current", "").await;
            let [shop, docs, app] = model.current();
            let pool = |vip: &str| release["content"]["vips"][vip]["decider"]["pool"].clone();
            let digest = Digest::of(&build(app)).to_string();
            let is = (pool("shop"), pool("docs"), &release["content"]["policies"]["web"]["digest"]);
            assert_eq!(is, (json!(POOLS[shop as usize]), json!(POOLS[docs as usize]), &json!(digest)), "after {last}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_does_as_its_model() {
    let setting = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (operations, seed) = (setting("SWITCHBACK_MODEL_OPERATIONS", 300), setting("SWITCHBACK_MODEL_SEED", 1));
    let mut chance = Chance::seeded(seed);
    let mut real = Real::start().await;
    let mut model = Model {
        releases: [(1, [0, 0, 0])].into(),
        trail: vec![1],
        at: 0,
        quarantine: BTreeSet::new(),
        fences: BTreeSet::new(),
        canary: None,
    };
    // What the folder brought last: the same again is no news.
    let mut read = 0;
    for operation in 0..operations {
        let mut after = model.clone();
        let what = chance.below(100);
        let (done, asked) = match what {
            0..4 => {
                let (vip, pool) = (chance.below(2) as usize, chance.below(3) as u8);
                let mut content = after.current();
                content[vip] = pool;
                let share = format!("{}%", 1 + chance.below(50));
                let body = json!({ "pool": POOLS[pool as usize], "share": share, "key": "cookie:uid" }).to_string();
                let path = format!("/v1/vips/{}", VIPS[vip]);
                (after.try_out(content), real.ask("PUT", &path, body).await)
            }
            4..8 if after.canary.is_some() => {
                let path = format!("/v1/releases/{}/activate", after.canary.unwrap());
                after.promote();
                (true, real.ask("POST", &path, "").await)
            }
            4..25 => {
                let (vip, pool) = (chance.below(2) as usize, chance.below(3) as u8);
                let mut content = after.current();
                content[vip] = pool;
                let body = json!({ "pool": POOLS[pool as usize] }).to_string();
                let path = format!("/v1/vips/{}", VIPS[vip]);
                (after.activate(content), real.ask("PUT", &path, body).await)
            }
            25..37 => {
                let number = chance.below(u64::from(BUILDS)) as u8;
                let mut content = after.current();
                content[2] = number;
                (after.activate(content), real.ask("PUT", "/v1/policies/web", build(number)).await)
            }
            37..60 => {
                let steps = 1 + chance.below(3) as usize;
                let back = chance.below(2) == 0;
                let to = if back { after.at.checked_sub(steps) } else { Some(after.at + steps) };
                let path = if back { "/v1/back" } else { "/v1/forward" };
                // One step back ends what is tried out, and nothing else.
                let done = if back && steps == 1 && after.canary.take().is_some() { true } else { after.go(to) };
                (done, real.ask("POST", path, json!({ "steps": steps }).to_string()).await)
            }
            60..66 => {
                let to = chance.below(after.trail.len() as u64) as usize;
                let path = if to < after.at { "/v1/back" } else { "/v1/forward" };
                let body = json!({ "to": format!("r{}", after.trail[to]) }).to_string();
                (after.go(Some(to)), real.ask("POST", path, body).await)
            }
            66..82 => {
                let (vip, back, times) = (chance.below(3) as usize, chance.below(2) == 0, 1 + chance.below(2) as usize);
                let path = if back { "/v1/back" } else { "/v1/forward" };
                let body = json!({ "vip": VIPS[vip], "steps": times }).to_string();
                (after.go_alone(vip, back, times), real.ask("POST", path, body).await)
            }
            82..88 => {
                let number = chance.below(u64::from(BUILDS)) as u8;
                // With something tried out, the folder waits until that is over.
                if number == after.current()[2] || number == read || after.canary.is_some() {
                    continue;
                }
                let said = real.drop_in(number).await;
                if !after.quarantine.contains(&number) {
                    let mut content = after.current();
                    content[2] = number;
                    after.activate(content);
                    read = number;
                }
                (true, (StatusCode::OK, said))
            }
            88..91 => {
                let release = after.trail[chance.below(after.trail.len() as u64) as usize];
                let path = format!("/v1/releases/{release}/fence");
                if after.fences.len() < 2 {
                    after.fences.insert(release);
                    (true, real.ask("PUT", &path, r#"{"why":"a test"}"#).await)
                } else {
                    (after.fences.remove(&release), real.ask("DELETE", &path, "").await)
                }
            }
            91..94 => {
                let number = chance.below(u64::from(BUILDS)) as u8;
                let path = format!("/v1/quarantine/{}", Digest::of(&build(number)));
                (after.quarantine.remove(&number), real.ask("DELETE", &path, "").await)
            }
            94..98 => {
                // One of those that are kept for sure: its content as a new release.
                let release = after.next() - 1 - chance.below(after.next() - 1).min(150);
                let content = after.releases[&release];
                let fenced = match after.trail.iter().position(|step| *step == release) {
                    Some(place) => after.fenced(place),
                    // Its number says whether it is from before.
                    None => after.trail[..=after.at].iter().any(|step| after.fences.contains(step) && release < *step),
                };
                if after.canary == Some(release) {
                    continue;
                }
                let asked = real.ask("POST", &format!("/v1/releases/{release}/activate"), "").await;
                (!fenced && after.activate(content), asked)
            }
            _ => {
                real.restart(if chance.below(2) == 0 { Signal::TERM } else { Signal::KILL }).await;
                (true, (StatusCode::OK, Value::Null))
            }
        };
        let (status, answer) = asked;
        let last = format!("operation {operation} ({what}) of seed {seed}: {answer}\nbefore: {model:?}");
        assert_eq!(status == StatusCode::OK, done, "{last}");
        if done {
            model = after;
        }
        real.check(&model, operation % 10 == 0, &last).await;
    }
    until("a switch or two", || model.next() > 10).await;
}
