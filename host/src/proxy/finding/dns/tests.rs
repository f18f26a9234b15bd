use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;
use tokio::time::Instant;

use super::super::{List, Looks};
use super::*;

/// What the servers would say, which the test can change at any time.
#[derive(Clone, Default)]
struct Zone(Arc<Mutex<Said>>);

#[derive(Default)]
struct Said {
    answers: HashMap<(String, Kind), Saying>,
    /// When A records were asked for, of whatever name.
    asked_at: Vec<Instant>,
}

#[derive(Clone)]
enum Saying {
    Are(Vec<Record>, u64),
    Nothing,
    Unwell,
}

impl Zone {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap()
    }

    fn say(&self, name: &str, kind: Kind, saying: Saying) {
        self.said().answers.insert((name.into(), kind), saying);
    }

    fn addresses(&self, name: &str, addresses: &[&str], ttl: u64) {
        let (v6, v4): (Vec<IpAddr>, _) =
            addresses.iter().map(|ip| ip.parse::<IpAddr>().unwrap()).partition(IpAddr::is_ipv6);
        for (kind, addresses) in [(Kind::A, v4), (Kind::Aaaa, v6)] {
            let records: Vec<_> = addresses.into_iter().map(Record::Address).collect();
            self.say(name, kind, if records.is_empty() { Saying::Nothing } else { Saying::Are(records, ttl) });
        }
    }

    fn places(&self, places: &[(u16, u16, u16, &str)]) {
        let place =
            |&(priority, weight, port, host): &_| Record::Place { priority, weight, port, host: str::to_owned(host) };
        self.say("_http._tcp.app", Kind::Srv, Saying::Are(places.iter().map(place).collect(), 1));
    }

    /// How many seconds there were between the times it was asked.
    fn waits(&self) -> Vec<u64> {
        self.said().asked_at.windows(2).map(|two| (two[1] - two[0]).as_millis() as u64 / 1000).collect()
    }
}

impl Ask for Zone {
    async fn ask(&self, name: &str, kind: Kind) -> Result<Answer, NoAnswer> {
        let mut said = self.said();
        if kind == Kind::A {
            said.asked_at.push(Instant::now());
        }
        match said.answers.get(&(name.to_owned(), kind)).cloned() {
            Some(Saying::Are(records, ttl)) => Ok(Answer { records, ttl: Duration::from_secs(ttl) }),
            Some(Saying::Nothing) => Err(NoAnswer::Empty(name.into())),
            Some(Saying::Unwell) => Err(NoAnswer::Refused { name: name.into(), code: "Server Failure".into() }),
            None => Err(NoAnswer::Unknown(name.into())),
        }
    }
}

/// A source that is followed.
struct Followed {
    zone: Zone,
    list: watch::Receiver<List>,
    looks: Arc<Looks>,
}

impl Followed {
    fn host(addresses: &[&str], ttl: u64) -> Self {
        let zone = Zone::default();
        zone.addresses("app", addresses, ttl);
        Self::new(zone, Sought::Host("app".into(), 80))
    }

    fn service(places: &[(u16, u16, u16, &str)]) -> Self {
        let zone = Zone::default();
        zone.places(places);
        for (host, address) in [("a", "10.0.0.1"), ("b", "10.0.0.2"), ("c", "10.0.0.3")] {
            zone.addresses(host, &[address], 1);
        }
        Self::new(zone, Sought::Service("_http._tcp.app".into()))
    }

    fn new(zone: Zone, sought: Sought) -> Self {
        let (finding, list) = Finding::new("app");
        let looks = finding.looks();
        tokio::spawn(follow(sought, zone.clone(), Ttl::default(), finding));
        Self { zone, list, looks }
    }

    /// What is told next.
    async fn next(&mut self) -> Vec<String> {
        let changed = tokio::time::timeout(Duration::from_secs(1_000), self.list.changed());
        changed.await.expect("a new list in time").unwrap();
        self.told()
    }

    fn told(&mut self) -> Vec<String> {
        let list = self.list.borrow_and_update().clone().unwrap_or_default();
        let text = |member: &Found| match member.weight {
            Some(weight) => format!("{} {weight}", member.address),
            None => member.address.to_string(),
        };
        list.iter().map(text).collect()
    }

