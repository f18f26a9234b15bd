//! What a service manager such as systemd does for us, and is told: sockets that are open before we start, and how we
//! stand.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::Signal;
use tokio::process::Command;

use crate::process::{Load, Process, Site};
use crate::support::{Member, PATIENCE, in_time};

/// A manager that holds a socket for `address`, and one at the path `web.sock`.
struct Manager {
    tcp: TcpListener,
    unix: UnixListener,
}

impl Manager {
    fn of(site: &Site) -> Self {
        Self {
            tcp: TcpListener::bind("127.0.0.1:0").unwrap(),
            unix: UnixListener::bind(site.path("web.sock")).unwrap(),
        }
    }

    fn address(&self) -> SocketAddr {
        self.tcp.local_addr().unwrap()
    }

    /// Passes both sockets, as sd_listen_fds(3) has it, to the process `pid` says.
    fn pass(&self, run: &Command, pid: &str) -> Command {
        let mut command = Command::new("sh");
        // The standard streams are what can be given to a child by name; it moves them to where they belong.
        let script = format!(
            "exec 3<&0 4<&1 </dev/null 1>&2; export LISTEN_FDS=2 LISTEN_PID={pid} LISTEN_FDNAMES=web:web; exec \"$@\""
        );
        command.arg("-c").arg(script).arg("sh").arg(run.as_std().get_program()).args(run.as_std().get_args());
        command.stdin(Stdio::from(OwnedFd::from(self.tcp.try_clone().unwrap())));
        command.stdout(Stdio::from(OwnedFd::from(self.unix.try_clone().unwrap())));
        command
    }
}

/// A site that listens at the manager's sockets.
async fn site(member: &Member) -> (Site, Manager) {
    let site = Site::new("\"ADDRESS\", \"unix:web.sock\"", member.address, "workers = 3\ndrain = \"10s\"");
    let manager = Manager::of(&site);
    site.write(&site.config().replace("ADDRESS", &manager.address().to_string()));
    (site, manager)
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_lose_nothing_where_a_service_manager_holds_the_sockets() {
    let member = Member::named("blue").await;
    let (site, manager) = site(&member).await;
    let mut host = Process::serving(manager.pass(&site.command(), "$$")).await;
    let load = Load::start(manager.address(), Some(site.path("web.sock")));
    for _ in 0..3 {
        load.goes_on(50).await;
        host.signal(Signal::TERM);
        assert_eq!(host.ended().await, Some(0));
        host = Process::serving(manager.pass(&site.command(), "$$")).await;
    }
    load.goes_on(50).await;
    // They are handed on, and stay the manager's.
    let mut new = site.start(&["--take-over"]).await;
    assert_eq!(host.ended().await, Some(0));
    load.goes_on(50).await;
    load.stop().await;
    new.signal(Signal::TERM);
    assert_eq!(new.ended().await, Some(0));
    assert!(site.path("web.sock").exists(), "the path is the manager's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_no_listener_wants_is_a_warning() {
    let member = Member::named("blue").await;
    let site = Site::new("\"127.0.0.1:0\"", member.address, "");
    let manager = Manager::of(&site);
    let host = Process::serving(manager.pass(&site.command(), "$$")).await;
    for address in [manager.address().to_string(), format!("unix:{}", site.path("web.sock").display())] {
        assert!(host.log().contains(&format!("a socket was passed that no listener wants address={address}")));
    }
    assert_ne!(host.address(), manager.address());
    Load::start(host.address(), None).stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_are_for_another_process_are_left_alone() {
    let member = Member::named("blue").await;
    let (site, manager) = site(&member).await;
    let mut host = Process::spawn(manager.pass(&site.command(), "1"));
    assert_eq!(host.ended().await, Some(1));
    host.logged("Address already in use").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_listening_socket_stops_the_start() {
    let member = Member::named("blue").await;
    let site = Site::new("\"127.0.0.1:0\"", member.address, "");
    let run = site.command();
    let mut command = Command::new("sh");
    command.arg("-c").arg("exec 3</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\"");
    command.arg("sh").arg(run.as_std().get_program()).args(run.as_std().get_args());
    let mut host = Process::spawn(command);
    assert_eq!(host.ended().await, Some(1));
    host.logged("error: file descriptor 3 that the service manager passed (LISTEN_FDS) cannot be listened on").await;
}

/// What the manager is told next.
async fn told(socket: &UnixDatagram) -> String {
    let socket = tokio::net::UnixDatagram::from_std(socket.try_clone().unwrap()).unwrap();
    let mut message = [0; 256];
    let length = in_time("a message", socket.recv(&mut message)).await.unwrap();
    String::from_utf8(message[..length].to_vec()).unwrap()
}

fn notified(site: &Site) -> (UnixDatagram, PathBuf) {
    let path = site.path("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    (socket, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_is_told_how_we_stand() {
    let member = Member::named("blue").await;
    let site = Site::new("\"127.0.0.1:0\"", member.address, "drain = \"1s\"");
    let (socket, path) = notified(&site);
    let start = |args: &[&str]| {
        let mut command = site.command();
        command.args(args).env("NOTIFY_SOCKET", &path);
        command
    };
    let host = Process::serving(start(&[])).await;
    assert_eq!(told(&socket).await, "READY=1\n");
    host.signal(Signal::HUP);
    let reloading = told(&socket).await;
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(told(&socket).await, "READY=1\n");
    let new = Process::serving(start(&["--take-over"])).await;
    let mut both = [told(&socket).await, told(&socket).await];
    both.sort();
    assert_eq!(both, [format!("MAINPID={}\n", new.pid().as_raw_nonzero()), "READY=1\n".to_owned()]);
    new.signal(Signal::TERM);
    assert_eq!(told(&socket).await, "STOPPING=1\n");
}
