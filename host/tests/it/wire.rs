//! HTTP/1.1 as bytes: what clients may send and members may answer, each with its clause and the outcomes it allows.
//!
//! Every case is one client connection to a host with one worker and one member. Both ends are played by parsers that
//! know only the grammar of RFC 9112, so that nothing passes because somebody was kind. After each case two fresh
//! requests must get their own answers: what one message left behind must not become part of another.

mod case;
mod turn;
mod seen;
mod judge;
mod verdict;
mod client;
mod member;
mod script;
mod content;
mod strict;
mod requests;
mod answers;

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_send_is_served_in_one_form_or_refused() {
    judge::all(requests::cases()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_members_answer_arrives_whole_or_is_known_not_to() {
    judge::all(answers::cases()).await;
}

#[test]
fn no_two_cases_have_the_same_name() {
    let mut names: Vec<_> = requests::cases().into_iter().chain(answers::cases()).map(|case| case.name).collect();
    names.sort_unstable();
    let repeated: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert!(repeated.is_empty(), "{repeated:?}");
}
