//! HPACK: what cannot be read ends the connection, and the table is kept whatever becomes of a request.

use super::blocks::*;
use super::case::{Case, case};
use super::wire::*;

pub(crate) fn cases() -> Vec<Case> {
    [unreadable(), sizes(), tables()].into_iter().flatten().collect()
}

fn unreadable() -> Vec<Case> {
    // A literal without indexing whose name is `x-a`, up to its value.
    let named = |value: &[u8]| [&[0x00, 0x03][..], b"x-a", value].concat();
    let after_get = [
        ("index 0", "RFC 7541, 6.1", indexed(0)),
        ("an index past both tables", "RFC 7541, 2.3.3", indexed(70)),
        ("the first index of an empty dynamic table", "RFC 7541, 2.3.3", indexed(62)),
        ("the largest index", "RFC 7541, 2.3.3", indexed(u64::from(u32::MAX))),
        ("a name past both tables", "RFC 7541, 2.3.3", literal_at(WITH_INDEXING, 70, &string(b"value"))),
        (
            "a name past both tables, without indexing",
            "RFC 7541, 2.3.3",
            literal_at(WITHOUT_INDEXING, 70, &string(b"value")),
        ),
        ("a name past both tables, never indexed", "RFC 7541, 2.3.3", literal_at(NEVER_INDEXED, 70, &string(b"value"))),
        ("a change of size at the end of a block", "RFC 7541, 4.2", table_size(1)),
        (
            "a change of size in the middle of a block",
            "RFC 7541, 4.2",
            [table_size(1), literal(WITHOUT_INDEXING, b"x-a", b"1")].concat(),
        ),
        ("Huffman padding of more than 7 bits", "RFC 7541, 5.2", named(&huffman(&[0x1f, 0xff]))),
        ("Huffman padding of zeros", "RFC 7541, 5.2", named(&huffman(&[0x18]))),
        ("Huffman padding alone, a whole octet of it", "RFC 7541, 5.2", named(&huffman(&[0xff]))),
        ("the end of a string spelled out", "RFC 7541, 5.2", named(&huffman(&[0x1f, 0xff, 0xff, 0xff, 0xff]))),
        ("nothing but the end of a string", "RFC 7541, 5.2", named(&huffman(&[0xff, 0xff, 0xff, 0xff]))),
        ("an integer that is cut off", "RFC 7541, 5.1", vec![0xff]),
        ("an integer that goes on and on", "RFC 7541, 5.1", [&[0xff][..], &[0x80; 40], &[0x01]].concat()),
        ("an integer past all bounds", "RFC 7541, 5.1", [&[0xff][..], &[0xff; 12], &[0x7f]].concat()),
        ("a string that is longer than the block", "RFC 7541, 5.2", named(&[0x10, b'v'])),
        ("a string as long as can be said", "RFC 7541, 5.2", named(&integer(7, 0, u64::from(u32::MAX)))),
        ("a literal without a value", "RFC 7541, 6.2", named(b"")),
        ("a literal without anything", "RFC 7541, 6.2", vec![0x40]),
    ];
    after_get
        .map(|(name, clause, wrong)| {
            case(name, clause)
                .send(headers(1, WHOLE, &[get(), wrong].concat()))
                .connection_error(&[COMPRESSION_ERROR])
                .unseen()
        })
        .into()
}

