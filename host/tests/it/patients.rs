//! Members whose health the test decides, and what the host says of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::{Response, StatusCode};
use serde_json::Value;
use tokio::time::Instant;

use crate::support::{Host, Member, PATIENCE, whole};

/// Checks that tell soon. A probe may take its time all the same: the machine may be busy.
pub(crate) const CHECK: &str = "check = { kind = \"http\", path = \"/healthz\", interval = \"50ms\", settle_interval = \"20ms\", timeout = \"5s\" }";

/// A member that is asked for its health at `/healthz`, and answers everything else with its name.
pub(crate) struct Patient {
    member: Member,
    chart: Arc<Chart>,
}

#[derive(Default)]
struct Chart {
    is_sick: AtomicBool,
    probes: AtomicUsize,
    requests: AtomicUsize,
    /// Requests that came before its first probe.
    untimely: AtomicUsize,
}

impl Patient {
    pub(crate) async fn well(name: &'static str) -> Self {
        let chart = Arc::new(Chart::default());
        let own = chart.clone();
        let member = Member::answering(move |request| {
            let is_sick = own.is_sick.load(Ordering::SeqCst);
            let is_probe = request.uri().path() == "/healthz";
            let count = if is_probe { &own.probes } else { &own.requests };
            count.fetch_add(1, Ordering::SeqCst);
            if !is_probe && own.probes.load(Ordering::SeqCst) == 0 {
                own.untimely.fetch_add(1, Ordering::SeqCst);
            }
            let mut answer = Response::new(whole(if is_probe { "health: good" } else { name }));
            if is_probe && is_sick {
                *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            async move { answer }
        })
        .await;
        Self { member, chart }
    }

    pub(crate) async fn sick(name: &'static str) -> Self {
        let patient = Self::well(name).await;
        patient.falls_sick();
        patient
    }

    pub(crate) fn falls_sick(&self) {
        self.chart.is_sick.store(true, Ordering::SeqCst);
    }

    pub(crate) fn gets_well(&self) {
        self.chart.is_sick.store(false, Ordering::SeqCst);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.member.address
    }

    pub(crate) fn probes(&self) -> usize {
        self.chart.probes.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.chart.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn untimely(&self) -> usize {
        self.chart.untimely.load(Ordering::SeqCst)
    }
}

impl Host {
    /// The members of a pool, as `GET /v1/pools` shows them.
    pub(crate) async fn members(&self, pool: &str) -> Vec<Value> {
        let (_, pools) = self.control("GET", "/v1/pools", "").await;
        let pool = pools.as_array().unwrap().iter().find(|shown| shown["name"] == pool);
        pool.expect("there is such a pool")["members"].as_array().unwrap().clone()
    }

    /// A member's state and the reason for it.
    pub(crate) async fn standing(&self, pool: &str, member: SocketAddr) -> (String, String) {
        let members = self.members(pool).await;
        let member = members.iter().find(|shown| shown["address"] == member.to_string());
        let text = |key: &str| member.map_or("", |member| member[key].as_str().unwrap_or_default()).to_owned();
        (text("state"), text("reason"))
    }

    /// Waits until a member is in this state; answers the reason.
    pub(crate) async fn wait_for_state(&self, pool: &str, member: SocketAddr, state: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let standing = self.standing(pool, member).await;
            if standing.0 == state {
                return standing.1;
            }
            assert!(Instant::now() < end, "{member} of {pool} is not {state} but {standing:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The addresses of a pool's members, once they are these, in any order.
    pub(crate) async fn wait_for_members(&self, pool: &str, expected: &[&str]) {
        let end = Instant::now() + PATIENCE;
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        loop {
            let members = self.members(pool).await;
            let mut addresses: Vec<_> = members.iter().map(|member| member["address"].as_str().unwrap()).collect();
            addresses.sort_unstable();
            if addresses == expected {
                return;
            }
            assert!(Instant::now() < end, "{pool} has {addresses:?}, not {expected:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What became of members, newest first.
    pub(crate) async fn events(&self) -> Vec<Value> {
        let (status, events) = self.control("GET", "/v1/events?limit=1000", "").await;
        assert_eq!(status, 200, "{events}");
        events.as_array().unwrap().clone()
    }

    /// Waits for an event whose reason holds this text.
    pub(crate) async fn wait_for_event(&self, kind: &str, text: &str) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let events = self.events().await;
            let found = events.iter().find(|it| it["kind"] == kind && it["reason"].as_str().unwrap().contains(text));
            if let Some(event) = found {
                return event.clone();
            }
            assert!(Instant::now() < end, "no `{kind}` event with `{text}` in {events:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks so many times; answers the bodies, or the statuses of what failed.
    pub(crate) async fn bodies(&self, number: usize) -> Vec<String> {
        let mut bodies = Vec::new();
        for _ in 0..number {
            let answer = self.get("/", &[]).await;
            bodies.push(if answer.status == 200 { answer.body } else { answer.status.as_u16().to_string() });
        }
        bodies
    }

    /// Asks until somebody answers so.
    pub(crate) async fn wait_for_body(&self, body: &str) {
        let end = Instant::now() + PATIENCE;
        while self.bodies(1).await != [body] {
            assert!(Instant::now() < end, "nobody answers `{body}`");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Puts another text in the place of one in the configuration file, as an editor would.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.config_path()).unwrap();
        assert!(text.contains(from), "{text}");
        let beside = self.folder.path().join("switchback.toml.new");
        std::fs::write(&beside, text.replace(from, to)).unwrap();
        std::fs::rename(beside, self.config_path()).unwrap();
    }
}
