use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::MutexGuard;

use hickory_resolver::proto::op::{Message, OpCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, SRV};
use hickory_resolver::proto::rr::{self, rdata};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

use super::super::super::{Finding, List, Looks};
use super::super::{Sought, Ttl, follow};
use super::*;

/// A DNS server, which says what the test tells it to: over UDP what fits, over TCP the rest.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

#[derive(Default)]
struct Zone {
    records: HashMap<(String, RecordType), Vec<(u32, RData)>>,
    code: Option<ResponseCode>,
    is_silent: bool,
    is_garbled: bool,
    asked_over_tcp: usize,
}

impl Server {
    async fn start() -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            // What is free for one may be taken for the other.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let server = Self { address: udp.local_addr().unwrap(), zone: Arc::default() };
        tokio::spawn(server.clone().serve_udp(udp));
        tokio::spawn(server.clone().serve_tcp(tcp));
        server
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().unwrap()
    }

    fn say(&self, name: &str, kind: RecordType, records: Vec<RData>) {
        self.zone().records.insert((name.into(), kind), records.into_iter().map(|record| (0, record)).collect());
    }

    fn addresses(&self, name: &str, addresses: &[&str]) {
        let (v6, v4): (Vec<IpAddr>, _) =
            addresses.iter().map(|ip| ip.parse::<IpAddr>().unwrap()).partition(IpAddr::is_ipv6);
        self.say(name, RecordType::A, v4.into_iter().map(RData::from).collect());
        self.say(name, RecordType::AAAA, v6.into_iter().map(RData::from).collect());
    }

    fn answer(&self, question: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
        let question = Message::from_vec(question).unwrap();
        let query = question.queries[0].clone();
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        let zone = self.zone();
        if zone.is_silent {
            return None;
        }
        if zone.is_garbled {
            return Some(vec![0xff; 20]);
        }
        let name = query.name().to_ascii().to_ascii_lowercase();
        let records = zone.records.get(&(name.clone(), query.query_type()));
        for (ttl, record) in records.into_iter().flatten() {
            answer.add_answer(rr::Record::from_rdata(query.name().clone(), *ttl, record.clone()));
        }
        let is_known = zone.records.keys().any(|(known, _)| *known == name);
        let code = if is_known { ResponseCode::NoError } else { ResponseCode::NXDomain };
        answer.metadata.response_code = zone.code.unwrap_or(code);
        let whole = answer.to_vec().unwrap();
        Some(if whole.len() > bytes_max { answer.truncate().to_vec().unwrap() } else { whole })
    }

    async fn serve_udp(self, socket: UdpSocket) {
        let mut question = [0; 2048];
        loop {
            let (len, from) = socket.recv_from(&mut question).await.unwrap();
            if let Some(answer) = self.answer(&question[..len], 1232) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    }

    async fn serve_tcp(self, listener: TcpListener) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            self.zone().asked_over_tcp += 1;
            let server = self.clone();
            tokio::spawn(async move {
                while let Ok(len) = stream.read_u16().await {
                    let mut question = vec![0; len.into()];
                    stream.read_exact(&mut question).await.unwrap();
                    let answer = server.answer(&question, usize::MAX).unwrap();
                    stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            });
        }
    }

    fn resolver(&self) -> Resolver {
        Resolver::new(Servers::These { servers: vec![self.address], timeout: Duration::from_millis(200) })
    }

    /// Follows a member's name, asking every few milliseconds: the server's records live for no time.
    fn follow(&self, name: &str) -> Followed {
        let (finding, list) = Finding::new(name);
        let looks = finding.looks();
        let ttl = Ttl { min: Duration::from_millis(20), ..Ttl::default() };
        let sought = Sought::of(&name.parse().unwrap()).unwrap();
        tokio::spawn(follow(sought, self.resolver(), ttl, finding));
        Followed { list, looks }
    }
}

struct Followed {
    list: watch::Receiver<List>,
    looks: Arc<Looks>,
}

