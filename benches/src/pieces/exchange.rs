//! The whole exchange: a request of a browser through the proxy to a member, and its small answer back.
//!
//! Client, proxy and member are tasks of one thread, on connections that are kept. What client and member cost by
//! themselves is a piece of its own, `no proxy`; it is in all others too. Nothing else runs on the thread: no timer of the
//! worker, no keeper, no writer of the log.
//!
//! Where the client speaks HTTP/2 it is the library that the proxy has, too, and takes far more than `no proxy`.

use switchback::telemetry::access_log::format::Format;
use switchback_plugins as plugins;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

use crate::Planned;
use crate::ends::{Carrier, Client, Http2Client, Members, Mood, answer_at, pair, request};
use crate::policies::TWO_LOOKUPS;
use crate::rig::{Builds, Extras, Rig};

/// What the proxy is to do beside passing a request on.
#[derive(Clone, Copy, Default)]
struct Feature {
    name: &'static str,
    /// What decides: a line of the vip's table.
    decider: Option<&'static str>,
    /// More lines of the vip's table.
    vip: &'static str,
    /// More lines of the pool's table.
    pool: &'static str,
    /// More tables.
    more: &'static str,
    builds: Builds,
    extras: Extras,
    /// More fields of the request.
    fields: &'static str,
    /// The client brings the cookies that it was given.
    keeps_cookies: bool,
    /// What the pool's first member answers; the second one is always well.
    first: Option<Mood>,
    /// How many clients ask at a time.
    clients: usize,
}

/// A policy that is asked twice what the request says.
const POLICY: Feature =
    Feature { name: "policy", decider: Some("policy = 'choose'"), builds: &[("choose", plugins::BY_HEADER)], ..PLAIN };

/// One pool, and all as it is where the configuration says nothing.
const PLAIN: Feature = Feature {
    name: "plain",
    decider: None,
    vip: "",
    pool: "",
    more: "",
    builds: &[],
    extras: Extras { logs: false, traces: None, canary: false },
    fields: "",
    keeps_cookies: false,
    first: None,
    clients: 1,
};

/// Each by itself, so that it shows what it costs beside `plain`; and all that one would have together.
fn features() -> Vec<Feature> {
    let logs = Extras { logs: true, ..Extras::default() };
    let traced = |sample| Extras { traces: Some(sample), ..Extras::default() };
    vec![
        PLAIN,
        POLICY,
        Feature { name: "plain, 64 clients", clients: MANY, ..PLAIN },
        Feature { name: "policy, 64 clients", clients: MANY, ..POLICY },
        Feature { name: "policy, wasip2", builds: &[("choose", plugins::BY_HEADER_WASIP2)], ..POLICY },
        Feature { name: "policy, fresh instance", more: "isolation = 'request'", ..POLICY },
        Feature { name: "access log", extras: logs, ..PLAIN },
        Feature { name: "traces, recorded", extras: traced(1.0), ..PLAIN },
        Feature { name: "traces, not recorded", extras: traced(0.0), ..PLAIN },
        Feature { name: "canary", extras: Extras { canary: true, ..Extras::default() }, ..PLAIN },
        Feature {
            name: "session",
            vip: "session = { mode = 'drain-sticky', limit = '10m' }",
            keeps_cookies: true,
            ..PLAIN
        },
        Feature { name: "sticky, new client", pool: STICKY, ..PLAIN },
        Feature { name: "sticky, bound client", pool: STICKY, keeps_cookies: true, ..PLAIN },
        Feature { name: "key", pool: "key = 'cookie:uid'", ..PLAIN },
        Feature { name: "least requests", pool: "balance = 'least-requests'", ..PLAIN },
        Feature { name: "limits", vip: "requests_max = 5000", pool: LIMITS, ..PLAIN },
        Feature { name: "header rules", vip: RULES, ..PLAIN },
        Feature { name: "mirror", vip: "mirror = { pool = 'green', percent = 100 }", ..PLAIN },
        Feature { name: "second try", pool: RETRIES, first: Some(Mood::Unavailable), ..PLAIN },
        Feature { name: "trailers asked for", fields: "te: trailers\r\nconnection: te\r\n", ..PLAIN },
        Feature {
            name: "policy, access log, traces, sticky, header rules",
            vip: RULES,
            pool: STICKY,
            extras: Extras { logs: true, traces: Some(1.0), canary: false },
            keeps_cookies: true,
            ..POLICY
        },
    ]
}

