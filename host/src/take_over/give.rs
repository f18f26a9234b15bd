//! The running process: hands its place to a new one, and keeps it where that one does not make it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::line::Line;
use super::{Descriptor, Message, PROTOCOL};
use crate::causes::with_causes;
use crate::control::Sockets;
use crate::switch::hold::Stand;
use crate::switch::{Refusal, Switch};

/// How long a process that has connected may take to ask.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a new process that was told to serve may take until it does: it has everything by then.
const SERVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to leave those who ask waiting when the system gives us none.
const PAUSE: Duration = Duration::from_secs(1);

/// What goes to a new process.
#[derive(Clone)]
pub struct Place {
    /// Who may change what is current, and all listening sockets.
    pub switch: Arc<Switch>,
    /// The control API's sockets.
    pub control: Arc<Sockets>,
    /// Where new processes ask.
    pub door: Arc<UnixListener>,
    /// How long one may take until it is ready.
    pub timeout: Duration,
}

/// The process that asks.
#[derive(Debug)]
pub struct Asker {
    /// The process.
    pub pid: u32,
    version: String,
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} (switchback {})", self.pid, self.version)
    }
}

/// Why the place was kept.
enum Kept {
    /// Somebody went back meanwhile. The new process asks again by itself.
    Overtaken,
    /// The new process did not make it.
    Failed(String),
}

impl Place {
    /// Waits until a new process has the place; answers which. One at a time may try.
    pub async fn give_way(&self) -> io::Result<Asker> {
        let door = tokio::net::UnixListener::from_std(self.door.try_clone()?)?;
        loop {
            let stream = match door.accept().await {
                Ok((stream, _)) => stream.into_std()?,
                Err(error) => {
                    tracing::warn!(%error, "a new process cannot ask for our place now");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let (place, runtime) = (self.clone(), Handle::current());
            let given = tokio::task::spawn_blocking(move || place.give(stream, &runtime)).await;
            if let Ok(Some(asker)) = given {
                return Ok(asker);
            }
        }
    }

    fn give(&self, stream: UnixStream, runtime: &Handle) -> Option<Asker> {
        let mut line = Line::new(stream).ok()?;
        let asker = asked(&mut line)?;
        tracing::info!(%asker, "a new process asks for our place");
        let stand = match runtime.block_on(self.switch.hold_still()) {
            Ok(stand) => stand,
            Err(refusal) => {
                tracing::warn!(%asker, %refusal, "a new process cannot have our place");
                let _ = line.say(&Message::Refuse { why: with_causes(&refusal) });
                return None;
            }
        };
        match self.hand_over(&mut line, &stand) {
            Ok(()) => return Some(asker),
            Err(Kept::Overtaken) => {
                self.switch.keep();
                let _ = line.say(&Message::Again);
            }
            Err(Kept::Failed(why)) => {
                self.switch.keep();
                let _ = line.say(&Message::Withdrawn { why: why.clone() });
                self.switch.not_replaced(&asker.to_string(), &why);
            }
        }
        None
    }

    fn hand_over(&self, line: &mut Line, stand: &Stand) -> Result<(), Kept> {
        self.hand_descriptors(line, stand)
            .map_err(|error| Kept::Failed(format!("it could not be handed what it needs: {error}")))?;
        match line.hear(self.timeout) {
            Ok(Message::Ready) => {}
            said => return Err(unlike(said, "ready", self.timeout)),
        }
        self.switch.give(stand).map_err(|refusal| match refusal {
            Refusal::Overtaken(_) => Kept::Overtaken,
            refusal => Kept::Failed(with_causes(&refusal)),
        })?;
        line.say(&Message::Go).map_err(gone)?;
        match line.hear(SERVE_TIMEOUT) {
            Ok(Message::Serving) => {}
            said => return Err(unlike(said, "serving", SERVE_TIMEOUT)),
        }
        // Before the new process may do as it likes: what is its own by then is not to be removed by us.
        self.switch.share_listeners(true);
        line.say(&Message::Left).map_err(|error| {
            self.switch.share_listeners(false);
            gone(error)
        })
    }

    fn hand_descriptors(&self, line: &mut Line, stand: &Stand) -> io::Result<()> {
        let listening = self.switch.to_hand_on()?;
        let lock = self.switch.store.lock_to_share()?;
        let others: [(Descriptor, BorrowedFd<'_>); 4] = [
            (Descriptor::Control, self.control.tcp.as_fd()),
            (Descriptor::ControlSocket, self.control.unix.as_fd()),
            (Descriptor::TakeOver, self.door.as_fd()),
            (Descriptor::Lock, lock.as_fd()),
        ];
        let listening = listening.iter().map(|passed| {
            let (id, address) = (passed.id.as_deref().map(str::to_owned), passed.address.clone());
            (Descriptor::Listener { id, address, lasts: passed.lasts }, passed.socket.as_fd())
        });
        let (descriptors, handed): (Vec<_>, Vec<_>) = listening.chain(others).unzip();
        line.say(&Message::Here { version: env!("CARGO_PKG_VERSION").into(), release: stand.release, descriptors })?;
        line.hand(&handed)
    }
}

fn asked(line: &mut Line) -> Option<Asker> {
    let why = match line.hear(ASK_TIMEOUT) {
        Ok(Message::Ask { protocol: PROTOCOL, version, pid }) => return Some(Asker { pid, version }),
        Ok(Message::Ask { protocol, version, .. }) => format!(
            "the running switchback {} hands over by protocol {PROTOCOL}, switchback {version} asks by protocol {protocol}: \
             stop it and start the new one",
            env!("CARGO_PKG_VERSION")
        ),
        Ok(said) => format!("expected to be asked, got {said:?}"),
        Err(error) => format!("expected to be asked: {error}"),
    };
    tracing::warn!("a new process cannot have our place: {why}");
    let _ = line.say(&Message::Refuse { why });
    None
}

/// What came instead of what was expected.
fn unlike(said: io::Result<Message>, expected: &str, within: Duration) -> Kept {
    Kept::Failed(match said {
        Ok(Message::GiveUp { why }) => why,
        Ok(said) => format!("expected it to be {expected}, got {said:?}"),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            format!("it was not {expected} within {}", humantime::format_duration(within))
        }
        Err(error) => return gone(error),
    })
}

#[allow(clippy::needless_pass_by_value, reason = "it maps errors")]
fn gone(error: io::Error) -> Kept {
    let gone = [io::ErrorKind::UnexpectedEof, io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
    Kept::Failed(if gone.contains(&error.kind()) { "it ended".into() } else { error.to_string() })
}