impl Followed {
    async fn next(&mut self) -> Vec<String> {
        let changed = tokio::time::timeout(Duration::from_secs(20), self.list.changed());
        changed.await.expect("a new list in time").unwrap();
        let list = self.list.borrow_and_update().clone().unwrap();
        list.iter().map(|member| member.address.to_string()).collect()
    }

    /// Until two looks more have found nothing.
    async fn unanswered(&self) {
        let (before, began) = (self.looks.unanswered(), tokio::time::Instant::now());
        while self.looks.unanswered() < before + 2 {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", self.looks);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn place(priority: u16, weight: u16, port: u16, host: &str) -> RData {
    RData::SRV(SRV::new(priority, weight, port, Name::from_ascii(host).unwrap()))
}

#[tokio::test]
async fn a_name_is_followed_through_change_and_shrinking() {
    let server = Server::start().await;
    server.addresses("app.internal.", &["10.0.0.2", "10.0.0.1", "2001:db8::1"]);
    let mut app = server.follow("App.Internal:8080");
    assert_eq!(app.next().await, ["10.0.0.1:8080", "10.0.0.2:8080", "[2001:db8::1]:8080"]);
    server.addresses("app.internal.", &["10.0.0.3"]);
    // The two kinds are asked for apart, and may be met before and after.
    while app.next().await != ["10.0.0.3:8080"] {}
    server.addresses("app.internal.", &["2001:db8::9"]);
    while app.next().await != ["[2001:db8::9]:8080"] {}
    assert_eq!(app.looks.unanswered(), 0);
}

#[tokio::test]
async fn members_stay_whatever_befalls_the_server() {
    let server = Server::start().await;
    let mut app = server.follow("app.internal:80");
    let mishaps: [fn(&mut Zone); 6] = [
        |zone| zone.code = Some(ResponseCode::ServFail),
        |zone| zone.code = Some(ResponseCode::Refused),
        |zone| zone.records.clear(),
        |zone| zone.records.values_mut().for_each(Vec::clear),
        |zone| zone.is_silent = true,
        |zone| zone.is_garbled = true,
    ];
    for (last, mishap) in mishaps.into_iter().enumerate() {
        let address = format!("10.0.0.{last}");
        *server.zone() = Zone::default();
        server.addresses("app.internal.", &[&address]);
        assert_eq!(app.next().await, [format!("{address}:80")]);
        mishap(&mut server.zone());
        app.unanswered().await;
        assert!(!app.list.has_changed().unwrap());
    }
}

#[tokio::test]
async fn a_service_is_followed_to_its_places() {
    let server = Server::start().await;
    let service = "_http._tcp.app.internal.";
    server.say(
        service,
        RecordType::SRV,
        vec![place(1, 2, 81, "B.internal."), place(1, 1, 80, "a.internal."), place(2, 1, 82, "c.internal.")],
    );
    server.addresses("a.internal.", &["10.0.0.1", "2001:db8::1"]);
    server.addresses("b.internal.", &["10.0.0.2"]);
    server.addresses("c.internal.", &["10.0.0.3"]);
    let mut app = server.follow("srv:_http._tcp.app.internal");
    assert_eq!(app.next().await, ["10.0.0.1:80", "10.0.0.2:81", "[2001:db8::1]:80"]);
    let weights = app.list.borrow().as_ref().map(|list| list.iter().map(|member| member.weight).collect::<Vec<_>>());
    assert_eq!(weights, Some(vec![Some(1), Some(2), Some(1)]));
    server.say(service, RecordType::SRV, vec![place(2, 1, 82, "c.internal.")]);
    assert_eq!(app.next().await, ["10.0.0.3:82"]);
    server.say(service, RecordType::SRV, vec![place(0, 0, 0, ".")]);
    app.unanswered().await;
    assert!(!app.list.has_changed().unwrap());
}

#[tokio::test]
async fn an_answer_that_is_too_long_for_udp_comes_over_tcp() {
    let server = Server::start().await;
    let many: Vec<_> = (0..200).map(|last| RData::A(A::new(10, 0, 0, last))).collect();
    server.say("app.internal.", RecordType::A, many);
    assert_eq!(server.follow("app.internal:80").next().await.len(), 200);
    assert!(server.zone().asked_over_tcp > 0);
}

#[tokio::test]
async fn a_time_to_live_is_that_of_the_shortest_lived_record() {
    let server = Server::start().await;
    let alias = RData::CNAME(CNAME(Name::from_ascii("other.internal.").unwrap()));
    let records = vec![(300, alias), (70, RData::A(A::new(10, 0, 0, 1)))];
    server.zone().records.insert(("app.internal.".into(), RecordType::A), records);
    // The record of the alias's name is in an answer of its own.
    server.zone().records.insert(("other.internal.".into(), RecordType::A), vec![(70, RData::A(A::new(10, 0, 0, 1)))]);
    let answer = server.resolver().ask("app.internal", Kind::A).await.unwrap();
    assert_eq!(answer, Answer { records: vec![Record::Address([10, 0, 0, 1].into())], ttl: Duration::from_secs(70) });
}

#[tokio::test]
async fn why_there_is_no_answer_is_told() {
    let server = Server::start().await;
    server.addresses("app.internal.", &["10.0.0.1"]);
    server.say("hidden.internal.", RecordType::A, vec![RData::A(A(Ipv4Addr::UNSPECIFIED))]);
    server.say("hidden.internal.", RecordType::AAAA, vec![RData::AAAA(AAAA(rdata::aaaa::Ipv6Addr::UNSPECIFIED))]);
    let asked = server.resolver();
    let error = async |name: &str, kind| {
        let error = asked.ask(name, kind).await.unwrap_err();
        (error.to_string(), error.says_nothing_is_there())
    };
    assert_eq!(error("no.internal", Kind::A).await, ("`no.internal` does not exist".into(), true));
    assert_eq!(error("app.internal", Kind::Aaaa).await, ("`app.internal.` has no such records".into(), true));
    assert_eq!(error("hidden.internal", Kind::A).await.0, "`hidden.internal.` has no such records");
    assert_eq!(error("hidden.internal", Kind::Aaaa).await.0, "`hidden.internal.` has no such records");
    server.zone().code = Some(ResponseCode::ServFail);
    let unwell = "the DNS server answers `Server Failure` for `app.internal.`";
    assert_eq!(error("app.internal", Kind::Aaaa).await, (unwell.into(), false));
    server.zone().is_silent = true;
    assert_eq!(error("app.internal", Kind::A).await, ("no DNS server answers for `app.internal.`".into(), false));
}

#[tokio::test]
async fn names_that_are_not_whole_are_sought_as_resolv_conf_says() {
    let server = Server::start().await;
    let servers = Servers::These { servers: vec![server.address], timeout: Duration::from_secs(1) };
    let mut asker = Asker::new(&servers).unwrap();
    asker.search = ["one.internal", "two.internal"].map(|name| Name::from_ascii(name).unwrap()).into();
    let check = |asker: &Asker, name: &str, expected: &[&str]| {
        let names = asker.candidates(name).unwrap();
        assert_eq!(names.iter().map(Name::to_ascii).collect::<Vec<_>>(), expected);
    };
    check(&asker, "app", &["app.one.internal.", "app.two.internal.", "app."]);
    check(&asker, "app.internal", &["app.internal.", "app.internal.one.internal.", "app.internal.two.internal."]);
    check(&asker, "app.internal.", &["app.internal."]);
    asker.dots = 5;
    check(&asker, "app.ns.svc", &["app.ns.svc.one.internal.", "app.ns.svc.two.internal.", "app.ns.svc."]);

    // What exists is meant, even without such a record.
    server.addresses("app.two.internal.", &["10.0.0.2"]);
    server.addresses("app.", &["10.0.0.3", "2001:db8::3"]);
    let asked = Resolver { servers, current: Mutex::new(Some((Stamp::default(), Arc::new(asker)))) };
    let address = asked.ask("app", Kind::A).await.unwrap().records;
    assert_eq!(address, [Record::Address([10, 0, 0, 2].into())]);
    assert!(matches!(asked.ask("app", Kind::Aaaa).await, Err(NoAnswer::Empty(name)) if name == "app.two.internal."));
}
