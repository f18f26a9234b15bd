//! The floor: the least that a proxy on hyper does for a request, with the choice of the pool in native code.
//!
//! One thread, one runtime, one pool of kept connections that only this thread sees. `floor LISTEN BLUE GREEN`, each an
//! address. Left out on purpose: limits, timeouts, health, retries (but for a kept connection that was found closed),
//! hop-by-hop fields, metrics, log. What Switchback takes beyond this is what these cost, and its policy.

use std::cell::RefCell;
use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http_body_util::{Either, Empty};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::COOKIE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let addresses: Vec<SocketAddr> = env::args().skip(1).map(|it| it.parse()).collect::<Result<_, _>>()?;
    let [listen, blue, green] = addresses[..] else {
        return Err("expected three addresses: where to listen, pool blue, pool green".into());
    };
    let pools = [Pool::of(blue), Pool::of(green)];
    let choose = |request: &Request<Incoming>| usize::from(is_green(request));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, serve(listen, pools, choose))
}

/// The policy: `green` for paths below `/beta/` and for the cookie `pool=green`.
fn is_green(request: &Request<Incoming>) -> bool {
    let cookies = request.headers().get_all(COOKIE).into_iter().filter_map(|cookies| cookies.to_str().ok());
    request.uri().path().starts_with("/beta/")
        || cookies.flat_map(|cookies| cookies.split(';')).any(|cookie| cookie.trim() == "pool=green")
}

async fn serve<C>(listen: SocketAddr, pools: [Rc<Pool>; 2], choose: C) -> Result<(), Failure>
where
    C: Fn(&Request<Incoming>) -> usize + Copy + 'static,
{
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let pools = pools.clone();
        let service = service_fn(move |request| {
            let pool = pools[choose(&request)].clone();
            async move {
                Ok::<_, Infallible>(exchange(pool, request).await.unwrap_or_else(|_| {
                    let mut answer = Response::new(Either::Right(Empty::new()));
                    *answer.status_mut() = StatusCode::BAD_GATEWAY;
                    answer
                }))
            }
        });
        spawn_local(async move {
            // A client that goes away is no news.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn exchange(
    pool: Rc<Pool>,
    mut request: Request<Incoming>,
) -> Result<Response<Either<Answer, Empty<Bytes>>>, Failure> {
    loop {
        let (mut sender, is_kept) = pool.sender().await?;
        match sender.try_send_request(request).await {
            Ok(answer) => return Ok(answer.map(|body| Either::Left(Answer { body, sender: Some(sender), pool }))),
            Err(mut failed) => match failed.take_message() {
                // Nothing of it was sent: the member closed the connection while it was idle.
                Some(unsent) if is_kept => request = unsent,
                _ => return Err(failed.into_error().into()),
            },
        }
    }
}

/// One member, and the connections to it that are idle.
struct Pool {
    member: SocketAddr,
    idle: RefCell<Vec<SendRequest<Incoming>>>,
}

impl Pool {
    fn of(member: SocketAddr) -> Rc<Self> {
        Rc::new(Self { member, idle: RefCell::default() })
    }

    /// The connection that was used last, or a new one; and which of them it is.
    async fn sender(&self) -> Result<(SendRequest<Incoming>, bool), Failure> {
        loop {
            let Some(mut kept) = self.idle.borrow_mut().pop() else { break };
            // One whose answer has just been read is ready as soon as its task has run; one that was closed never is.
            if kept.ready().await.is_ok() {
                return Ok((kept, true));
            }
        }
        let stream = TcpStream::connect(self.member).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        spawn_local(connection);
        Ok((sender, false))
    }
}

/// A member's answer; once it is read, its connection is idle.
struct Answer {
    body: Incoming,
    sender: Option<SendRequest<Incoming>>,
    pool: Rc<Pool>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // One that was not read to its end is not told apart: its connection closes with the body, and is found closed.
        if let Some(sender) = self.sender.take() {
            self.pool.idle.borrow_mut().push(sender);
        }
    }
}
