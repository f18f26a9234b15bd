//! Listening sockets: bound here, or handed to us by whoever held them before.
//!
//! At an IP address there is one for each worker, among which the kernel spreads new connections. Sockets that were handed
//! to us are as many as they are; the workers share them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, Protocol, SockFilter, SockRef, Type};

use crate::address::Address;

/// Connections the kernel holds for a worker that is busy.
const BACKLOG: i32 = 1024;

/// A socket that accepts connections.
pub struct Socket {
    kind: Kind,
    /// Whether another process has it, too: then what waits in it is not lost when we close it. The same for all clones.
    shared: Arc<AtomicBool>,
}

enum Kind {
    /// At an IP address.
    Tcp(TcpListener),
    /// At a path.
    Unix(UnixListener),
}

/// Binds sockets at an address: one for each worker, or one for all at a path. Port 0 becomes a free one, the same for
/// all.
///
/// # Errors
/// When the address cannot be had; the error names it.
pub fn bind(address: &Address, workers: usize) -> io::Result<Vec<Socket>> {
    let bound = match address {
        Address::Tcp(address) => bind_tcp(*address, workers),
        Address::Unix(path) => bind_unix(path),
    };
    bound.map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
}

fn bind_tcp(address: SocketAddr, workers: usize) -> io::Result<Vec<Socket>> {
    // Sockets with SO_REUSEPORT share an address with any others of the same user. Without this check, a second proxy
    // started by mistake would take half of the connections.
    if address.port() != 0 {
        drop(TcpListener::bind(address)?);
    }
    let first = bind_one(address)?;
    let bound = first.local_addr()?;
    let others = (1..workers).map(|_| bind_one(bound));
    std::iter::once(Ok(first)).chain(others).map(|socket| Ok(Socket::ours(Kind::Tcp(socket?)))).collect()
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind_unix(path: &Path) -> io::Result<Vec<Socket>> {
    // What a process that was killed left behind is in the way; what somebody answers at is not ours to take.
    let left_behind = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if left_behind && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        std::fs::remove_file(path)?;
    }
    let socket = UnixListener::bind(path)?;
    socket.set_nonblocking(true)?;
    Ok(vec![Socket::ours(Kind::Unix(socket))])
}

/// Gives each worker its sockets, so that every socket has a worker and every worker a socket.
///
/// # Errors
/// When there are no file descriptors for it.
pub fn spread(sockets: &[Socket], workers: usize) -> io::Result<Vec<Vec<Socket>>> {
    let number = sockets.len();
    let fits = number.is_multiple_of(workers) || workers.is_multiple_of(number);
    let of_worker = |worker: usize| -> io::Result<Vec<Socket>> {
        // The kernel spreads connections evenly over the sockets. Where they cannot be dealt out evenly, all workers
        // accept from all of them.
        let its = sockets.iter().enumerate().filter(|(socket, _)| !fits || socket % workers == worker % number);
        its.map(|(_, socket)| socket.try_clone()).collect()
    };
    (0..workers).map(of_worker).collect()
}

impl Socket {
    fn ours(kind: Kind) -> Self {
        Self { kind, shared: Arc::default() }
    }

    /// A socket that another process listens on as well.
    ///
    /// # Errors
    /// When it is none that accepts connections of TCP or at a path.
    pub fn shared(descriptor: OwnedFd) -> io::Result<Self> {
        let socket = socket2::Socket::from(descriptor);
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("it is not {what}"));
        if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
            return Err(wrong("a stream socket that listens"));
        }
        socket.set_nonblocking(true)?;
        let kind = match socket.domain()? {
            Domain::IPV4 | Domain::IPV6 => Kind::Tcp(socket.into()),
            Domain::UNIX => Kind::Unix(socket.into()),
            _ => return Err(wrong("of TCP, or at a path")),
        };
        let socket = Self { kind, shared: Arc::new(true.into()) };
        socket.address()?;
        Ok(socket)
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// When that is no address of ours, such as a Unix socket without a path.
    pub fn address(&self) -> io::Result<Address> {
        match &self.kind {
            Kind::Tcp(socket) => socket.local_addr().map(Address::Tcp),
            Kind::Unix(socket) => {
                let address = socket.local_addr()?;
                let path = address.as_pathname().ok_or_else(|| io::Error::other("the socket has no path"))?;
                Ok(Address::Unix(path.to_owned()))
            }
        }
    }

    /// The same socket once more.
    ///
    /// # Errors
    /// When there is no file descriptor for it.
    pub fn try_clone(&self) -> io::Result<Self> {
        let kind = match &self.kind {
            Kind::Tcp(socket) => Kind::Tcp(socket.try_clone()?),
            Kind::Unix(socket) => Kind::Unix(socket.try_clone()?),
        };
        Ok(Self { kind, shared: self.shared.clone() })
    }

    /// Whether another process has it, too.
    pub fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }

    /// Says whether another process has it, too.
    pub fn share(&self, shared: bool) {
        self.shared.store(shared, Ordering::Relaxed);
    }

    /// Becomes a socket of the runtime that it is called on.
    ///
    /// # Errors
    /// When the runtime cannot have it.
    pub fn into_accepting(self) -> io::Result<Accepting> {
        let of_runtime = match self.kind {
            Kind::Tcp(socket) => OfRuntime::Tcp(tokio::net::TcpListener::from_std(socket)?),
            Kind::Unix(socket) => OfRuntime::Unix(tokio::net::UnixListener::from_std(socket)?),
        };
        Ok(Accepting { socket: of_runtime, shared: self.shared })
    }
}

