//! Heads: read, and brought into one form.

use std::sync::Arc;

use bytes::BytesMut;
use switchback::proxy::exchange::Client;
use switchback::proxy::forwarded::Scheme;
use switchback::proxy::h1::head::{self, BadHead, HeadLimits, Lines};
use switchback::proxy::head::Head;
use switchback::proxy::listener::Listener;
use switchback::proxy::message::{RequestHead, Response};
use switchback::spec::ListenerSpec;

use crate::Planned;
use crate::ends::{ANSWER, request};

/// More than any head here has.
const LIMITS: HeadLimits = HeadLimits { bytes: 64 * 1024, fields: 100 };

/// A request's head and an answer's, from bytes to what a policy is asked with.
pub fn pieces() -> Vec<Planned> {
    vec![
        Planned::new("head/request, lines found", || {
            let bytes = request("");
            let (mut lines, mut input) = (Lines::default(), BytesMut::new());
            move |times| {
                for _ in 0..times {
                    take(&mut lines, &mut input, &bytes, |_, _| Ok(()));
                }
            }
        }),
        Planned::new("head/request, lines found and fields read", || {
            let bytes = request("");
            let (mut lines, mut input) = (Lines::default(), BytesMut::new());
            move |times| {
                for _ in 0..times {
                    std::hint::black_box(take(&mut lines, &mut input, &bytes, head::request));
                }
            }
        }),
        Planned::new("head/request, checked and in normal form", || {
            let (request, client) = (read_request(), client());
            move |times| {
                for _ in 0..times {
                    std::hint::black_box(Head::new(request.clone(), &client).expect("a browser's request is one"));
                }
            }
        }),
        Planned::new("head/request, a copy for the piece above", || {
            let request = read_request();
            move |times| {
                for _ in 0..times {
                    std::hint::black_box(request.clone());
                }
            }
        }),
        Planned::new("head/answer, lines found and fields read", || {
            let (mut lines, mut input) = (Lines::default(), BytesMut::new());
            move |times| {
                for _ in 0..times {
                    std::hint::black_box(take(&mut lines, &mut input, ANSWER, head::answer));
                }
            }
        }),
    ]
}

fn take<T>(
    lines: &mut Lines,
    input: &mut BytesMut,
    bytes: &[u8],
    read: impl FnOnce(&[u8], &Lines) -> Result<T, BadHead>,
) -> T {
    input.clear();
    input.extend_from_slice(bytes);
    lines.take(input, LIMITS, read).expect("it is a head, within the limits").expect("it is whole")
}

/// A browser's request, read.
pub fn read_request() -> Box<RequestHead> {
    take(&mut Lines::default(), &mut BytesMut::new(), &request(""), head::request).into()
}

/// A member's answer, read.
pub fn read_answer() -> Response<()> {
    take(&mut Lines::default(), &mut BytesMut::new(), ANSWER, head::answer)
}

/// Who sends it.
pub fn client() -> Client {
    let listener = ListenerSpec::plain("127.0.0.1:80".parse().expect("that is an address"));
    let listener = Listener::new("127.0.0.1:80", listener, &Default::default()).expect("it needs no certificate");
    Client::new("192.0.2.7:5000".parse().ok(), None, Scheme::Http, Arc::new(listener))
}
