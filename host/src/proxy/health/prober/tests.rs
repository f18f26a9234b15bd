use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::spec::check::{CheckKind, CheckSpec, HttpCheck};
use crate::spec::pool::Protocol;

/// Members by number, what they do when somebody connects, and what was seen of it.
#[derive(Default)]
struct World {
    /// How members are, where they are not well.
    ways: Mutex<HashMap<u32, Way>>,
    /// Every connection: when, counted from the start, and to whom.
    connects: Mutex<Vec<(Duration, u32)>>,
    under_way: Mutex<HashMap<u32, u32>>,
    most: Mutex<usize>,
    changes: Mutex<Vec<(u32, String)>>,
}

#[derive(Clone, Copy)]
enum Way {
    Refuses,
    Hangs,
    Panics,
}

/// Counts a connection for as long as it is being opened.
struct UnderWay(Arc<World>, u32);

impl UnderWay {
    fn new(world: &Arc<World>, member: u32) -> Self {
        let mut under_way = world.under_way.lock().unwrap();
        *under_way.entry(member).or_default() += 1;
        assert_eq!(under_way[&member], 1, "two probes of {member} at once");
        let mut most = world.most.lock().unwrap();
        *most = under_way.len().max(*most);
        Self(world.clone(), member)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.lock().unwrap().remove(&self.1);
    }
}

impl World {
    fn set(&self, member: u32, way: impl Into<Option<Way>>) {
        match way.into() {
            Some(way) => self.ways.lock().unwrap().insert(member, way),
            None => self.ways.lock().unwrap().remove(&member),
        };
    }

    fn start(self: &Arc<Self>, at_once: usize) -> Checks<u32> {
        let (world, seen, start) = (self.clone(), self.clone(), Instant::now());
        let connect = move |pair: &Pair<u32>| {
            let (world, member) = (world.clone(), pair.member);
            async move {
                world.connects.lock().unwrap().push((start.elapsed(), member));
                let _under_way = UnderWay::new(&world, member);
                let way = world.ways.lock().unwrap().get(&member).copied();
                match way {
                    None => Ok(tokio::io::duplex(1).0),
                    Some(Way::Refuses) => Err(io::ErrorKind::ConnectionRefused.into()),
                    Some(Way::Hangs) => std::future::pending::<io::Result<DuplexStream>>().await,
                    Some(Way::Panics) => panic!("as it was told"),
                }
            }
        };
        let told = move |pair: &Pair<u32>, changed: Changed| {
            let said = format!("{:?} -> {:?}: {}", changed.from, changed.to, changed.reason);
            seen.changes.lock().unwrap().push((pair.member, said));
        };
        let (prober, checks) = Prober::new(connect, told, at_once, 7);
        tokio::spawn(prober.run());
        checks
    }

    /// When a member was connected to.
    fn times(&self, member: u32) -> Vec<Duration> {
        let connects = self.connects.lock().unwrap();
        connects.iter().filter(|(_, other)| *other == member).map(|(time, _)| *time).collect()
    }

    fn changes(&self, member: u32) -> Vec<String> {
        let changes = self.changes.lock().unwrap();
        changes.iter().filter(|(other, _)| *other == member).map(|(_, said)| said.clone()).collect()
    }
}