/// So many that there is always something to do: what is done for all of them at once is then cheap for each.
const MANY: usize = 64;

const STICKY: &str = "sticky = { cookie = 'member' }";

const LIMITS: &str =
    "limits = { requests_max = 1000, member_requests_max = 200, member_connections_max = 100, queue_max = 1000 }";

const RULES: &str = "request_headers = { remove = ['x-debug'], set = { x-environment = 'production' }, add = { x-seen-by = 'edge' } }
response_headers = { remove = ['server'], set = { strict-transport-security = 'max-age=31536000' }, add = { vary = 'cookie' } }";

/// Every other request comes to the member that is not well. It stays in use, and nothing runs out.
const RETRIES: &str = "retries = { tries_max = 2, statuses = [503], budget = 100 }
breaker = { failures = 0, failure_percent = 0 }";

/// With nothing, with each feature, and with none of the proxy at all.
pub fn pieces(carrier: Carrier) -> Vec<Planned> {
    let group = match carrier {
        Carrier::Unix => "exchange",
        Carrier::Tcp => "loopback",
    };
    let mut all = vec![Planned::new(format!("{group}/no proxy"), move || no_proxy(carrier))];
    for feature in features() {
        all.push(Planned::new(format!("{group}/{}", feature.name), move || exchanges(carrier, feature)));
    }
    for feature in [PLAIN, POLICY] {
        all.push(Planned::new(format!("{group}/{}, HTTP/2", feature.name), move || {
            exchanges_over_http2(carrier, feature)
        }));
    }
    if carrier == Carrier::Unix {
        all.push(Planned::new(format!("{group}/access log, its thread's part"), line));
    }
    all
}

fn runtime() -> LocalRuntime {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    runtime.expect("a runtime can be made")
}

fn no_proxy(carrier: Carrier) -> impl FnMut(u64) {
    let runtime = runtime();
    let mut client = runtime.block_on(async {
        let (ours, theirs) = pair(carrier).await.expect("loopback is there");
        answer_at(theirs);
        Client::new(ours, request(""))
    });
    move |times| {
        runtime.block_on(async {
            for _ in 0..times {
                client.ask().await;
            }
        });
    }
}

fn exchanges(carrier: Carrier, feature: Feature) -> impl FnMut(u64) {
    let mut exchange = Exchange::new(carrier, feature);
    move |times| exchange.run(times)
}

fn exchanges_over_http2(carrier: Carrier, feature: Feature) -> impl FnMut(u64) {
    let exchange = Exchange::new(carrier, Feature { clients: 0, ..feature });
    let mut client = exchange.runtime.block_on(async {
        let (ours, theirs) = pair(carrier).await.expect("loopback is there");
        exchange.rig.serve(theirs);
        Http2Client::new(ours).await
    });
    move |times| {
        // All of it, as the members are there for as long as it is.
        let Exchange { runtime, .. } = &exchange;
        runtime.block_on(async {
            for _ in 0..times {
                client.ask().await;
            }
        });
    }
}