/// A socket that a runtime accepts from.
pub struct Accepting {
    /// The socket.
    pub socket: OfRuntime,
    shared: Arc<AtomicBool>,
}

/// Its kind.
pub enum OfRuntime {
    /// At an IP address.
    Tcp(tokio::net::TcpListener),
    /// At a path.
    Unix(tokio::net::UnixListener),
}

impl Accepting {
    /// Whether another process has it, too.
    pub fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }

    /// Has the kernel drop the first packet of a handshake and pass on the last, so that what is half open can be accepted
    /// before the socket closes. A client that begins now tries again by itself, after a second.
    pub fn turn_away_newcomers(&self) {
        if let OfRuntime::Tcp(socket) = &self.socket {
            // Where the kernel does not let us, closing the socket resets what was half open, as it always did.
            let _ = SockRef::from(socket).attach_filter(&DROPS_SYN);
        }
    }
}

/// In the language of the kernel's packet filters: of the flags of TCP (RFC 9293, 3.1), SYN without ACK. A filter sees
/// what follows the IP header.
const DROPS_SYN: [SockFilter; 5] = [
    SockFilter::new(LOAD_BYTE, 0, 0, 13),
    SockFilter::new(AND, 0, 0, 0x12),
    SockFilter::new(JUMP_IF_EQUAL, 0, 1, 0x02),
    SockFilter::new(RETURN, 0, 0, 0),
    SockFilter::new(RETURN, 0, 0, u32::MAX),
];

// linux/bpf_common.h: BPF_LD | BPF_B | BPF_ABS, BPF_ALU | BPF_AND | BPF_K, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K.
const LOAD_BYTE: u16 = 0x30;
const AND: u16 = 0x54;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Tcp(socket) => socket.as_fd(),
            Kind::Unix(socket) => socket.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sockets: usize, workers: usize, expected: &[usize]) {
        let address = "127.0.0.1:0".parse().unwrap();
        let spread = spread(&bind(&address, sockets).unwrap(), workers).unwrap();
        assert_eq!(spread.iter().map(Vec::len).collect::<Vec<_>>(), expected, "{sockets} sockets, {workers} workers");
    }

    #[test]
    fn every_worker_has_a_socket_and_every_socket_a_worker() {
        check(1, 3, &[1, 1, 1]);
        check(2, 4, &[1, 1, 1, 1]);
        check(4, 2, &[2, 2]);
        check(3, 2, &[3, 3]);
        check(2, 3, &[2, 2, 2]);
    }

    #[tokio::test]
    async fn whoever_connected_is_let_in_and_newcomers_are_not() {
        let address = "127.0.0.1:0".parse().unwrap();
        let socket = bind(&address, 1).unwrap().remove(0);
        let address = socket.address().unwrap().tcp().unwrap();
        let early = std::net::TcpStream::connect(address).unwrap();
        let accepting = socket.into_accepting().unwrap();
        accepting.turn_away_newcomers();
        let late = std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(200));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let OfRuntime::Tcp(listener) = &accepting.socket else { unreachable!("it was bound at an IP address") };
        assert_eq!(listener.accept().await.unwrap().1, early.local_addr().unwrap());
    }
}
