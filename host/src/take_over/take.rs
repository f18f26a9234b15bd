//! The new process: asks a running one for its place.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use super::line::Line;
use super::{Descriptor, Message, PROTOCOL};
use crate::control::Sockets;
use crate::proxy::inherited::Passed;
use crate::proxy::socket::Socket;
use crate::store::TAKE_OVER_FILE;

/// How long the running process may take to answer: it ends a change that is under way, and flushes its journal.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// A place that is about to be ours.
#[derive(Debug)]
pub struct Taking {
    line: Line,
    /// The release that serves there.
    pub release: u64,
}

/// What came with it.
pub struct Handed {
    /// Listening sockets.
    pub listening: Vec<Passed>,
    /// The control API's.
    pub control: Sockets,
    /// Where the next process will ask.
    pub door: UnixListener,
    /// The lock on the state folder.
    pub lock: File,
}

/// Why a running process's place cannot be had. It goes on.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// It says so.
    #[error("the running switchback keeps its place: {0}")]
    Kept(String),
    /// Another release serves by now.
    #[error("somebody went back or forward meanwhile")]
    Overtaken,
    /// It has died before it let us serve.
    #[error("the running switchback has ended")]
    Ended,
    /// It does not speak to us as expected.
    #[error("the running switchback does not hand over its place")]
    Line(#[source] io::Error),
    /// What it says and what its journal says differ.
    #[error("the running switchback serves r{0}, its journal says otherwise")]
    OtherRelease(u64),
}

impl TakeOverError {
    /// Whether to begin again.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Overtaken | Self::Ended)
    }
}

/// Asks the process that runs on this state folder for its place; `None` where nobody answers. Blocks.
///
/// # Errors
/// When it says no.
pub fn ask(state: &Path) -> Result<Option<(Taking, Handed)>, TakeOverError> {
    let stream = match UnixStream::connect(state.join(TAKE_OVER_FILE)) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(TakeOverError::Line(error)),
    };
    let mut line = Line::new(stream).map_err(TakeOverError::Line)?;
    let (version, pid) = (env!("CARGO_PKG_VERSION").into(), std::process::id());
    line.say(&Message::Ask { protocol: PROTOCOL, version, pid }).map_err(lost)?;
    match line.hear(ANSWER_TIMEOUT).map_err(lost)? {
        Message::Here { version, release, descriptors } => {
            tracing::info!(release, version, "getting ready to take over from the running switchback");
            let handed = line.take(descriptors.len(), ANSWER_TIMEOUT).map_err(lost)?;
            let handed = Handed::sorted(descriptors.into_iter().zip(handed)).map_err(TakeOverError::Line)?;
            Ok(Some((Taking { line, release }, handed)))
        }
        Message::Refuse { why } => Err(TakeOverError::Kept(why)),
        said => Err(strange(&said)),
    }
}

impl Handed {
    fn sorted(descriptors: impl Iterator<Item = (Descriptor, OwnedFd)>) -> io::Result<Self> {
        let (mut listening, mut tcp, mut unix, mut door, mut lock) = (Vec::new(), None, None, None, None);
        for (is, descriptor) in descriptors {
            match is {
                Descriptor::Listener { id, address, lasts } => {
                    let socket = Socket::shared(descriptor)?;
                    listening.push(Passed { id: id.map(Into::into), address, lasts, socket });
                }
                Descriptor::Control => tcp = Some(descriptor.into()),
                Descriptor::ControlSocket => unix = Some(descriptor.into()),
                Descriptor::TakeOver => door = Some(descriptor.into()),
                Descriptor::Lock => lock = Some(descriptor.into()),
            }
        }
        let missing = || io::Error::new(io::ErrorKind::InvalidData, "it did not hand over all that is needed");
        let (tcp, unix): (TcpListener, UnixListener) = (tcp.ok_or_else(missing)?, unix.ok_or_else(missing)?);
        let door: UnixListener = door.ok_or_else(missing)?;
        tcp.set_nonblocking(true)?;
        unix.set_nonblocking(true)?;
        door.set_nonblocking(true)?;
        Ok(Self { listening, control: Sockets { tcp, unix }, door, lock: lock.ok_or_else(missing)? })
    }
}

impl Taking {
    /// Says that we can serve; answers when we may. Blocks.
    ///
    /// # Errors
    /// When we may not.
    pub fn ready(&mut self) -> Result<(), TakeOverError> {
        self.line.say(&Message::Ready).map_err(lost)?;
        match self.line.hear(ANSWER_TIMEOUT).map_err(lost)? {
            Message::Go => Ok(()),
            Message::Again => Err(TakeOverError::Overtaken),
            Message::Withdrawn { why } => Err(TakeOverError::Kept(why)),
            said => Err(strange(&said)),
        }
    }

    /// Says that we serve; answers when everything is ours. Blocks.
    ///
    /// # Errors
    /// When the running process keeps its place.
    pub fn serving(&mut self) -> Result<(), TakeOverError> {
        let heard = self.line.say(&Message::Serving).and_then(|()| self.line.hear(ANSWER_TIMEOUT));
        match heard.map_err(lost) {
            Ok(Message::Left) => Ok(()),
            Ok(Message::Withdrawn { why }) => Err(TakeOverError::Kept(why)),
            Ok(said) => Err(strange(&said)),
            // It would have said so if it kept its place. We are the only one who serves.
            Err(TakeOverError::Ended) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Says that we cannot have the place.
    pub fn give_up(&mut self, why: String) {
        let _ = self.line.say(&Message::GiveUp { why });
    }
}

fn lost(error: io::Error) -> TakeOverError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            TakeOverError::Ended
        }
        _ => TakeOverError::Line(error),
    }
}

fn strange(said: &Message) -> TakeOverError {
    TakeOverError::Line(io::Error::new(io::ErrorKind::InvalidData, format!("it said {said:?}")))
}