/// What the log's own thread does with each exchange.
fn line() -> impl FnMut(u64) {
    let extras = Extras { logs: true, ..Extras::default() };
    let mut exchange = Exchange::new(Carrier::Unix, Feature { extras, ..POLICY });
    let told = exchange.runtime.block_on(async {
        exchange.clients[0].ask().await;
        // Told when the answer was written, and the task was polled once more.
        tokio::task::yield_now().await;
        exchange.rig.told().expect("the exchange has ended")
    });
    let mut line = Vec::new();
    move |times| {
        for _ in 0..times {
            line.clear();
            Format::Json.write(&told, &mut line);
            std::hint::black_box(&line);
        }
    }
}

struct Exchange {
    runtime: LocalRuntime,
    rig: Rig,
    clients: Vec<Client>,
    is_told: bool,
    _members: Members,
}

impl Exchange {
    fn new(carrier: Carrier, feature: Feature) -> Self {
        let runtime = runtime();
        let mut members = Members::new(carrier);
        let (rig, clients) = runtime.block_on(async {
            let mut blue = Vec::new();
            blue.extend(match feature.first {
                Some(mood) => Some(members.open(mood).await),
                None => None,
            });
            blue.push(members.open(Mood::Well).await);
            let green = members.open(Mood::Well).await;
            let rig = Rig::new(&config(&feature, &blue, &green), feature.builds, feature.extras);
            let mut clients = Vec::new();
            for _ in 0..feature.clients {
                let (ours, theirs) = pair(carrier).await.expect("loopback is there");
                rig.serve(theirs);
                let mut client = Client::new(ours, request(feature.fields));
                if feature.keeps_cookies {
                    let cookies = cookies(client.ask().await);
                    client.says(with_cookies(&request(feature.fields), &cookies));
                }
                clients.push(client);
            }
            (rig, clients)
        });
        let is_told = feature.extras.logs || feature.extras.traces.is_some();
        Self { runtime, rig, clients, is_told, _members: members }
    }

    fn run(&mut self, times: u64) {
        let Self { runtime, rig, clients, is_told, .. } = self;
        runtime.block_on(async {
            if let [client] = &mut clients[..] {
                for _ in 0..times {
                    client.ask().await;
                    if *is_told {
                        rig.told();
                    }
                }
                return;
            }
            // What does not divide is the first one's.
            let (each, more) = (times / clients.len() as u64, times % clients.len() as u64);
            let asking = clients.drain(..).enumerate().map(|(at, client)| {
                let times = if at == 0 { each + more } else { each };
                tokio::task::spawn_local(asks(client, times))
            });
            for asked in asking.collect::<Vec<_>>() {
                clients.push(asked.await.expect("clients do not panic"));
            }
        });
    }
}

async fn asks(mut client: Client, times: u64) -> Client {
    for _ in 0..times {
        client.ask().await;
    }
    client
}

fn config(feature: &Feature, blue: &[String], green: &str) -> String {
    let Feature { decider, vip, pool, more, builds, .. } = feature;
    let decider = decider.unwrap_or("pool = 'blue'");
    let policies: String =
        builds.iter().map(|(name, _)| format!("[policies.{name}]\nconfig = '''{TWO_LOOKUPS}'''\n{more}\n")).collect();
    format!(
        "[vips.shop]\nlisten = '127.0.0.1:80'\n{decider}\n{vip}\n[pools.blue]\nmembers = {blue:?}\n{pool}\n\
         [pools.green]\nmembers = ['{green}']\n{policies}"
    )
}

/// The cookies that an answer gives, as a request brings them.
fn cookies(answer: &[u8]) -> String {
    let answer = String::from_utf8_lossy(answer);
    let given = answer.lines().filter_map(|line| line.strip_prefix("set-cookie: "));
    let given: Vec<&str> = given.filter_map(|cookie| cookie.split(';').next()).collect();
    assert!(!given.is_empty(), "expected a cookie, got {answer}");
    given.join("; ")
}

fn with_cookies(request: &[u8], cookies: &str) -> Vec<u8> {
    let request = String::from_utf8_lossy(request);
    request.replace("\r\ncookie: ", &format!("\r\ncookie: {cookies}; ")).into_bytes()
}