fn sizes() -> Vec<Case> {
    vec![
        case("a table larger than the host allows", "RFC 7541, 6.3")
            .send_for(|seen| {
                let size = u64::from(seen.setting(HEADER_TABLE_SIZE, 4096)) + 1;
                headers(1, WHOLE, &[table_size(size), get()].concat())
            })
            .connection_error(&[COMPRESSION_ERROR])
            .unseen(),
        case("a table as large as can be said", "RFC 7541, 6.3")
            .send(headers(1, WHOLE, &[table_size(u64::from(u32::MAX)), get()].concat()))
            .connection_error(&[COMPRESSION_ERROR])
            .unseen(),
        case("a table larger than allowed, then a small one", "RFC 7541, 4.2")
            .send(headers(1, WHOLE, &[table_size(1 << 30), table_size(0), get()].concat()))
            .connection_error(&[COMPRESSION_ERROR])
            .unseen(),
        case("an entry that a smaller table dropped", "RFC 7541, 4.3")
            .send(headers(1, WHOLE, &[get(), literal(WITH_INDEXING, b"x-a", b"1")].concat()))
            .send(headers(3, WHOLE, &[table_size(0), get(), indexed(62)].concat()))
            .connection_error(&[COMPRESSION_ERROR]),
        case("an entry in no table", "RFC 7541, 4.4")
            .send(headers(
                1,
                WHOLE,
                &[table_size(0), get(), literal(WITH_INDEXING, b"x-a", b"1"), indexed(62)].concat(),
            ))
            .connection_error(&[COMPRESSION_ERROR])
            .unseen(),
        case("an entry larger than the table empties it", "RFC 7541, 4.4")
            .send(headers(
                1,
                WHOLE,
                &[
                    table_size(64),
                    get(),
                    literal(WITH_INDEXING, b"x-a", b"1"),
                    literal(WITH_INDEXING, b"x-b", &[b'b'; 64]),
                    indexed(62),
                ]
                .concat(),
            ))
            .connection_error(&[COMPRESSION_ERROR])
            .unseen(),
        case("an older entry makes way", "RFC 7541, 4.4")
            .send(headers(
                1,
                WHOLE,
                &[
                    table_size(80),
                    get(),
                    literal(WITH_INDEXING, b"x-a", b"1"),
                    literal(WITH_INDEXING, b"x-b", b"2"),
                    literal(WITH_INDEXING, b"x-c", b"3"),
                    indexed(63),
                ]
                .concat(),
            ))
            .answered(1, 200)
            .seen(&["\nx-b: 2\n"], &[]),
        // A decoder may put a bound on the octets of an integer.
        case("an integer with zeros to spare", "RFC 7541, 5.1")
            .send(headers(1, WHOLE, &[&[0x3f, 0x80, 0x80, 0x00][..], &get()].concat()))
            .answered(1, 200)
            .connection_error(&[COMPRESSION_ERROR]),
        case("an empty string in Huffman code", "RFC 7541, 5.2")
            .send(headers(1, WHOLE, &[get(), literal_huffman(WITHOUT_INDEXING, HUFFMAN_KEY, b"")].concat()))
            .answered(1, 200)
            .seen(&["\ncustom-key: \n"], &[]),
    ]
}

fn tables() -> Vec<Case> {
    let kept = || literal(WITH_INDEXING, b"x-kept", b"yes");
    let asked_again = || headers(3, WHOLE, &[get(), indexed(62)].concat());
    vec![
        case("an entry is there for later requests", "RFC 7541, 2.3.2")
            .send(headers(1, WHOLE, &[block(&but(&GET, &[(":method", "HEAD")])), kept()].concat()))
            .until("an answer", |seen| seen.answer(1).ended)
            .send(asked_again())
            .answered(3, 200),
        case("an entry's name is there for later requests", "RFC 7541, 6.2.1")
            .send(headers(1, WHOLE, &[get(), kept(), literal_at(WITHOUT_INDEXING, 62, &string(b"again"))].concat()))
            .answered(1, 200)
            .seen(&["\nx-kept: yes\n", "\nx-kept: again\n"], &[]),
        case("an entry across CONTINUATIONs", "RFC 9113, 4.3")
            .send(headers(1, END_STREAM, &[get(), kept()].concat()[..60]))
            .send(continuation(1, NONE, &[get(), kept()].concat()[60..]))
            .send(continuation(1, END_HEADERS, &indexed(62)))
            .answered(1, 200)
            .seen(&["\nx-kept: yes\nx-kept: yes\n"], &[]),
        case("the table is kept for a request that is malformed", "RFC 9113, 4.3")
            .send(headers(1, WHOLE, &[block(&[("X-Upper", "1")]), get(), kept()].concat()))
            .send(asked_again())
            .answered(3, 200)
            .connection_error(&[PROTOCOL_ERROR])
            .never(&["x-upper"]),
        case("the table is kept for trailers of a request that was cancelled", "RFC 9113, 4.3")
            .send(
                [headers(1, END_HEADERS, &post()), rst_stream(1, CANCEL), headers(1, WHOLE, &kept()), asked_again()]
                    .concat(),
            )
            .answered(3, 200)
            .connection_error(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        case("the table is kept for a request past the limit", "RFC 9113, 4.3")
            .send_for(|seen| {
                let streams = seen.setting(MAX_CONCURRENT_STREAMS, 0);
                let open = (0..streams).flat_map(|number| headers(2 * number + 1, END_HEADERS, &post()));
                let refused =
                    headers(2 * streams + 1, WHOLE, &[get(), literal(WITH_INDEXING, b"x-kept", b"yes")].concat());
                let last = headers(1, WHOLE, &indexed(62));
                open.chain(refused).chain(last).collect()
            })
            .answered(1, 200)
            .connection_error(&[PROTOCOL_ERROR, ENHANCE_YOUR_CALM]),
    ]
}
