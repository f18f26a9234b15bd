//! What targets share: a client, connections that lead nowhere, bytes cut into pieces, and a request head made of text, so
//! that seeds can be read and written by people.

pub mod reference;

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Uri, Version};
use switchback::proxy::exchange::Client;
use switchback::proxy::fields::Fields;
use switchback::proxy::forwarded::Scheme;
use switchback::proxy::listener::Listener;
use switchback::proxy::message::RequestHead;
use switchback::proxy::stream::{Plain, Stream};
use switchback::proxy::tls::certificates::Certificates;
use switchback::spec::ListenerSpec;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

/// Somebody, over a plain connection: of those whom the listener trusts, or not.
pub fn client(is_trusted: bool) -> Client {
    let trusted = vec!["10.0.0.0/8".parse().expect("a network")];
    let spec = ListenerSpec { trusted, ..ListenerSpec::plain("127.0.0.1:80".parse().expect("an address")) };
    let listener = Listener::new("", spec, &Certificates::default()).expect("it has no certificates to be wrong");
    let address = if is_trusted { "10.0.0.1:5" } else { "192.0.2.7:5" };
    Client::new(address.parse().ok(), None, Scheme::Http, listener.into())
}

/// Runs what needs a runtime. Its clock stands still, so that nothing depends on how long an input takes.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: RefCell<LocalRuntime> = RefCell::new(
            Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build_local(LocalOptions::default())
                .expect("a runtime can be built"),
        );
    }
    RUNTIME.with_borrow(|runtime| runtime.block_on(future))
}

/// A connection, and its other end.
pub fn connection() -> (Stream, UnixStream) {
    let (one, other) = UnixStream::pair().expect("sockets can be had");
    (Stream::Plain(Plain::Unix(one)), other)
}

/// The same bytes in different pieces: all at once, one by one, and cut at places that depend on nothing but them.
pub fn cuttings(bytes: &[u8]) -> [Vec<&[u8]>; 3] {
    let mut hasher = DefaultHasher::new();
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    bytes.hash(&mut hasher);
    while !rest.is_empty() {
        pieces.len().hash(&mut hasher);
        // Short ones most of the time: what is interesting stands beside the end of a line.
        let length = 1 + (hasher.finish() % if hasher.finish() & 256 == 0 { 8 } else { 200 }) as usize;
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    [vec![bytes], bytes.chunks(1).collect(), pieces]
}

/// What reading the same bytes gives, which must not depend on how they are cut.
pub fn however_cut<T: PartialEq + std::fmt::Debug>(bytes: &[u8], read: impl Fn(&[&[u8]]) -> T) -> T {
    let [whole, others @ ..] = cuttings(bytes).map(|pieces| read(&pieces));
    for other in others {
        assert_eq!(whole, other, "the same bytes in other pieces");
    }
    whole
}

/// The fields in lines of `name: value`; lines that cannot be fields are left out.
pub fn fields(text: &[u8]) -> Fields {
    let mut fields = Fields::default();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(line[colon + 1..].trim_ascii()));
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    fields
}

/// A head of `method target version` and fields, if each part is one that could come from a client.
pub fn head(text: &[u8]) -> Option<RequestHead> {
    let (line, rest) = text.split_at(text.iter().position(|byte| *byte == b'\n')?);
    let mut words = line.split(|byte| *byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let target = Uri::try_from(words.next()?).ok()?;
    let version = match words.next()? {
        b"HTTP/1.0" => Version::HTTP_10,
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/2" => Version::HTTP_2,
        _ => return None,
    };
    Some(RequestHead { method, target, version, fields: fields(rest), protocol: None })
}
