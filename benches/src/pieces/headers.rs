//! Header fields on their way through: what an intermediary says, and what a vip's rules change.

use bytes::BytesMut;
use switchback::proxy::exchange::ExchangeIds;
use switchback::proxy::fields::name::CONTENT_LENGTH;
use switchback::proxy::h1::encoder;
use switchback::proxy::head::Head;
use switchback::proxy::header_rules::HeaderRules;
use switchback::proxy::headers;
use switchback::proxy::message::Response;
use switchback::spec::HeaderRulesSpec;

use super::head::{client, read_answer, read_request};
use crate::Planned;

/// To the member and back, with and without rules, and written.
pub fn pieces() -> Vec<Planned> {
    vec![
        Planned::new("headers/request to the member", || to_member(&HeaderRulesSpec::default())),
        Planned::new("headers/request to the member, four rules", || to_member(&four_rules())),
        Planned::new("headers/answer to the client", || {
            let answer = read_answer();
            move |times| {
                for _ in 0..times {
                    let mut response =
                        Response { fields: answer.fields.clone(), status: answer.status, ..Response::new(()) };
                    headers::to_client(&mut response, None, false, None).expect("it switches to nothing");
                    std::hint::black_box(response);
                }
            }
        }),
        Planned::new("headers/answer written", || {
            let answer = read_answer();
            let mut output = BytesMut::new();
            move |times| {
                for _ in 0..times {
                    output.clear();
                    encoder::status_line(&mut output, answer.status, b"OK");
                    answer.fields.write_to(&mut output, &[CONTENT_LENGTH]);
                    std::hint::black_box(&output);
                }
            }
        }),
    ]
}

/// The rules of the README's example, and a few more would cost as much each.
fn four_rules() -> HeaderRulesSpec {
    HeaderRulesSpec {
        remove: vec!["x-debug".into(), "cache-control".into()],
        set: [("x-environment".into(), "production".into())].into(),
        add: [("x-seen-by".into(), "edge".into())].into(),
    }
}

/// A request, normal already, made the member's. What it takes to copy it is in this: see `head/request, a copy`.
fn to_member(rules: &HeaderRulesSpec) -> impl FnMut(u64) + use<> {
    let (request, client, ids) = (read_request(), client(), ExchangeIds::default());
    let rules = HeaderRules::new(rules);
    move |times| {
        for _ in 0..times {
            let mut head = Head::new(request.clone(), &client).expect("a browser's request is one");
            headers::to_member(&mut head, &client, &ids.next(), &rules, None);
            std::hint::black_box(head);
        }
    }
}
