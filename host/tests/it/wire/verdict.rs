//! Whether what was seen is what one row of turns allows.

use super::client::{Answer, End, Heard};
use super::content::Framing;
use super::judge::{answers, requests};
use super::member::{Event, Request};
use super::seen::{Gets, Seen};
use super::strict::{Fields, shown};
use super::turn::Turn;

/// What was seen of one case.
pub(super) struct Evidence<'a> {
    heard: &'a Heard,
    /// The case's own requests, as the member got them.
    requests: Vec<&'a Request>,
    /// The connections of those that came after it.
    after: Vec<usize>,
    /// How many requests of the case began at the member, and did not end.
    begun: usize,
    old: bool,
    /// Whether the member was to play a part of its own.
    played: bool,
}

type Judged = Result<(), String>;

impl<'a> Evidence<'a> {
    pub(super) fn of(
        heard: &'a Heard,
        events: &'a [Event],
        number: usize,
        old: bool,
        played: bool,
    ) -> Result<Self, String> {
        let last = format!("/last/{number}");
        let is_after = |request: &&Request| request.target == last || request.target.starts_with("/fresh/");
        let (after, own): (Vec<_>, Vec<_>) = requests(events).partition(is_after);
        let begun = events.iter().filter(|event| matches!(event, Event::Begun)).count();
        let last = after.iter().find(|request| request.target == last);
        let good = match (last, &heard.last) {
            (Some(request), Some(answer)) => answers(answer, request),
            (None, None) => true,
            _ => false,
        };
        if !good {
            return Err("   the request after it on the same connection did not get its own answer\n".into());
        }
        let begun = begun.saturating_sub(after.len() + own.len());
        let after = after.iter().map(|request| request.connection).collect();
        Ok(Self { heard, requests: own, after, begun, old, played })
    }
}

/// Whether this row is what was seen.
pub(super) fn verdict(row: &[Turn], evidence: &Evidence) -> Judged {
    let Evidence { heard, .. } = evidence;
    if let Some(fault) = &heard.fault {
        return Err(format!("the client got {fault}"));
    }
    if !heard.beyond.is_empty() {
        return Err(format!("more came than answers: {}", shown(&heard.beyond)));
    }
    let (mut answers, mut requests) = (heard.answers.iter(), evidence.requests.iter().copied().peekable());
    for turn in row {
        let answer = if matches!(turn, Turn::Closed | Turn::Dropped) {
            None
        } else {
            Some(answers.next().ok_or("an answer is missing")?)
        };
        match (turn, answer) {
            (Turn::Served(expected), Some(answer)) => {
                served(expected, requests.next().ok_or("the member did not get it")?, answer, evidence)?;
            }
            (Turn::Refused(statuses) | Turn::Cut(statuses), Some(answer)) => {
                has_status(answer, statuses)?;
                let says_close = answer.old || answer.fields.options().iter().any(|option| option == "close");
                demand(says_close, "the answer does not say `Connection: close`")?;
            }
            (Turn::Answered(statuses), Some(answer)) => has_status(answer, statuses)?,
            (Turn::Failed(statuses), Some(answer)) => {
                has_status(answer, statuses)?;
                asked_and_left(&mut requests, evidence)?;
            }
            (Turn::Aborted(content), Some(answer)) => {
                aborted(content, answer, heard.end)?;
                asked_and_left(&mut requests, evidence)?;
            }
            (Turn::Relayed(expected), Some(answer)) => {
                relayed(expected, answer)?;
                demand(requests.next().is_some(), "the member did not get it")?;
                if expected.spent {
                    left(&evidence.requests, evidence)?;
                }
            }
            (Turn::Dropped, _) => asked_and_left(&mut requests, evidence)?,
            (Turn::Closed, _) | (_, None) => {}
        }
    }
    if let Some(request) = requests.next() {
        return Err(format!("the member also got {} {}", request.method, request.target));
    }
    demand(answers.next().is_none(), "there are more answers")?;
    let last = row.last().expect("something may come of it");
    let begun_max = usize::from(matches!(last, Turn::Cut(_) | Turn::Closed));
    demand(evidence.played || evidence.begun <= begun_max, "the member saw a beginning")?;
    let ends = matches!(last, Turn::Refused(_) | Turn::Cut(_) | Turn::Closed | Turn::Aborted(_) | Turn::Dropped);
    demand(!ends || heard.last.is_none(), "the connection goes on")?;
    demand(heard.end != End::Hung, "the connection hangs")
}

