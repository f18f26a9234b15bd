//! A new process takes the place of a running one: under load, and when it does not go well.

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use switchback::take_over::line::Line;
use switchback::take_over::{Descriptor, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use crate::leaving::{begin, last_answer, patient};
use crate::process::{Load, Process, Site};
use crate::support::{Member, PATIENCE, in_time, read_head};

#[tokio::test(flavor = "multi_thread")]
async fn processes_take_over_from_each_other_under_load_and_nobody_notices() {
    let member = Member::named("blue").await;
    let site = Site::new("\"127.0.0.1:0\", \"unix:web.sock\"", member.address, "workers = 2\ndrain = \"10s\"");
    let mut host = site.start(&[]).await;
    let load = Load::start(host.address(), Some(site.path("web.sock")));
    load.goes_on(50).await;
    // Other numbers of workers than there are sockets.
    for workers in [3, 1, 2, 4] {
        site.write(&site.config().replacen(&site.config()[..11], &format!("workers = {workers}"), 1));
        let new = site.start(&["--take-over"]).await;
        assert_eq!(new.address(), host.address());
        assert_eq!(host.ended().await, Some(0));
        load.goes_on(50).await;
        host = new;
    }
    load.stop().await;
    assert_eq!(site.ask(&["switch", "web", "green"]).await.unwrap()["durable"], true);
    assert_eq!(site.ask(&["back"]).await.unwrap()["to"]["number"], 1);
    host.signal(Signal::TERM);
    assert_eq!(host.ended().await, Some(0));
    assert!(!site.path("web.sock").exists() && !site.path("state/take_over.sock").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_the_control_api_go_through_while_the_place_changes_hands() {
    let member = Member::named("blue").await;
    let site = Site::new("\"127.0.0.1:0\"", member.address, "drain = \"10s\"");
    let mut host = site.start(&[]).await;
    for turn in 0..3 {
        let (new, asked) = tokio::join!(site.start(&["--take-over"]), async {
            let mut asked = Vec::new();
            for pool in ["green", "blue", "green", "blue"] {
                asked.push(site.ask(&["switch", "web", pool]).await.map(|receipt| receipt["to"]["number"].as_u64()));
                assert_eq!(site.ready().await.as_deref(), Some("200 ready"));
            }
            asked
        });
        let expected: Vec<_> = (1..=4).map(|step| Ok(Some(1 + turn * 4 + step))).collect();
        assert_eq!(asked, expected);
        assert_eq!(host.ended().await, Some(0));
        host = new;
        // Both have written the journal: it is one chain, and each entry has an id of its own.
        let verified = site.ask(&["journal", "verify"]).await.unwrap();
        assert_eq!((&verified["whole"], &verified["late"]), (&true.into(), &0.into()), "{verified}");
        let entries = site.ask(&["history", "--limit", "1000"]).await.unwrap()["entries"].as_array().unwrap().len();
        assert_eq!(entries as u64, 1 + (turn + 1) * 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_ends_where_it_began() {
    let (allow, may) = watch::channel(false);
    let member = patient(&may).await;
    let site = Site::new("\"127.0.0.1:0\"", member.address, "drain = \"20s\"");
    let mut host = site.start(&[]).await;
    let mut slow = begin(&host, "GET /slow HTTP/1.1", "").await;
    let mut upload = begin(&host, "POST /upload HTTP/1.1\r\ncontent-length: 10", "begun").await;
    let mut tunnel = begin(&host, "GET /chat HTTP/1.1\r\nconnection: upgrade\r\nupgrade: echo", "").await;
    in_time("the switch", read_head(&mut tunnel)).await.unwrap();
    let new = site.start(&["--take-over"]).await;
    host.logged("a new process has taken over").await;
    // Whoever upgrades may do so by habit.
    host.signal(Signal::TERM);
    host.logged("leaving already").await;
    upload.write_all(b"ended").await.unwrap();
    tunnel.write_all(b"hello").await.unwrap();
    in_time("an echo", tunnel.read_exact(&mut [0; 5])).await.unwrap();
    drop(tunnel);
    allow.send(true).unwrap();
    assert_eq!((&*last_answer(&mut slow).await, &*last_answer(&mut upload).await), ("", "begunended"));
    assert_eq!(host.ended().await, Some(0));
    assert_eq!(last_answer(&mut begin(&new, "GET / HTTP/1.1\r\nconnection: close", "").await).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_host_is_refused_unless_it_is_to_take_over() {
    let member = Member::named("blue").await;
    let site = Site::new("\"127.0.0.1:0\"", member.address, "");
    // Where nobody runs, there is nothing to take over.
    let host = site.start(&["--take-over"]).await;
    let mut second = Process::spawn(site.command());
    assert_eq!(second.ended().await, Some(1));
    second.logged("hint: `run --take-over` takes its place").await;
    Load::start(host.address(), None).stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_that_cannot_start_leaves_the_running_one_as_it_was() {
    let member = Member::named("blue").await;
    let site = Site::new("\"127.0.0.1:0\"", member.address, "");
    let host = site.start(&[]).await;
    let load = Load::start(host.address(), None);
    site.ask(&["switch", "web", "green"]).await.unwrap();
    // An address that is taken: by a member.
    let (config, taken) = (site.config(), format!("[control]\nlisten = \"{}\"", member.address));
    site.write(&config.replace("[control]\nlisten = \"127.0.0.1:0\"", &taken));
    let mut command = site.command();
    command.arg("--take-over");
    let mut new = Process::spawn(command);
    assert_eq!(new.ended().await, Some(1));
    new.logged("the control API cannot listen on").await;
    host.logged("this one goes on").await;
    assert!(site.whys().await[0].contains("did not take over: the control API cannot listen on"));
    assert_eq!(site.ask(&["back"]).await.unwrap()["to"]["number"], 1);
    assert_eq!(site.ask(&["switch", "web", "green"]).await.unwrap()["to"]["number"], 3);
    site.write(&config);
    load.goes_on(20).await;
    load.stop().await;
    site.start(&["--take-over"]).await;
}

/// A new process that does as the test says.
struct Fake(Line);

impl Fake {
    fn ask(site: &Site, protocol: u32) -> Self {
        let mut line = Line::new(UnixStream::connect(site.path("state/take_over.sock")).unwrap()).unwrap();
        line.say(&Message::Ask { protocol, version: "9.9.9".into(), pid: 1 }).unwrap();
        Self(line)
    }

    /// One that was handed everything.
    fn handed(site: &Site) -> Self {
        let mut fake = Self::ask(site, 1);
        let Message::Here { descriptors, .. } = fake.hears() else { panic!("it is handed everything") };
        fake.0.take(descriptors.len(), PATIENCE).unwrap();
        fake
    }

    fn hears(&mut self) -> Message {
        self.0.hear(PATIENCE).unwrap()
    }
}

/// The host serves, can change, and can be taken over from.
async fn goes_on(site: &Site, host: Process) {
    let status = site.ask(&["status"]).await.unwrap();
    let before = status["current"]["number"].as_u64().unwrap();
    let pool = if status["vips"][0]["decider"].to_string().contains("blue") { "green" } else { "blue" };
    assert_eq!(site.ask(&["switch", "web", pool]).await.unwrap()["changed"], true);
    assert_eq!(site.ask(&["back"]).await.unwrap()["to"]["number"], before);
    let load = Load::start(host.address(), None);
    let new = site.start(&["--take-over"]).await;
    load.goes_on(20).await;
    load.stop().await;
    drop((host, new));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_that_dies_or_hangs_at_any_step_is_done_without() {
    let member = Member::named("blue").await;
    let site = Site::new("\"127.0.0.1:0\"", member.address, "take_over_timeout = \"300ms\"\ndrain = \"2s\"");
    let host = site.start(&[]).await;
    // It dies while it gets ready.
    drop(Fake::handed(&site));
    // It hangs.
    let mut hangs = Fake::handed(&site);
    let why = "it was not ready within 300ms".to_owned();
    assert_eq!(hangs.hears(), Message::Withdrawn { why: why.clone() });
    // It dies when it was told to serve.
    let mut dies = Fake::handed(&site);
    dies.0.say(&Message::Ready).unwrap();
    assert_eq!(dies.hears(), Message::Go);
    drop(dies);
    // It gives up, and it says what is not expected.
    Fake::handed(&site).0.say(&Message::GiveUp { why: "no luck".into() }).unwrap();
    let mut strange = Fake::handed(&site);
    strange.0.say(&Message::Serving).unwrap();
    let Message::Withdrawn { .. } = strange.hears() else { panic!("it is refused") };
    let whys = site.whys().await;
    let expected = ["expected it to be ready, got Serving", "no luck", "it ended", &why, "it ended"];
    for (why, expected) in whys.iter().zip(expected) {
        assert_eq!(*why, format!("did not take over: {expected}"));
    }
    goes_on(&site, host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn back_works_while_a_new_process_gets_ready_which_then_begins_again() {
    let member = Member::named("blue").await;
    let site = Site::new("\"127.0.0.1:0\"", member.address, "");
    let host = site.start(&[]).await;
    site.ask(&["switch", "web", "green"]).await.unwrap();
    let mut new = Fake::handed(&site);
    assert_eq!(site.ask(&["back"]).await.unwrap()["to"]["number"], 1);
    // What is new waits.
    let switch = site.ask(&["switch", "web", "green"]);
    tokio::pin!(switch);
    let waits = tokio::time::timeout(Duration::from_millis(300), &mut switch).await;
    assert!(waits.is_err(), "{waits:?}");
    new.0.say(&Message::Ready).unwrap();
    assert_eq!(new.hears(), Message::Again);
    assert_eq!(in_time("the switch", switch).await.unwrap()["to"]["number"], 3);
    assert!(!site.whys().await.iter().any(|why| why.contains("did not take over")));
    goes_on(&site, host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_is_refused_and_says_what_to_do() {
    let member = Member::named("blue").await;
    let site = Site::new("\"127.0.0.1:0\"", member.address, "drain = \"2s\"");
    let host = site.start(&[]).await;
    let Message::Refuse { why } = Fake::ask(&site, 99).hears() else { panic!("it is refused") };
    assert!(
        why.contains("by protocol 1, switchback 9.9.9 asks by protocol 99: stop it and start the new one"),
        "{why}"
    );
    goes_on(&site, host).await;
}

/// A running host that does as the test says.
struct FakeHost {
    door: UnixListener,
    front: TcpListener,
    control: TcpListener,
    socket: UnixListener,
    lock: File,
}

impl FakeHost {
    /// In place of one that has served r1 here.
    async fn on(site: &Site) -> Self {
        let mut host = site.start(&[]).await;
        host.signal(Signal::TERM);
        assert_eq!(host.ended().await, Some(0));
        let lock = File::create(site.path("state/lock")).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        Self {
            door: UnixListener::bind(site.path("state/take_over.sock")).unwrap(),
            front: TcpListener::bind("127.0.0.1:0").unwrap(),
            control: TcpListener::bind("127.0.0.1:0").unwrap(),
            socket: UnixListener::bind(site.path("state/control.sock")).unwrap(),
            lock,
        }
    }

    /// A new process, and the line to it.
    async fn asked(&self, site: &Site) -> (Process, Line) {
        let mut command = site.command();
        command.arg("--take-over");
        let new = Process::spawn(command);
        let door = self.door.try_clone().unwrap();
        // The process before may have said otherwise: it is the same socket.
        door.set_nonblocking(false).unwrap();
        let (stream, _) =
            in_time("a question", tokio::task::spawn_blocking(move || door.accept())).await.unwrap().unwrap();
        let mut line = Line::new(stream).unwrap();
        let Message::Ask { protocol: 1, .. } = line.hear(PATIENCE).unwrap() else { panic!("it asks") };
        (new, line)
    }

    fn hand(&self, line: &mut Line) {
        let address = self.front.local_addr().unwrap().into();
        let listener = Descriptor::Listener { id: Some("127.0.0.1:0".into()), address, lasts: false };
        let descriptors =
            vec![listener, Descriptor::Control, Descriptor::ControlSocket, Descriptor::TakeOver, Descriptor::Lock];
        line.say(&Message::Here { version: "0.0.1".into(), release: 1, descriptors }).unwrap();
        let handed =
            [self.front.as_fd(), self.control.as_fd(), self.socket.as_fd(), self.door.as_fd(), self.lock.as_fd()];
        line.hand(&handed).unwrap();
        assert_eq!(line.hear(PATIENCE).unwrap(), Message::Ready);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_goes_on_alone_where_the_running_one_dies_at_the_last_step() {
    let member = Member::named("blue").await;
    let site = Site::new("\"127.0.0.1:0\"", member.address, "");
    let host = FakeHost::on(&site).await;
    let (new, mut line) = host.asked(&site).await;
    host.hand(&mut line);
    line.say(&Message::Go).unwrap();
    assert_eq!(line.hear(PATIENCE).unwrap(), Message::Serving);
    let address = host.front.local_addr().unwrap();
    drop((line, host));
    new.logged("control API").await;
    assert_eq!(new.address(), address);
    goes_on(&site, new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_starts_by_itself_where_the_running_one_dies_before_that() {
    let member = Member::named("blue").await;
    let site = Site::new("\"127.0.0.1:0\"", member.address, "");
    let host = FakeHost::on(&site).await;
    let (new, mut line) = host.asked(&site).await;
    host.hand(&mut line);
    drop((line, host));
    new.logged("control API").await;
    goes_on(&site, new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_ends_where_the_running_one_keeps_its_place() {
    let member = Member::named("blue").await;
    let site = Site::new("\"127.0.0.1:0\"", member.address, "");
    let host = FakeHost::on(&site).await;
    let kept = Message::Withdrawn { why: "it was late".into() };
    // Before it serves, and after.
    for last in [Message::Ready, Message::Serving] {
        let (mut new, mut line) = host.asked(&site).await;
        host.hand(&mut line);
        if last == Message::Serving {
            line.say(&Message::Go).unwrap();
            assert_eq!(line.hear(PATIENCE).unwrap(), last);
        }
        line.say(&kept).unwrap();
        assert_eq!(new.ended().await, Some(1));
        new.logged("error: the running switchback keeps its place: it was late").await;
    }
    let (mut new, mut line) = host.asked(&site).await;
    line.say(&Message::Refuse { why: "not today".into() }).unwrap();
    assert_eq!(new.ended().await, Some(1));
    new.logged("keeps its place: not today").await;
    // Its sockets are as they were.
    let client = std::net::TcpStream::connect(host.front.local_addr().unwrap()).unwrap();
    assert_eq!(host.front.accept().unwrap().1, client.local_addr().unwrap());
}
