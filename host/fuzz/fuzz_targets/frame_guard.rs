//! An HTTP/2 connection's bytes come through the guard as they are, and what it says of them is what a plainer count says,
//! in whatever pieces they come.
//!
//! The first byte says how often the frames that follow are repeated: only many of them are too many.

#![no_main]

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use switchback::proxy::h2::Reason;
use switchback::proxy::h2::guard::{Guarded, PREFACE};
use switchback_fuzz::{connection, however_cut, run};
use tokio::io::{AsyncRead, ReadBuf};

/// Frames of each kind that may come at once; no time passes here in which more would be earned.
const BURST: u32 = 1000;

/// Enough for more frames than that, and not for so many that little else is done.
const BYTES_MAX: usize = 16 * 1024;

fuzz_target!(|bytes: &[u8]| {
    let Some((times, frames)) = bytes.split_first() else { return };
    let mut frames = frames.repeat(usize::from(times & 63) + 1);
    frames.truncate(BYTES_MAX);
    let offence = however_cut(&[PREFACE, &frames[..]].concat(), |pieces| run(through(pieces)));
    assert_eq!(offence, judge(&frames));
});

/// What the guard says of these bytes, read in these pieces.
async fn through(pieces: &[&[u8]]) -> Option<Reason> {
    let (stream, _other) = connection();
    let all = pieces.concat();
    let (mut guarded, offence) = Guarded::new(stream, BytesMut::from(&all[..]));
    let mut room = vec![0; all.len()];
    poll_fn(|cx| {
        for piece in pieces {
            let mut read = ReadBuf::new(&mut room[..piece.len()]);
            ready!(Pin::new(&mut guarded).poll_read(cx, &mut read)).expect("all of it is there");
            assert_eq!(read.filled(), *piece);
        }
        Poll::Ready(offence.reason())
    })
    .await
}

/// What is wrong with these frames, if anything.
fn judge(mut bytes: &[u8]) -> Option<Reason> {
    let (mut resets, mut busywork) = (BURST, BURST);
    let (mut highest, mut trailers, mut is_first) = (0, None, true);
    while let Some((header, rest)) = bytes.split_first_chunk::<9>() {
        let [a, b, c, kind, flags, stream @ ..] = *header;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        let (payload, after) = rest.split_at(length.min(rest.len()));
        bytes = after;

        if std::mem::take(&mut is_first) && (kind != 4 || flags & 1 != 0) {
            return Some(Reason::PROTOCOL_ERROR);
        }
        let budget = match kind {
            0 if length > 0 => {
                busywork = BURST.min(busywork + 1);
                None
            }
            0 if flags & 1 != 0 => None,
            1 | 7 | 8 => None,
            3 => Some(&mut resets),
            _ => Some(&mut busywork),
        };
        if let Some(budget) = budget {
            let Some(less) = budget.checked_sub(1) else { return Some(Reason::ENHANCE_YOUR_CALM) };
            *budget = less;
        }

        match (kind, &mut trailers) {
            (1, _) => {
                let is_padded = flags & 8 != 0;
                let begin = usize::from(is_padded) + if flags & 32 != 0 { 5 } else { 0 };
                let padding = if is_padded { payload.first().copied().unwrap_or(0) } else { 0 };
                let end = length.saturating_sub(padding.into()).min(payload.len());
                let fragment = payload.get(begin..end).unwrap_or_default();
                trailers = (stream <= highest).then(|| fragment.to_vec());
                highest = highest.max(stream);
            }
            (9, Some(fragments)) => fragments.extend_from_slice(payload),
            _ => trailers = None,
        }
        if trailers.as_ref().is_some_and(|section| begins_with_pseudo_field(section).is_some_and(|is| is)) {
            return Some(Reason::PROTOCOL_ERROR);
        }
    }
    None
}

/// Whether the first field of a section is a pseudo-field (RFC 7541, 6); `None` where too little of it is there.
fn begins_with_pseudo_field(mut section: &[u8]) -> Option<bool> {
    loop {
        let first = *section.first()?;
        let bits = match first {
            0x80.. => 7,
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let (number, rest) = integer(bits, section)?;
        if bits == 5 {
            section = rest;
            continue;
        }
        // The static table begins with pseudo-fields; a name of its own has no index.
        if number > 0 || bits == 7 {
            return Some((1..=14).contains(&number));
        }
        let is_huffman = rest.first()? & 0x80 != 0;
        let (length, name) = integer(7, rest)?;
        // The longest is `:authority`. Ones as long as this are wrong in any case.
        if length == 0 || length >= 127 {
            return Some(false);
        }
        let first = *name.first()?;
        return Some(if is_huffman { first >> 1 == 0b101_1100 } else { first == b':' });
    }
}

/// RFC 7541, 5.1; what is larger than anybody needs is just large.
fn integer(bits: u32, bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, mut rest) = bytes.split_first()?;
    let most = (1 << bits) - 1;
    let mut number = u64::from(*first) & most;
    if number < most {
        return Some((number, rest));
    }
    let mut shift = 0;
    loop {
        let (next, after) = rest.split_first()?;
        rest = after;
        number = number.saturating_add(u64::from(next & 0x7f) << shift);
        shift = (shift + 7).min(49);
        if next & 0x80 == 0 {
            return Some((number, rest));
        }
    }
}
