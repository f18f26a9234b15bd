//! One client's connection: hyper reads heads and writes answers, `forward` does the rest.

use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::exchange::Client;
use super::forward::forward;
use super::worker::Worker;

/// Time for a whole head to arrive, and for the next one on a connection that is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of a whole head; also what is read ahead of a body.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Serves a connection to its end.
pub async fn serve(worker: Rc<Worker>, stream: TcpStream, client: Client) {
    // Answers are small and many; without this the last segment of each may wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let address = client.address;
    let client = Rc::new(client);
    let leaving = worker.leaving();
    let service = service_fn(|request| {
        let (worker, client) = (worker.clone(), client.clone());
        async move { Ok::<_, Infallible>(forward(&worker, &client, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        // First: a request that is there already is answered.
        biased;
        ended = connection.as_mut() => ended,
        () = leaving => {
            // The answer under way says `Connection: close`; an idle connection ends now.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(client = %address, %error, "a client's connection ended early");
    }
}
