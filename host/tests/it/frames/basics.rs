//! What every client may say: each frame and each representation of a field, in the ways that must be understood.

use super::blocks::*;
use super::case::{Case, case};
use super::wire::*;

pub(crate) fn cases() -> Vec<Case> {
    [connections(), frames(), fields()].into_iter().flatten().collect()
}

fn connections() -> Vec<Case> {
    vec![
        case("the host's first frame is SETTINGS", "RFC 9113, 3.4")
            .holds("settings came", |seen| seen.greeted)
            .unseen(),
        case("a GET is answered", "RFC 9113, 8.3.1")
            .send(headers(1, WHOLE, &get()))
            .answered(1, 200)
            .seen(&["GET / HTTP/1.1\n", "\nhost: www.example.com\n"], &[]),
        case("a HEAD is answered", "RFC 9113, 8.1")
            .send(headers(1, WHOLE, &block(&but(&GET, &[(":method", "HEAD")]))))
            .answered(1, 200)
            .seen(&["HEAD / HTTP/1.1\n"], &[]),
        case("a POST with content is answered", "RFC 9113, 8.1")
            .send(headers(1, END_HEADERS, &post()))
            .send(data(1, END_STREAM, b"content"))
            .answered(1, 200)
            .seen(&["POST / HTTP/1.1\n", "\ncontent"], &[]),
        case("a POST with trailers is answered", "RFC 9113, 8.1")
            .send(headers(1, END_HEADERS, &block(&with(&POST, &[("trailer", "x-sum")]))))
            .send(data(1, NONE, b"content"))
            .send(headers(1, WHOLE, &block(&[("x-sum", "7")])))
            .answered(1, 200)
            .seen(&["\ncontent", "\nx-sum: 7\n"], &[]),
        case("PING is answered", "RFC 9113, 6.7")
            .send(ping(NONE, b"8 octets"))
            .holds("PING came back", |seen| seen.pongs.contains(b"8 octets")),
        case("SETTINGS are acknowledged", "RFC 9113, 6.5.3")
            .send(settings(&[(MAX_CONCURRENT_STREAMS, 100)]))
            .holds("an acknowledgement", |seen| seen.acks == 2),
        case("RST_STREAM ends one request only", "RFC 9113, 5.4.2")
            .send(headers(1, END_HEADERS, &post()))
            .send(rst_stream(1, CANCEL))
            .send(headers(3, WHOLE, &get()))
            .answered(3, 200),
        case("GOAWAY leaves earlier requests alone", "RFC 9113, 6.8")
            .send(headers(1, END_HEADERS, &post()))
            .send(goaway(0, NO_ERROR))
            .send(data(1, END_STREAM, b"content"))
            .unpinged()
            .answered(1, 200)
            .seen(&["\ncontent"], &[]),
    ]
}

fn frames() -> Vec<Case> {
    let in_data = |name, frames: Vec<u8>| {
        let asked = [headers(1, END_HEADERS, &post()), frames].concat();
        case(name, "RFC 9113, 6.1").send(asked).answered(1, 200).seen(&["POST / HTTP/1.1\n", "\ncontent"], &[])
    };
    let in_headers = |name, clause, frames: Vec<Vec<u8>>| {
        case(name, clause).send(frames.concat()).answered(1, 200).seen(&["GET / HTTP/1.1\n"], &[])
    };
    let first = |frame| vec![frame, headers(1, WHOLE, &get())];
    let pieces: Vec<_> = get().chunks(get().len() / 4).map(<[u8]>::to_vec).collect();
    let fine: Vec<_> = pieces[1..].iter().map(|piece| continuation(1, NONE, piece)).collect();
    vec![
        in_data("content in one frame", data(1, END_STREAM, b"content")),
        in_data("content in several frames", [data(1, NONE, b"con"), data(1, END_STREAM, b"tent")].concat()),
        in_data("content with padding", data(1, END_STREAM | PADDED, &padded(6, b"content", &[0; 6]))),
        in_data("content, then an empty frame", [data(1, NONE, b"content"), data(1, END_STREAM, b"")].concat()),
        in_data(
            "a frame of padding alone",
            [data(1, PADDED, &padded(3, b"", &[0; 3])), data(1, END_STREAM, b"content")].concat(),
        ),
        in_headers(
            "HEADERS with padding",
            "RFC 9113, 6.2",
            vec![headers(1, WHOLE | PADDED, &padded(8, &get(), &[0; 8]))],
        ),
        in_headers(
            "HEADERS with a priority",
            "RFC 9113, 6.2",
            vec![headers(1, WHOLE | PRIORITIZED, &[depends(true, 0, 255), get()].concat())],
        ),
        in_headers(
            "HEADERS with both",
            "RFC 9113, 6.2",
            vec![headers(
                1,
                WHOLE | PADDED | PRIORITIZED,
                &padded(2, &[depends(false, 0, 16), get()].concat(), &[0; 2]),
            )],
        ),
        in_headers("PRIORITY of weight 1", "RFC 9113, 6.3", first(priority(1, 0, 0))),
        in_headers("PRIORITY of weight 256", "RFC 9113, 6.3", first(priority(1, 0, 255))),
        in_headers("PRIORITY that depends on another stream", "RFC 9113, 6.3", first(priority(1, 7, 15))),
        in_headers(
            "PRIORITY that is exclusive",
            "RFC 9113, 6.3",
            first(frame(PRIORITY, NONE, 1, &depends(true, 3, 15))),
        ),
        in_headers("PRIORITY of a later stream that is idle", "RFC 9113, 5.1.1", first(priority(9, 0, 15))),
        in_headers("PRIORITY of an even stream", "RFC 9113, 6.3", first(priority(2, 0, 15))),
        in_headers("a larger window for the connection", "RFC 9113, 6.9", first(window_update(0, 1))),
        in_headers(
            "a larger window for a stream",
            "RFC 9113, 6.9",
            vec![headers(1, WHOLE, &get()), window_update(1, 1)],
        ),
        in_headers(
            "one CONTINUATION",
            "RFC 9113, 6.10",
            vec![headers(1, END_STREAM, &get()[..7]), continuation(1, END_HEADERS, &get()[7..])],
        ),
        in_headers(
            "several CONTINUATIONs that cut fields in two",
            "RFC 9113, 6.10",
            vec![headers(1, END_STREAM, &pieces[0]), fine.concat(), continuation(1, END_HEADERS, b"")],
        ),
        in_headers(
            "HEADERS without a fragment, then CONTINUATION",
            "RFC 9113, 6.10",
            vec![headers(1, END_STREAM, b""), continuation(1, END_HEADERS, &get())],
        ),
    ]
}