fn pairs(members: impl IntoIterator<Item = u32>) -> Vec<Pair<u32>> {
    let check = Arc::new(CheckSpec::default());
    let pair = |member| Pair {
        member,
        check: check.clone(),
        protocol: Protocol::Http1,
        is_tls: false,
        authority: "member".into(),
    };
    members.into_iter().map(pair).collect()
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// What is known of one of these members.
async fn known(checks: &Checks<u32>, member: u32) -> Known<u32> {
    checks.all().await.into_iter().find(|known| known.pair.member == member).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_member_is_probed_at_its_interval_give_or_take_a_tenth() {
    let world = Arc::new(World::default());
    let checks = world.start(AT_ONCE);
    checks.keep(pairs([1]));
    pass(1000).await;
    let times = world.times(1);
    // At the first and the second the phase is found.
    let gaps: Vec<_> = times[1..].windows(2).map(|two| (two[1] - two[0]).as_millis()).collect();
    assert!(times[0] <= Duration::from_millis(25), "{times:?}");
    assert!(gaps.iter().all(|gap| (8970..=11_030).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().min().unwrap() + 1000 < *gaps.iter().max().unwrap(), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn many_members_are_spread_over_the_interval() {
    let world = Arc::new(World::default());
    let checks = world.start(AT_ONCE);
    checks.keep(pairs(0..10_000));
    pass(60).await;
    let mut of_second = [0; 60];
    for (time, _) in world.connects.lock().unwrap().iter() {
        of_second[time.as_secs() as usize] += 1;
    }
    // The first round takes the first ten seconds, and the second begins meanwhile.
    assert!(of_second[..20].iter().all(|number| (500..=2200).contains(number)), "{of_second:?}");
    assert!(of_second[20..].iter().all(|number| (850..=1150).contains(number)), "{of_second:?}");
    assert!(checks.all().await.iter().all(|known| known.health == Health::Healthy));
}

#[tokio::test(start_paused = true)]
async fn a_few_members_are_known_at_once() {
    let world = Arc::new(World::default());
    let checks = world.start(AT_ONCE);
    world.set(2, Way::Refuses);
    checks.keep(pairs(0..10));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let sick = checks.all().await.iter().filter(|known| known.health == Health::Sick).count();
    let healthy = checks.all().await.iter().filter(|known| known.health == Health::Healthy).count();
    assert_eq!((sick, healthy), (1, 9));
}

#[tokio::test(start_paused = true)]
async fn a_change_is_settled_within_seconds_of_the_first_contrary_result() {
    let world = Arc::new(World::default());
    let checks = world.start(AT_ONCE);
    checks.keep(pairs([1]));
    pass(60).await;
    world.set(1, Way::Refuses);
    pass(15).await;
    world.set(1, None);
    pass(15).await;
    let expected = [
        "Unknown -> Healthy: a probe was answered as expected",
        "Healthy -> Sick: 3 probes in a row were bad, the last: refused",
        "Sick -> Healthy: 2 probes in a row were answered as expected",
    ];
    assert_eq!(world.changes(1), expected);
}

#[tokio::test(start_paused = true)]
async fn what_hangs_is_given_up_in_time_and_never_asked_twice_at_once() {
    let world = Arc::new(World::default());
    let checks = world.start(AT_ONCE);
    world.set(1, Way::Hangs);
    checks.keep(pairs([1]).into_iter().map(|pair| {
        let check = CheckSpec { interval: Duration::from_millis(500), ..CheckSpec::default() };
        Pair { check: Arc::new(check), ..pair }
    }));
    pass(60).await;
    assert_eq!(world.changes(1), ["Unknown -> Sick: not connected within 2s"]);
    // One follows the other; `UnderWay` would have seen two at once.
    assert!((28..=30).contains(&world.times(1).len()), "{:?}", world.times(1));
}

#[tokio::test(start_paused = true)]
async fn only_so_many_are_under_way_and_the_others_wait_their_turn() {
    let world = Arc::new(World::default());
    let checks = world.start(8);
    for member in 0..100 {
        world.set(member, Way::Hangs);
    }
    checks.keep(pairs(0..101));
    pass(12).await;
    assert!(checks.counts.late_millis.load(Ordering::Relaxed) > 1000);
    pass(108).await;
    // Eight at once, two seconds each: 480 in two minutes, shared by all.
    let connects = world.connects.lock().unwrap().len();
    assert!((470..=520).contains(&connects), "{connects}");
    assert_eq!(*world.most.lock().unwrap(), 8);
    let (least, most) = (0..101)
        .map(|member| world.times(member).len())
        .fold((usize::MAX, 0), |(least, most), times| (least.min(times), most.max(times)));
    assert!(least >= 3 && most <= 7, "{least} to {most}");
    assert_eq!(known(&checks, 100).await.health, Health::Healthy);
    // None gathered while they waited: with room, each is asked once.
    for member in 0..100 {
        world.set(member, None);
    }
    pass(3).await;
    let before = world.connects.lock().unwrap().len();
    pass(1).await;
    assert!(world.connects.lock().unwrap().len() - before <= 101);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_stays_in_the_set_keeps_its_standing_and_its_times() {
    let (moved, left_alone) = (Arc::new(World::default()), Arc::new(World::default()));
    let (checks, others) = (moved.start(AT_ONCE), left_alone.start(AT_ONCE));
    checks.keep(pairs([1]));
    others.keep(pairs([1]));
    pass(35).await;
    for _ in 0..50 {
        checks.keep(pairs([1]));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    pass(35).await;
    assert_eq!(moved.times(1), left_alone.times(1));
    assert_eq!(moved.changes(1).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_left_the_set_is_not_probed_and_what_it_answers_is_not_told() {
    let world = Arc::new(World::default());
    let checks = world.start(AT_ONCE);
    world.set(2, Way::Hangs);
    checks.keep(pairs([1, 2]));
    pass(1).await;
    checks.keep(pairs([]));
    pass(60).await;
    assert_eq!((world.times(1).len(), world.times(2).len()), (1, 1));
    assert!(world.changes(2).is_empty() && checks.all().await.is_empty());
    checks.keep(pairs([1]));
    pass(1).await;
    assert_eq!(world.changes(1).len(), 2, "it comes back as one that is not known");
}

#[tokio::test(start_paused = true)]
async fn what_returns_while_it_is_being_probed_is_not_probed_twice() {
    let world = Arc::new(World::default());
    let checks = world.start(AT_ONCE);
    world.set(1, Way::Hangs);
    checks.keep(pairs([1]));
    tokio::time::sleep(Duration::from_millis(100)).await;
    for set in [pairs([]), pairs([1]), pairs([]), pairs([1])] {
        checks.keep(set);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    pass(3).await;
    assert_eq!(world.changes(1), ["Unknown -> Sick: not connected within 2s"]);
}

#[tokio::test(start_paused = true)]
async fn members_can_be_probed_now_ahead_of_all_others() {
    let world = Arc::new(World::default());
    let checks = world.start(4);
    for member in 0..50 {
        world.set(member, Way::Hangs);
    }
    checks.keep(pairs(0..50));
    pass(5).await;
    world.set(101, Way::Refuses);
    // The set is told, and not taken in yet: the question counts for it all the same.
    checks.keep(pairs((0..50).chain(100..102)));
    let began = Instant::now();
    let known = checks.probe_now(pairs([101, 100, 999]), Duration::from_secs(10)).await;
    assert!(began.elapsed() <= Duration::from_secs(2), "{:?}", began.elapsed());
    let healths: Vec<_> = known.iter().map(|known| (known.pair.member, known.health)).collect();
    assert_eq!(healths, [(101, Health::Sick), (100, Health::Healthy), (999, Health::Unknown)]);
    assert_eq!(known[0].last.as_ref().unwrap().1, Err(Sick::Refused));
}

#[tokio::test(start_paused = true)]
async fn a_probe_asked_for_now_is_a_new_one_where_a_result_is_known() {
    let world = Arc::new(World::default());
    let checks = world.start(AT_ONCE);
    checks.keep(pairs([1]));
    pass(30).await;
    world.set(1, Way::Refuses);
    let known = checks.probe_now(pairs([1]), Duration::from_secs(1)).await;
    assert_eq!((known[0].health, known[0].is_in_doubt), (Health::Healthy, true));
    assert_eq!(known[0].last.as_ref().unwrap().1, Err(Sick::Refused));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_results_ends_when_it_should() {
    let world = Arc::new(World::default());
    let checks = world.start(AT_ONCE);
    world.set(1, Way::Hangs);
    checks.keep(pairs([1, 2]));
    let began = Instant::now();
    let known = checks.probe_now(pairs([1, 2]), Duration::from_millis(300)).await;
    assert_eq!(began.elapsed().as_millis(), 300);
    assert_eq!([known[0].health, known[1].health], [Health::Unknown, Health::Healthy]);
    // One that leaves is not waited for.
    let asked = checks.clone();
    let asked = tokio::spawn(async move { asked.probe_now(pairs([1]), Duration::from_secs(100)).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    checks.keep(pairs([2]));
    assert_eq!(asked.await.unwrap()[0].health, Health::Unknown);
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_is_probed_again_and_says_nothing_of_the_member() {
    let world = Arc::new(World::default());
    let checks = world.start(1);
    world.set(1, Way::Panics);
    checks.keep(pairs([1]));
    pass(60).await;
    assert!(world.times(1).len() >= 5 && world.changes(1).is_empty());
    assert_eq!(known(&checks, 1).await.last.unwrap().1, Err(Sick::Aborted));
    world.set(1, None);
    pass(15).await;
    assert_eq!(known(&checks, 1).await.health, Health::Healthy);
}

#[tokio::test(start_paused = true)]
async fn a_prober_ends_with_its_last_handle() {
    let world = Arc::new(World::default());
    let checks = world.start(AT_ONCE);
    world.set(1, Way::Hangs);
    checks.keep(pairs([1]));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!world.under_way.lock().unwrap().is_empty());
    drop(checks);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(world.under_way.lock().unwrap().is_empty());
    // And what it was told with.
    assert_eq!(Arc::strong_count(&world), 1);
}

#[tokio::test(start_paused = true)]
async fn one_member_under_two_checks_has_two_standings() {
    let world = Arc::new(World::default());
    let checks = world.start(AT_ONCE);
    let http = CheckSpec { kind: CheckKind::Http(HttpCheck::default()), ..CheckSpec::default() };
    let mut both = pairs([1, 1]);
    both[1].check = Arc::new(http);
    checks.keep(both.clone());
    pass(1).await;
    let healths: Vec<_> =
        checks.probe_now(both, Duration::from_secs(5)).await.iter().map(|known| known.health).collect();
    assert_eq!(healths, [Health::Healthy, Health::Sick]);
}

/// A member on loopback that answers every request on a connection of its own with this status.
async fn serve(listener: TcpListener, status: &'static str) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = [0; 1000];
        let _ = stream.read(&mut request).await;
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

#[tokio::test]
async fn a_member_that_stops_and_starts_again_is_noticed_on_real_connections() {
    let (changes, mut told) = mpsc::unbounded_channel();
    let connect = |pair: &Pair<SocketAddr>| TcpStream::connect(pair.member);
    let tell = move |_: &Pair<SocketAddr>, changed: Changed| drop(changes.send(changed.reason.to_string()));
    let (prober, checks) = Prober::new(connect, tell, AT_ONCE, 7);
    tokio::spawn(prober.run());
    // Where no other test listens, as the port is given up meanwhile.
    let listener = TcpListener::bind("127.0.0.10:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let check = CheckSpec {
        kind: CheckKind::Http(HttpCheck::default()),
        interval: Duration::from_millis(40),
        settle_interval: Duration::from_millis(20),
        ..CheckSpec::default()
    };
    checks.keep([Pair {
        member: address,
        check: check.into(),
        protocol: Protocol::Http1,
        is_tls: false,
        authority: address.to_string().into(),
    }]);
    let mut next = async || tokio::time::timeout(Duration::from_secs(10), told.recv()).await.unwrap().unwrap();

    let serving = tokio::spawn(serve(listener, "200 OK"));
    assert_eq!(next().await, "a probe was answered as expected");
    serving.abort();
    let _ = serving.await;
    assert_eq!(next().await, "3 probes in a row were bad, the last: refused");
    let serving = tokio::spawn(serve(TcpListener::bind(address).await.unwrap(), "200 OK"));
    assert_eq!(next().await, "2 probes in a row were answered as expected");
    serving.abort();
    let _ = serving.await;
    tokio::spawn(serve(TcpListener::bind(address).await.unwrap(), "503 Service Unavailable"));
    assert_eq!(next().await, "3 probes in a row were bad, the last: expected status 200-299, got 503");
}