fn served(expected: &Seen, request: &Request, answer: &Answer, evidence: &Evidence) -> Judged {
    let Seen { method, target, hosts, body, .. } = expected;
    if request.method != *method || request.target != *target {
        return Err(format!("the member got {} {}", request.method, request.target));
    }
    let host = String::from_utf8_lossy(&request.fields.joined("host").unwrap_or_default()).into_owned();
    demand(hosts.is_empty() || hosts.contains(&&*host), &format!("the member got Host `{host}`"))?;
    demand(request.body == *body, &format!("the member got the content {}", shown(&request.body)))?;
    has_fields(&request.fields, &expected.with, &expected.without)?;
    demand(answers(answer, request), "the client did not get the answer to this request")?;
    has_interim(answer, expected.interim)?;
    let Some(closes) = expected.closes else { return Ok(()) };
    demand(answer.says_close(evidence.old) == closes, "the connection should go on, or should not")
}

fn relayed(expected: &Gets, answer: &Answer) -> Judged {
    demand(answer.whole, "the answer is not whole")?;
    has_status(answer, &[expected.status])?;
    demand(answer.body == expected.body, &format!("the client got the content {}", shown(&answer.body)))?;
    has_fields(&answer.fields, &expected.with, &expected.without)?;
    let switched = answer.status != 101 || answer.fields.options().iter().any(|option| option == "upgrade");
    demand(switched, "a 101 without `Connection: upgrade`")?;
    has_fields(&answer.trailers, &expected.trailers, &[])?;
    demand(answer.trailers.0.len() == expected.trailers.len(), "other trailers than these")?;
    has_interim(answer, expected.interim)
}

/// Whoever reads it knows that it is not all (RFC 9112, 8).
fn aborted(content: &[u8], answer: &Answer, end: End) -> Judged {
    let known = !answer.whole && (answer.framing != Framing::UntilClose || end == End::Reset);
    demand(known, "nobody can tell that the answer is not whole")?;
    demand(content.starts_with(&answer.body), &format!("the client got the content {}", shown(&answer.body)))
}

/// The member was asked, perhaps more than once, and no connection on which it was is used again.
fn asked_and_left<'a>(requests: &mut impl Iterator<Item = &'a Request>, evidence: &Evidence) -> Judged {
    let asked: Vec<_> = requests.collect();
    // RFC 9110, 9.2.2: only what does no harm twice may be sent twice.
    let twice_max = if asked.iter().all(|request| matches!(&*request.method, "GET" | "HEAD")) { 4 } else { 1 };
    demand((1..=twice_max).contains(&asked.len()), &format!("the member was asked {} times", asked.len()))?;
    left(&asked, evidence)
}

fn left(asked: &[&Request], evidence: &Evidence) -> Judged {
    let again = asked.iter().any(|request| evidence.after.contains(&request.connection));
    demand(!again, "the member's connection was used again")
}

fn has_status(answer: &Answer, statuses: &[u16]) -> Judged {
    demand(answer.whole, "the answer is not whole")?;
    demand(statuses.contains(&answer.status), &format!("the client got {}", answer.status))
}

fn has_interim(answer: &Answer, rows: &[&[u16]]) -> Judged {
    let interim: Vec<_> = answer.interim.iter().map(|(status, _)| *status).collect();
    demand(rows.contains(&&*interim), &format!("the interim answers {interim:?}"))
}

fn has_fields(fields: &Fields, with: &[(&str, &[u8])], without: &[&str]) -> Judged {
    for (name, value) in with {
        let joined = fields.joined(name);
        let is_it = joined.as_deref() == Some(value);
        demand(is_it, &format!("`{name}` is {:?}", joined.as_deref().map(shown)))?;
    }
    match without.iter().find(|name| fields.has(name)) {
        Some(name) => Err(format!("`{name}` was passed on")),
        None => Ok(()),
    }
}

fn demand(holds: bool, otherwise: &str) -> Judged {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}
