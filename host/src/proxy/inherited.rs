//! Listening sockets that were open before this process: a service manager's, or those of the process whose place it
//! takes.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use listenfd::ListenFd;

use super::socket::Socket;
use crate::address::Address;

/// Sockets that no listener uses yet, and those that a service manager keeps for us.
#[derive(Default)]
pub struct Inherited {
    sockets: Vec<Passed>,
}

/// One of them.
pub struct Passed {
    /// The listener that it was, where that is known.
    pub id: Option<Arc<str>>,
    /// Where it is bound.
    pub address: Address,
    /// Whether somebody keeps it open whatever becomes of us: a service manager.
    pub lasts: bool,
    /// The socket.
    pub socket: Socket,
}

/// Why sockets that a service manager passed cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("file descriptor {descriptor} that the service manager passed (LISTEN_FDS) cannot be listened on")]
pub struct NotASocket {
    descriptor: usize,
    #[source]
    error: io::Error,
}

/// Where the descriptors of sd_listen_fds(3) begin.
const FIRST: usize = 3;

impl Inherited {
    /// The sockets that a service manager passed, as sd_listen_fds(3) has it: `LISTEN_FDS` of them, if `LISTEN_PID` is us.
    /// To be called once, while there is one thread: the variables are taken away.
    ///
    /// # Errors
    /// When one of them is no socket that we could accept connections from.
    pub fn from_environment() -> Result<Self, NotASocket> {
        // The library goes without it; but without it the descriptors may be anything that we inherited.
        let is_for_us = std::env::var("LISTEN_PID").is_ok_and(|pid| pid.parse() == Ok(std::process::id()));
        if !is_for_us {
            return Ok(Self::default());
        }
        let mut passed = ListenFd::from_env();
        let sockets = (0..passed.len())
            .map(|index| take(&mut passed, index).map_err(|error| NotASocket { descriptor: FIRST + index, error }));
        Ok(Self { sockets: sockets.collect::<Result<_, _>>()? })
    }

    /// The same sockets once more.
    ///
    /// # Errors
    /// When there are no file descriptors for it.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { sockets: self.sockets.iter().map(Passed::try_clone).collect::<Result<_, _>>()? })
    }

    /// Sockets of the process whose place we take.
    pub fn handed(&mut self, sockets: Vec<Passed>) {
        self.sockets.extend(sockets);
    }

    /// The sockets of a listener, if there are any: those that bore its id, or are at its address.
    ///
    /// # Errors
    /// When there are no file descriptors for it.
    pub fn claim(&mut self, id: &str, address: &Address) -> io::Result<Option<Vec<Passed>>> {
        let has_id = self.sockets.iter().any(|passed| passed.id.as_deref() == Some(id));
        let is_its = |passed: &Passed| match &passed.id {
            Some(of) if has_id => **of == *id,
            _ => !has_id && passed.address == *address,
        };
        let mut claimed = Vec::new();
        // What lasts is kept: a later release may want it again.
        for passed in self.sockets.iter().filter(|passed| passed.lasts && is_its(passed)) {
            claimed.push(passed.try_clone()?);
        }
        claimed.extend(self.sockets.extract_if(.., |passed| !passed.lasts && is_its(passed)));
        Ok((!claimed.is_empty()).then_some(claimed))
    }

    /// Lets go of what nobody keeps for us and nobody claimed.
    pub fn settle(&mut self) {
        self.sockets.retain(|passed| passed.lasts);
    }

    /// What is kept for us.
    pub fn kept(&self) -> &[Passed] {
        &self.sockets
    }
}

impl Passed {
    fn try_clone(&self) -> io::Result<Self> {
        let socket = self.socket.try_clone()?;
        Ok(Self { id: self.id.clone(), address: self.address.clone(), lasts: self.lasts, socket })
    }
}

fn take(passed: &mut ListenFd, index: usize) -> io::Result<Passed> {
    let descriptor: Option<OwnedFd> = match passed.take_tcp_listener(index) {
        Ok(socket) => socket.map(OwnedFd::from),
        Err(_) => passed.take_unix_listener(index)?.map(OwnedFd::from),
    };
    let descriptor = descriptor.ok_or_else(|| io::Error::other("it was taken already"))?;
    let socket = Socket::shared(descriptor)?;
    Ok(Passed { id: None, address: socket.address()?, lasts: true, socket })
}