fn fields() -> Vec<Case> {
    let written = |name, clause, field: Vec<u8>, has| {
        case(name, clause).send(headers(1, WHOLE, &[get(), field].concat())).answered(1, 200).seen(has, &[])
    };
    let custom = &["\ncustom-key: custom-value\n"];
    let cached = &["\ncache-control: no-cache\n"];
    let mut cases = vec![
        case("fields of the static table", "RFC 7541, 6.1")
            .send(headers(
                1,
                WHOLE,
                &[indexed(2), indexed(6), indexed(4), literal_at(WITHOUT_INDEXING, 1, &string(b"a.example"))].concat(),
            ))
            .answered(1, 200)
            .seen(&["GET / HTTP/1.1\n", "\nhost: a.example\n"], &[]),
        case("an authority in Huffman code", "RFC 7541, 5.2")
            .send(headers(
                1,
                WHOLE,
                &[indexed(2), indexed(6), indexed(4), literal_at(WITH_INDEXING, 1, &huffman(HUFFMAN_AUTHORITY))]
                    .concat(),
            ))
            .answered(1, 200)
            .seen(&["\nhost: www.example.com\n"], &[]),
    ];
    let keepings = [
        (
            WITH_INDEXING,
            "RFC 7541, 6.2.1",
            [
                "indexed literal, known name",
                "indexed literal, known name, Huffman",
                "indexed literal, new name",
                "indexed literal, new name, Huffman",
            ],
        ),
        (
            WITHOUT_INDEXING,
            "RFC 7541, 6.2.2",
            ["literal, known name", "literal, known name, Huffman", "literal, new name", "literal, new name, Huffman"],
        ),
        (
            NEVER_INDEXED,
            "RFC 7541, 6.2.3",
            [
                "secret literal, known name",
                "secret literal, known name, Huffman",
                "secret literal, new name",
                "secret literal, new name, Huffman",
            ],
        ),
    ];
    for (keeping, clause, [known, known_huffman, new, new_huffman]) in keepings {
        cases.extend([
            written(known, clause, literal_at(keeping, 24, &string(b"no-cache")), cached),
            written(known_huffman, clause, literal_at(keeping, 24, &huffman(HUFFMAN_NO_CACHE)), cached),
            written(new, clause, literal(keeping, b"custom-key", b"custom-value"), custom),
            written(new_huffman, clause, literal_huffman(keeping, HUFFMAN_KEY, HUFFMAN_VALUE), custom),
        ]);
    }
    for (name, updates) in [
        ("one change of the table's size", table_size(128)),
        ("two of them", [table_size(0), table_size(4096)].concat()),
    ] {
        cases.push(
            case(name, "RFC 7541, 4.2")
                .send(headers(1, WHOLE, &[updates, get()].concat()))
                .answered(1, 200)
                .seen(&["GET / HTTP/1.1\n"], &[]),
        );
    }
    cases
}
