//! A deployment of the demo: two members that answer with their pool's name and build.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Which pool answered, for programs.
pub(super) const X_POOL: &str = "x-pool";

/// Members of one pool.
const MEMBERS: usize = 2;

/// One build of a service, running until it is dropped.
pub(super) struct Deployment {
    /// The pool's name.
    pub(super) pool: &'static str,
    /// Where its members are.
    pub(super) members: Vec<SocketAddr>,
    _serving: JoinSet<()>,
}

impl Deployment {
    /// Starts its members, on ports of the kernel's choice.
    pub(super) async fn start(pool: &'static str, build: u32) -> anyhow::Result<Self> {
        let mut members = Vec::new();
        let mut serving = JoinSet::new();
        for _ in 0..MEMBERS {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
            let listener = listener.with_context(|| format!("cannot start a member of {pool}"))?;
            let address = listener.local_addr()?;
            members.push(address);
            serving.spawn(serve(listener, pool, format!("{pool} build {build} ({address})\n").into()));
        }
        Ok(Self { pool, members, _serving: serving })
    }
}

/// Gives every request the same answer.
async fn serve(listener: TcpListener, pool: &'static str, text: Bytes) {
    let mut connections = JoinSet::new();
    loop {
        // An error is that client's: it went away before it was accepted.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let text = text.clone();
        let answer = service_fn(move |_: Request<hyper::body::Incoming>| {
            let answer = Response::builder().header(X_POOL, pool).header(header::CONTENT_TYPE, "text/plain");
            let answer = answer.body(Full::new(text.clone())).expect("these headers are valid");
            async { Ok::<_, Infallible>(answer) }
        });
        connections.spawn(async move {
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
        // Ended ones are let go here.
        while connections.try_join_next().is_some() {}
    }
}