    /// Nothing is told, however long one waits.
    async fn stays(&mut self) {
        tokio::time::sleep(Duration::from_secs(1_000)).await;
        assert!(!self.list.has_changed().unwrap(), "{:?}", self.told());
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_is_all_its_addresses() {
    let mut app = Followed::host(&["10.0.0.2", "2001:db8::1", "10.0.0.1"], 1);
    assert_eq!(app.next().await, ["10.0.0.1:80", "10.0.0.2:80", "[2001:db8::1]:80"]);
    app.zone.addresses("app", &["10.0.0.1", "10.0.0.2", "2001:db8::1"], 1);
    app.stays().await;
    assert_eq!((app.looks.unanswered(), app.looks.changes()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn addresses_of_one_kind_are_enough() {
    assert_eq!(Followed::host(&["2001:db8::1"], 1).next().await, ["[2001:db8::1]:80"]);
    assert_eq!(Followed::host(&["10.0.0.1"], 1).next().await, ["10.0.0.1:80"]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_and_goes_is_followed() {
    let mut app = Followed::host(&["10.0.0.1", "2001:db8::1"], 5);
    app.next().await;
    app.zone.addresses("app", &["10.0.0.1", "10.0.0.2"], 5);
    assert_eq!(app.next().await, ["10.0.0.1:80", "10.0.0.2:80"]);
    app.zone.addresses("app", &["10.0.0.2"], 5);
    assert_eq!(app.next().await, ["10.0.0.2:80"]);
    app.zone.addresses("app", &["2001:db8::2"], 5);
    assert_eq!(app.next().await, ["[2001:db8::2]:80"]);
    assert_eq!(app.looks.unanswered(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_believed_for_as_long_as_it_says_within_bounds() {
    for (ttl, expected) in [(0, 1), (1, 1), (20, 20), (300, 300), (86_400, 300)] {
        let mut app = Followed::host(&["10.0.0.1"], ttl);
        app.next().await;
        app.stays().await;
        let waits = app.zone.waits();
        assert!(waits.len() >= 3 && waits.iter().all(|wait| *wait == expected), "{ttl}: {waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn bounds_that_cross_each_other_are_no_reason_to_hurry() {
    let zone = Zone::default();
    zone.addresses("app", &["10.0.0.1"], 60);
    let (finding, _list) = Finding::new("app");
    let ttl = Ttl { max: Duration::from_millis(10), ..Ttl::default() };
    tokio::spawn(follow(Sought::Host("app".into(), 80), zone.clone(), ttl, finding));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(zone.waits().len() > 5 && zone.waits().iter().all(|wait| *wait == 1), "{:?}", zone.waits());
}

#[tokio::test(start_paused = true)]
async fn the_shortest_lived_record_counts() {
    let mut app = Followed::host(&["10.0.0.1", "2001:db8::1"], 100);
    app.zone.say("app", Kind::Aaaa, Saying::Are(vec![Record::Address("2001:db8::1".parse().unwrap())], 7));
    app.next().await;
    app.stays().await;
    assert_eq!(app.zone.waits()[..3], [7, 7, 7]);
}

#[tokio::test(start_paused = true)]
async fn members_stay_when_there_is_no_answer_or_nothing_in_it() {
    for saying in [Some(Saying::Unwell), Some(Saying::Nothing), None] {
        let mut app = Followed::host(&["10.0.0.1", "2001:db8::1"], 20);
        app.next().await;
        app.zone.said().answers.clear();
        if let Some(saying) = saying {
            app.zone.say("app", Kind::A, saying.clone());
            app.zone.say("app", Kind::Aaaa, saying);
        }
        app.stays().await;
        assert!(app.looks.unanswered() > 10);
        // Twice as long each time, from a second on.
        assert_eq!(app.zone.waits()[..8], [20, 1, 2, 4, 8, 16, 30, 30]);
        app.zone.addresses("app", &["10.0.0.9"], 20);
        assert_eq!(app.next().await, ["10.0.0.9:80"]);
    }
}

#[tokio::test(start_paused = true)]
async fn until_there_is_an_answer_nothing_is_told() {
    let mut app = Followed::new(Zone::default(), Sought::Host("app".into(), 80));
    app.stays().await;
    assert_eq!(*app.list.borrow(), None);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_unwell_for_one_kind_takes_nothing_of_it_away() {
    let mut app = Followed::host(&["10.0.0.1", "2001:db8::1"], 5);
    app.next().await;
    app.zone.addresses("app", &["10.0.0.2"], 5);
    app.zone.say("app", Kind::Aaaa, Saying::Unwell);
    assert_eq!(app.next().await, ["10.0.0.2:80", "[2001:db8::1]:80"]);
    app.stays().await;
    // Tried again before long, and the other kind not believed for longer than it says.
    assert_eq!(app.zone.waits()[..6], [5, 1, 2, 4, 5, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_service_is_the_places_of_its_lowest_priority() {
    let mut app = Followed::service(&[(10, 60, 8001, "a"), (10, 40, 8002, "b"), (20, 100, 8003, "c")]);
    assert_eq!(app.next().await, ["10.0.0.1:8001 60", "10.0.0.2:8002 40"]);
    app.zone.places(&[(20, 100, 8003, "c")]);
    assert_eq!(app.next().await, ["10.0.0.3:8003 100"]);
    app.zone.places(&[(20, 100, 8003, "c"), (1, 5, 80, "a")]);
    assert_eq!(app.next().await, ["10.0.0.1:80 5"]);
    app.zone.addresses("a", &["10.0.1.1", "2001:db8::1"], 1);
    assert_eq!(app.next().await, ["10.0.1.1:80 5", "[2001:db8::1]:80 5"]);
    assert_eq!(app.looks.unanswered(), 0);
}

#[tokio::test(start_paused = true)]
async fn places_without_weight_have_a_small_chance_beside_others() {
    let mut app = Followed::service(&[(0, 0, 80, "a"), (0, 0, 80, "b")]);
    assert_eq!(app.next().await, ["10.0.0.1:80", "10.0.0.2:80"]);
    app.zone.places(&[(0, 0, 80, "a"), (0, 3, 80, "b")]);
    assert_eq!(app.next().await, ["10.0.0.1:80 1", "10.0.0.2:80 300"]);
    // Two ports of one host are two members, two names of one place are one.
    app.zone.places(&[(0, 1, 80, "a"), (0, 3, 81, "a"), (0, 5, 80, "a")]);
    assert_eq!(app.next().await, ["10.0.0.1:80 6", "10.0.0.1:81 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_nowhere_keeps_its_places() {
    let mut app = Followed::service(&[(0, 1, 80, "a"), (0, 1, 80, "b")]);
    app.next().await;
    // RFC 2782: "not available at this domain".
    app.zone.places(&[(0, 0, 0, ".")]);
    app.stays().await;
    app.zone.say("_http._tcp.app", Kind::Srv, Saying::Unwell);
    app.stays().await;
    assert_eq!(app.told(), ["10.0.0.1:80 1", "10.0.0.2:80 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_not_known_any_more_keeps_its_place_while_the_service_names_it() {
    let mut app = Followed::service(&[(0, 1, 80, "a"), (0, 1, 80, "b")]);
    app.next().await;
    app.zone.addresses("b", &[], 1);
    app.zone.say("a", Kind::A, Saying::Unwell);
    app.stays().await;
    assert!(app.looks.unanswered() > 0);
    app.zone.places(&[(0, 1, 80, "a"), (0, 1, 80, "c")]);
    assert_eq!(app.next().await, ["10.0.0.1:80 1", "10.0.0.3:80 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_the_service_names_again_is_not_believed_to_be_where_it_was() {
    let mut app = Followed::service(&[(0, 1, 80, "a"), (0, 1, 80, "b")]);
    app.next().await;
    app.zone.places(&[(0, 1, 80, "a")]);
    assert_eq!(app.next().await, ["10.0.0.1:80 1"]);
    app.zone.say("b", Kind::A, Saying::Unwell);
    app.zone.places(&[(0, 1, 80, "a"), (0, 1, 80, "b")]);
    app.stays().await;
}

#[tokio::test(start_paused = true)]
async fn a_service_of_many_hosts_is_found_whole() {
    let zone = Zone::default();
    let hosts: Vec<_> = (0..100).map(|host| format!("h{host}")).collect();
    hosts.iter().zip(0..).for_each(|(host, last)| zone.addresses(host, &[&format!("10.0.0.{last}")], 1));
    zone.places(&hosts.iter().map(|host| (0, 1, 80, host.as_str())).collect::<Vec<_>>());
    assert_eq!(Followed::new(zone, Sought::Service("_http._tcp.app".into())).next().await.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_nobody_listens() {
    let (finding, list) = Finding::new("app");
    let zone = Zone::default();
    let following = tokio::spawn(follow(Sought::Host("app".into(), 80), zone, Ttl::default(), finding));
    drop(list);
    tokio::time::timeout(Duration::from_millis(500), following).await.expect("it ends").unwrap();
}
