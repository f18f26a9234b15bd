//! Chunks give the same content in whatever pieces they come, to a plainer reader, and when they are written out again.

#![no_main]

use std::future::poll_fn;
use std::task::ready;

use bytes::{Bytes, BytesMut};
use hyper::HeaderMap;
use hyper::body::Frame;
use libfuzzer_sys::fuzz_target;
use switchback::proxy::h1::decoder::{BadBody, Decoded, Decoder, allowed};
use switchback::proxy::h1::encoder::Encoder;
use switchback::proxy::h1::framing::Framing;
use switchback::proxy::h1::head::HeadLimits;
use switchback::proxy::h1::wire::Wire;
use switchback_fuzz::reference::{self, of_map, sorted};
use switchback_fuzz::{connection, cuttings, however_cut, run};
use tokio::io::AsyncReadExt;

/// Small enough to be met.
const LIMITS: HeadLimits = HeadLimits { bytes: 512, fields: 8 };

/// Pieces are made larger by this: small ones are copied on their way, which is not all there is to see.
const LARGER: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let read = however_cut(bytes, |pieces| read(Framing::Chunked, pieces, LIMITS));
    let reference = reference::chunked(bytes, LIMITS);
    assert_eq!(read.end.is_ok(), reference.is_ok(), "{read:?} {reference:?}");
    let (Ok(length), Ok(reference)) = (read.end, reference) else { return };
    assert_eq!((&read.content, length), (&reference.content, reference.length));
    let mut trailers = HeaderMap::new();
    for (name, value) in reference.trailers {
        let name = hyper::header::HeaderName::from_bytes(name.as_bytes()).expect("httparse checks names");
        trailers.append(name, value.try_into().expect("httparse checks values"));
    }
    assert_eq!(read.trailers, allowed(trailers));

    for encoder in [Encoder::Chunked, Encoder::Length((read.content.len() * LARGER) as u64), Encoder::UntilClose] {
        check_written(encoder, &read);
    }
});

/// What was taken out, up to the end or to what is wrong.
#[derive(Debug, PartialEq)]
struct Read {
    content: Vec<u8>,
    trailers: HeaderMap,
    /// How many bytes it took.
    end: Result<usize, BadBody>,
}

fn read(framing: Framing, pieces: &[&[u8]], limits: HeadLimits) -> Read {
    let (mut decoder, mut input) = (Decoder::new(framing, limits), BytesMut::new());
    let (mut pieces, mut length) = (pieces.iter(), 0);
    let (mut content, mut trailers) = (Vec::new(), HeaderMap::new());
    let end = loop {
        match decoder.decode(&mut input, pieces.len() == 0) {
            Ok(Decoded::Frame(frame)) => match frame.into_data() {
                Ok(data) => content.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().expect("there is nothing else"),
            },
            Ok(Decoded::Wanting) => {
                let piece = pieces.next().expect("at the end nothing is wanted");
                input.extend_from_slice(piece);
                length += piece.len();
            }
            Ok(Decoded::End) => break Ok(length - input.len()),
            Err(bad) => break Err(bad),
        }
    };
    assert_eq!(decoder.is_done(), end.is_ok());
    Read { content, trailers, end }
}

/// What is written, through a connection, is read as what it was.
fn check_written(encoder: Encoder, read_first: &Read) {
    let pieces: Vec<Bytes> =
        cuttings(&read_first.content)[2].iter().map(|piece| Bytes::from(piece.repeat(LARGER))).collect();
    let expected = pieces.concat();
    let trailers = (!read_first.trailers.is_empty()).then(|| Frame::trailers(read_first.trailers.clone()));
    let written = run(through(encoder, pieces.into_iter().map(Frame::data).chain(trailers)));
    let framing = match encoder {
        Encoder::Chunked => Framing::Chunked,
        Encoder::Length(length) => Framing::Length(length),
        Encoder::UntilClose => Framing::UntilClose,
    };
    // A space behind each name makes trailers longer.
    let again = read(framing, &[&written], HeadLimits { bytes: 2 * LIMITS.bytes, fields: LIMITS.fields });
    assert_eq!((again.content, again.end), (expected, Ok(written.len())));
    let kept = if encoder == Encoder::Chunked { of_map(&read_first.trailers) } else { sorted(Vec::new()) };
    assert_eq!(of_map(&again.trailers), kept);
}

async fn through(mut encoder: Encoder, mut frames: impl Iterator<Item = Frame<Bytes>>) -> Vec<u8> {
    let (stream, mut other) = connection();
    let mut wire = Wire::new(stream, BytesMut::new());
    let write = poll_fn(move |cx| {
        loop {
            while wire.has_room() {
                let Some(frame) = frames.next() else {
                    if wire.has_room() {
                        encoder.end(&mut wire).expect("all of it was written");
                    }
                    ready!(wire.poll_flush(cx)).expect("somebody reads");
                    return ready!(wire.poll_shutdown(cx))
                        .map_or_else(|error| panic!("{error}"), std::task::Poll::Ready);
                };
                encoder.encode(frame, &mut wire).expect("it is as long as was announced");
            }
            ready!(wire.poll_flush(cx)).expect("somebody reads");
        }
    });
    let mut written = Vec::new();
    let (read, ()) = tokio::join!(other.read_to_end(&mut written), write);
    read.expect("somebody writes");
    written
}
