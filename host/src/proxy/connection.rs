//! One client's connection, from the first byte: whom it speaks for, what secures it, what is spoken on it, and then who
//! serves it.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::exchange::Client;
use super::forwarded::Scheme;
use super::h1::wire::{Expected, Wire};
use super::h2::guard::PREFACE;
use super::leaving::Leaving;
use super::listener::Listener;
use super::proxy_protocol::{self, Parsed};
use super::stream::{Plain, Stream};
use super::tls::identity::Identity;
use super::worker::Worker;
use super::{h1, h2};
use crate::telemetry::Limit;
use crate::time::clock::Clocked;

/// How long a connection that was just accepted may take to begin when its listener leaves: a handshake's round trips.
/// Browsers open connections that they do not need yet, and the host would wait for those for as long as a head may take.
const SAY_TIME: Duration = Duration::from_secs(1);

/// Serves a connection to its end.
pub async fn serve(
    worker: Rc<Worker>,
    stream: Plain,
    peer: Option<SocketAddr>,
    listener: Arc<Listener>,
    leaving: Rc<Leaving>,
) {
    // All that comes before the first head has as long as a head has. What is boxed here and further down is what an idle
    // connection need not keep room for: there may be ten thousand of them.
    let opened = Box::pin(open(stream, peer, listener.clone()));
    let opened = tokio::time::timeout(listener.spec.limits.head_timeout, opened);
    let opened = tokio::select! {
        biased;
        opened = opened => opened,
        () = left(&leaving) => return,
    };
    match opened {
        Ok(Ok(Opened { client, stream, read_ahead, speaks: Speaks::Http2 })) => {
            Clocked(Box::pin(h2::server::serve(worker, Rc::new(client), stream, read_ahead, leaving))).await;
        }
        Ok(Ok(Opened { client, stream, read_ahead, speaks: Speaks::Http1 })) => {
            let wire = Wire::new(stream, read_ahead);
            Clocked(Box::pin(h1::server::serve(worker, Rc::new(client), wire, leaving))).await;
        }
        Ok(Err(error)) => tracing::debug!(?peer, listener = &*listener.name, %error, "a connection did not begin"),
        Err(_) => {
            worker.ground.counts.limited(worker.id, Limit::HeadTimeout);
            tracing::debug!(?peer, listener = &*listener.name, "a connection did not begin in time");
        }
    }
}

/// Resolves when the listener leaves, and whoever had sent something before could have said what it wants.
async fn left(leaving: &Rc<Leaving>) {
    leaving.wait().await;
    tokio::time::sleep(SAY_TIME).await;
}

/// How long a client that is not let in may take to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// What a client is told that is not let in, before it has said anything.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 50\r\n\r\n503 Service Unavailable: too many connections now\n";

/// Tells a client that there are too many connections. Over TLS that cannot be said before a handshake, which costs more
/// than serving it would.
pub async fn refuse(mut stream: Plain, is_tls: bool) {
    if is_tls {
        return;
    }
    if tokio::time::timeout(REFUSAL_TIMEOUT, stream.write_all(REFUSAL)).await.is_ok() {
        linger(stream).await;
    }
}

/// Ends a connection so that the client sees what it was told last: closing while something of it is unread would reset
/// the connection, and take that back.
async fn linger(mut stream: Plain) {
    let read = async {
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, read).await;
}

/// A connection that is ready for requests.
struct Opened {
    client: Client,
    stream: Stream,
    read_ahead: BytesMut,
    speaks: Speaks,
}

enum Speaks {
    Http1,
    Http2,
}

async fn open(mut plain: Plain, peer: Option<SocketAddr>, listener: Arc<Listener>) -> io::Result<Opened> {
    let (mut source, mut local) = (peer, plain.local());
    if listener.spec.proxy_protocol
        && let Some((from, to)) = read_proxy_header(&mut plain, peer, &listener).await?
    {
        (source, local) = (Some(from), Some(to));
    }
    let Some(tls) = &listener.tls else {
        let client = Client::new(source, local, Scheme::Http, listener);
        return sniff(client, Stream::Plain(plain)).await;
    };
    let stream = match TlsAcceptor::from(tls.clone()).accept(plain).into_fallible().await {
        Ok(stream) => stream,
        Err((error, plain)) => {
            linger(plain).await;
            return Err(error);
        }
    };
    let session = stream.get_ref().1;
    let identity = Identity::of_peer(session.peer_certificates());
    // RFC 9113, 3.3: over TLS, HTTP/2 is agreed on, never assumed.
    let speaks = if session.alpn_protocol() == Some(b"h2") { Speaks::Http2 } else { Speaks::Http1 };
    let mut client = Client::new(source, local, Scheme::Https, listener);
    client.identity = identity.map(Arc::new);
    Ok(Opened { client, stream: Stream::Tls(Box::new(stream.into())), read_ahead: BytesMut::new(), speaks })
}

/// Whom the connection speaks for. Said by those only whom the listener trusts (PROXY protocol, section 2): to all
/// others it is closed, as their word would be taken for a client's address.
async fn read_proxy_header(
    plain: &mut Plain,
    peer: Option<SocketAddr>,
    listener: &Listener,
) -> io::Result<Option<(SocketAddr, SocketAddr)>> {
    let spec = &listener.spec;
    if !peer.is_none_or(|peer| spec.trusted.is_empty() || spec.trusts(peer.ip())) {
        return Err(io::Error::other("the listener does not trust this address to say whom it speaks for"));
    }
    let mut bytes = Vec::with_capacity(proxy_protocol::LINE_BYTES_MAX);
    loop {
        match proxy_protocol::parse(&bytes).map_err(io::Error::other)? {
            Parsed::Header { source, .. } => return Ok(source),
            // Byte by byte, so that nothing is read of what follows: it belongs to TLS, or to the first head. A header is
            // short, and comes once a connection.
            Parsed::Partial => bytes.push(plain.read_u8().await?),
        }
    }
}

/// Finds out what a client speaks in plain text: HTTP/2 begins with what no request of HTTP/1 does (RFC 9113, 3.4).
async fn sniff(client: Client, stream: Stream) -> io::Result<Opened> {
    let mut wire = Wire::new(stream, BytesMut::new());
    let speaks = poll_fn(|cx| {
        loop {
            let seen = wire.input.len().min(PREFACE.len());
            if wire.input[..seen] != PREFACE[..seen] {
                return Poll::Ready(Ok(Speaks::Http1));
            }
            if seen == PREFACE.len() {
                return Poll::Ready(Ok(Speaks::Http2));
            }
            if ready!(wire.poll_read(cx, Expected::Head))? == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof)));
            }
        }
    });
    let speaks = speaks.await?;
    let (stream, read_ahead) = wire.into_parts();
    Ok(Opened { client, stream, read_ahead, speaks })
}
