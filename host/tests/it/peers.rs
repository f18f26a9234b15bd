//! Clients and members that speak HTTP/2, as others write it: hyper where a request and an answer are enough, the `h2`
//! crate where a test says what becomes of a stream.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use h2::RecvStream;
use h2::server::SendResponse;
use hyper::body::{Bytes, Incoming};
use hyper::header::HOST;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::support::{Body, Host, Member, Wire, in_time, send_on, serve};

/// What a client or a member speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
}

/// A client's and a member's version.
pub(crate) const PAIRS: [(Speaks, Speaks); 4] = [
    (Speaks::Http1, Speaks::Http1),
    (Speaks::Http1, Speaks::Http2),
    (Speaks::Http2, Speaks::Http1),
    (Speaks::Http2, Speaks::Http2),
];

impl Speaks {
    /// The keys of a pool whose members speak it.
    pub(crate) fn keys(self) -> &'static str {
        match self {
            Self::Http1 => "protocol = \"http1\"",
            Self::Http2 => "protocol = \"http2\"",
        }
    }

    /// Sends one request, with an absolute target, on a connection of its own.
    pub(crate) async fn ask(self, address: SocketAddr, request: Request<Body>) -> Response<Incoming> {
        self.ask_on(dial(address).await, request).await
    }

    /// Sends one request, with an absolute target.
    pub(crate) async fn ask_on(self, stream: impl Wire, mut request: Request<Body>) -> Response<Incoming> {
        match self {
            Self::Http1 => {
                let target = std::mem::take(request.uri_mut()).into_parts();
                let authority = target.authority.unwrap().to_string();
                request.headers_mut().entry(HOST).or_insert(authority.try_into().unwrap());
                *request.uri_mut() = Uri::from(target.path_and_query.unwrap());
                send_on(stream, request).await
            }
            Self::Http2 => {
                let mut sender = http2(stream).await;
                in_time("an answer", sender.send_request(request)).await.expect("there is an answer")
            }
        }
    }
}

/// A connection to the host.
pub(crate) async fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("somebody listens");
    stream.set_nodelay(true).unwrap();
    stream
}

/// A client of HTTP/2 with prior knowledge.
pub(crate) async fn http2(stream: impl Wire) -> hyper::client::conn::http2::SendRequest<Body> {
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A client of HTTP/2, stream by stream. One stream that is not read does not fill the connection's window.
pub(crate) async fn streams(stream: impl Wire) -> h2::client::SendRequest<Bytes> {
    let mut builder = h2::client::Builder::new();
    let (sender, connection) = builder.initial_connection_window_size(1 << 20).handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

impl Member {
    /// Answers as it is told, in either version.
    pub(crate) async fn speaking<F, A>(speaks: Speaks, answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let answer = Arc::new(answer);
        match speaks {
            Speaks::Http1 => Self::accepting(move |stream| serve(stream, answer.clone())).await,
            Speaks::Http2 => Self::accepting(move |stream| serve_http2(stream, answer.clone())).await,
        }
    }

    /// A member of HTTP/2 that does with each stream what it is told.
    pub(crate) async fn streaming<F, A>(answer: F) -> Self
    where
        F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> A + Send + Sync + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let answer = Arc::new(answer);
        Self::accepting(move |stream| {
            let answer = answer.clone();
            async move {
                let handshake = h2::server::Builder::new().enable_connect_protocol().handshake(stream).await;
                let Ok(mut connection) = handshake else { return };
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(answer(request, respond));
                }
            }
        })
        .await
    }
}

/// Serves one connection of HTTP/2 as a member would.
pub(crate) async fn serve_http2<F, A>(stream: impl Wire, answer: Arc<F>)
where
    F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(|request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .enable_connect_protocol()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// A host in front of one member that answers as it is told.
pub(crate) async fn in_front_of<F, A>(speaks: Speaks, answer: F) -> (Host, Member)
where
    F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let member = Member::speaking(speaks, answer).await;
    (in_front(&member, speaks).await, member)
}

/// A host in front of one member.
pub(crate) async fn in_front(member: &Member, speaks: Speaks) -> Host {
    Host::with().pool_at("blue", &[member.address], speaks.keys()).vip("web", "pool = \"blue\"").start().await
}
