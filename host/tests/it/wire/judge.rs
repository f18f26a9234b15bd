//! Runs cases one after another against one host, and says what was expected and what was seen where the two differ.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::case::{Case, Piece};
use super::client::{Answer, End, Heard, Wanted, converse};
use super::member::{Event, Recorder, Request};
use super::strict::shown;
use super::turn::Turn;
use super::verdict::{Evidence, verdict};
use crate::support::Host;

/// Only cases whose name or clause holds this text, for whoever looks for a fault.
const FILTER: &str = "SWITCHBACK_WIRE";

/// Judges all of them.
pub(super) async fn all(cases: Vec<Case>) {
    let member = Recorder::start().await;
    // One worker: with two, a fresh request might never meet the connections that a case left behind.
    let host =
        Host::with().workers(1).pool_at("blue", &[member.address], "").vip("web", "pool = \"blue\"").start().await;
    let only = std::env::var(FILTER).unwrap_or_default();
    let cases: Vec<_> = cases.iter().filter(|case| case.name.contains(&only) || case.clause.contains(&only)).collect();
    let (mut report, mut failed) = (String::new(), 0);
    for (number, case) in cases.iter().enumerate() {
        if let Err(why) = judge(host.address(), &member, case, number).await {
            failed += 1;
            let _ = writeln!(report, "\n{failed}. {} [{}]\n{why}", case.name, case.clause);
        }
    }
    assert!(failed == 0, "{failed} of {} cases came out otherwise:\n{report}", cases.len());
}

async fn judge(address: SocketAddr, member: &Recorder, case: &Case, number: usize) -> Result<(), String> {
    member.play(case.member.clone());
    let wanted = Wanted { heads: heads(case), old: old(case), number };
    let heard = converse(address, &case.send, &wanted, member.go_on()).await;

    let mut fresh = Vec::new();
    for which in ["a", "b"] {
        let target = format!("/fresh/{number}/{which}");
        let request = format!("GET {target} HTTP/1.1\r\nHost: fresh\r\nConnection: close\r\n\r\n");
        let wanted = Wanted { heads: vec![false], old: false, number };
        fresh.push((target, converse(address, &[Piece::Bytes(request.into())], &wanted, async {}).await));
    }
    let events = member.events();
    let verdict = fresh_are_good(&fresh, &events).and_then(|()| {
        let evidence = Evidence::of(&heard, &events, number, wanted.old, case.member.is_some())?;
        let mut reasons = String::new();
        for row in &case.then.0 {
            match verdict(row, &evidence) {
                Ok(()) => return Ok(()),
                Err(reason) => drop(writeln!(reasons, "   expected {}: {reason}", row_shown(row))),
            }
        }
        Err(reasons)
    });
    verdict.map_err(|reasons| format!("{}{}", seen_shown(case, &heard, &events), reasons))
}

/// Each fresh request has its own answer, and nothing else has happened on its connection.
fn fresh_are_good(fresh: &[(String, Heard)], events: &[Event]) -> Result<(), String> {
    if let Some(Event::Invalid(fault)) = events.iter().find(|event| matches!(event, Event::Invalid(_))) {
        return Err(format!("   the member got {fault}\n"));
    }
    let theirs = |target: &str, heard: &Heard| format!("   and {target} after it:\n{}", heard_shown(heard));
    for (target, heard) in fresh {
        let request = requests(events).find(|request| request.target == *target);
        let [answer] = &*heard.answers else { return Err(theirs(target, heard)) };
        let is_its_own = request.is_some_and(|request| answers(answer, request));
        if !is_its_own || !heard.beyond.is_empty() || heard.fault.is_some() || heard.end == End::Hung {
            return Err(theirs(target, heard));
        }
    }
    Ok(())
}

/// Whether this is the member's own answer to this request.
pub(super) fn answers(answer: &Answer, request: &Request) -> bool {
    let serial = request.serial.to_string();
    let body = if request.method == "HEAD" { String::new() } else { format!("answer {serial}") };
    let said = answer.fields.joined("x-serial");
    answer.whole && answer.status == 200 && answer.body == body.as_bytes() && said == Some(serial.into_bytes())
}

pub(super) fn requests(events: &[Event]) -> impl Iterator<Item = &Request> {
    events.iter().filter_map(|event| match event {
        Event::Whole(request) => Some(request),
        _ => None,
    })
}

/// For as many answers as there may be, whether each answers HEAD.
fn heads(case: &Case) -> Vec<bool> {
    let longest = case.then.0.iter().max_by_key(|row| row.len()).expect("something may come of it");
    let first = first_bytes(case).trim_ascii_start().starts_with(b"HEAD ");
    let is_head = |(at, turn): (usize, &Turn)| match turn {
        Turn::Served(seen) => seen.method == "HEAD",
        _ => at == 0 && first,
    };
    longest.iter().enumerate().map(is_head).collect()
}

/// Whether the client says that it speaks HTTP/1.0.
fn old(case: &Case) -> bool {
    let first = first_bytes(case).trim_ascii_start();
    first.split(|byte| *byte == b'\n').next().is_some_and(|line| line.ends_with(b" HTTP/1.0\r"))
}

fn first_bytes(case: &Case) -> &[u8] {
    match case.send.first() {
        Some(Piece::Bytes(bytes) | Piece::Drip(bytes)) => bytes,
        _ => b"",
    }
}

fn row_shown(row: &[Turn]) -> String {
    row.iter().map(ToString::to_string).collect::<Vec<_>>().join(", then ")
}

fn seen_shown(case: &Case, heard: &Heard, events: &[Event]) -> String {
    let mut text = String::new();
    for piece in &case.send {
        if let Piece::Bytes(bytes) | Piece::Drip(bytes) = piece {
            let _ = writeln!(text, "   sent {}", shown(bytes));
        }
    }
    text += &heard_shown(heard);
    let begun = events.iter().filter(|event| matches!(event, Event::Begun)).count();
    let seen = requests(events).filter(|request| !request.target.starts_with("/fresh/"));
    for request in seen {
        let _ = writeln!(text, "   the member got {} {} {}", request.method, request.target, shown(&request.body));
    }
    let _ = writeln!(text, "   the member saw {begun} begin, those after it included");
    text
}

fn heard_shown(heard: &Heard) -> String {
    let mut text = String::new();
    for answer in &heard.answers {
        let interim: Vec<_> = answer.interim.iter().map(|(status, _)| status).collect();
        let whole = if answer.whole { "" } else { ", not whole" };
        let body = shown(&answer.body);
        let _ = writeln!(text, "   the client got {interim:?} {} {:?} {body}{whole}", answer.status, answer.framing);
    }
    let beyond = if heard.beyond.is_empty() { String::new() } else { format!(", beyond {}", shown(&heard.beyond)) };
    let fault = heard.fault.as_ref().map(|fault| format!(", fault {fault}")).unwrap_or_default();
    let _ = writeln!(text, "   then {:?}{beyond}{fault}", heard.end);
    text
}
