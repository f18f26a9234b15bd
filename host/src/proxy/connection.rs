//! One client's connection, from the first byte: what is spoken on it, and then who serves it.

use std::rc::Rc;

use bytes::BytesMut;

use super::exchange::Client;
use super::h1;
use super::h1::wire::Wire;
use super::leaving::Leaving;
use super::stream::{Plain, Stream};
use super::worker::Worker;

/// Serves a connection to its end.
pub async fn serve(worker: Rc<Worker>, stream: Plain, client: Client, leaving: Rc<Leaving>) {
    let wire = Wire::new(Stream::Plain(stream), BytesMut::new());
    h1::server::serve(worker, Rc::new(client), wire, leaving).await;
}
