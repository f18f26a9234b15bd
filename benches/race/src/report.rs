//! What became of the switches and the requests, for people and for programs.

use std::time::Duration;

use crate::Race;
use crate::client::Exchange;

/// What one run says.
struct Figures {
    requests: usize,
    errors: usize,
    /// Connections that were kept, and that the proxy closed.
    closed: usize,
    switches: usize,
    /// Switches after which nobody was decided the new way: the command did nothing.
    missed: usize,
    /// Switches where the old way was still in use when the next came.
    unfinished: usize,
    times: [(&'static str, &'static str, Times); 4],
}

/// In milliseconds.
struct Times {
    p50: f64,
    p99: f64,
    max: f64,
}

#[allow(clippy::print_stdout, reason = "it is what the program is for")]
pub(crate) fn text(race: &Race) {
    let Figures { requests, errors, closed, switches, missed, unfinished, times } = Figures::of(race);
    println!("{requests} requests, {errors} errors, {closed} kept connections closed, {switches} switches");
    if missed + unfinished > 0 {
        println!("{missed} switches did nothing, {unfinished} were not over when the next came");
    }
    for (_, what, Times { p50, p99, max }) in times {
        println!("{what:<46} p50 {p50:>7.3} ms   p99 {p99:>7.3} ms   max {max:>7.3} ms");
    }
}

#[allow(clippy::print_stdout, reason = "it is what the program is for")]
pub(crate) fn json(race: &Race) {
    let Figures { requests, errors, closed, switches, missed, unfinished, times } = Figures::of(race);
    let times = times.map(|(name, _, Times { p50, p99, max })| {
        format!(r#""{name}": {{"p50_ms": {p50:.4}, "p99_ms": {p99:.4}, "max_ms": {max:.4}}}"#)
    });
    let times = times.join(", ");
    println!(
        r#"{{"requests": {requests}, "errors": {errors}, "closed": {closed}, "switches": {switches}, "missed": {missed}, "unfinished": {unfinished}, {times}}}"#
    );
}

impl Figures {
    fn of(race: &Race) -> Self {
        let Race { switches, exchanges, calm_until, pause } = race;
        let (mut races, mut missed, mut unfinished) = (Vec::new(), 0, 0);
        for (at, switch) in switches.iter().enumerate() {
            let until = switches.get(at + 1).map_or(switch.called + *pause, |next| next.called);
            // One that is under way when the next is called may be the next one's.
            let is_between = |it: &&Exchange| it.sent >= switch.called && it.due + it.took < until;
            let decided = |it: &Exchange| it.by.as_ref().ok().map(|&by| (by == switch.from, it.sent - switch.called));
            let between: Vec<_> = exchanges.iter().filter(is_between).filter_map(decided).collect();
            let race = between.iter().filter(|(is_old, _)| *is_old).map(|(_, after)| *after).max().unwrap_or_default();
            missed += usize::from(between.iter().all(|(is_old, _)| *is_old));
            // Somebody sets out all the time: one late in the pause is as good as one at its end.
            unfinished += usize::from(race > (until - switch.called) * 9 / 10);
            races.push(race);
        }
        if let Some(error) = exchanges.iter().find_map(|it| it.by.as_ref().err()) {
            // Which one it was is rarely in doubt, and never in the figures.
            eprintln!("the first error: {error}");
        }
        let (calm, busy): (Vec<_>, Vec<_>) = exchanges.iter().partition(|it| it.due < *calm_until);
        let took = |those: Vec<&Exchange>| Times::of(those.into_iter().map(|it| it.took).collect());
        Self {
            requests: exchanges.len(),
            errors: exchanges.iter().filter(|it| it.by.is_err()).count(),
            closed: exchanges.iter().filter(|it| it.was_closed).count(),
            switches: switches.len(),
            missed,
            unfinished,
            times: [
                ("race", "call sent to last request decided the old way", Times::of(races)),
                ("answered", "call sent to its answer", Times::of(switches.iter().map(|it| it.answered).collect())),
                ("calm", "requests before the switches", took(calm)),
                ("busy", "requests during the switches", took(busy)),
            ],
        }
    }
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |part: f64| {
            let last = times.len().saturating_sub(1);
            times.get((last as f64 * part).round() as usize).map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        Self { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "times that are made up need no clock that could be paused")]
mod tests {
    use std::io;
    use std::time::Instant;

    use super::*;
    use crate::Switch;

    #[test]
    fn the_last_request_of_the_old_way_counts_from_the_call() {
        // Sent before the call, after it, at last, and by the new way.
        let figures = figures(&[(-1, b'b'), (1, b'b'), (3, b'b'), (4, b'g'), (90, b'g')]);
        assert_eq!((figures.races_max(), figures.missed, figures.unfinished), (3.0, 0, 0));
    }

    #[test]
    fn a_switch_that_does_nothing_is_told() {
        let figures = figures(&[(1, b'b'), (50, b'b'), (97, b'b')]);
        assert_eq!((figures.missed, figures.unfinished), (1, 1));
    }

    #[test]
    fn a_switch_that_is_not_over_for_all_when_the_next_comes_is_told() {
        let figures = figures(&[(1, b'g'), (95, b'b')]);
        assert_eq!((figures.missed, figures.unfinished), (0, 1));
    }

    impl Figures {
        fn races_max(&self) -> f64 {
            self.times[0].2.max
        }
    }

    /// One switch from blue, a pause of 100 ms, and requests: when each was sent, in ms after the call, and who answered.
    fn figures(requests: &[(i64, u8)]) -> Figures {
        let called = Instant::now() + Duration::from_secs(1);
        let at = |ms: i64| {
            let span = Duration::from_millis(ms.unsigned_abs());
            if ms < 0 { called - span } else { called + span }
        };
        let exchange = |&(ms, by): &(i64, u8)| Exchange {
            due: at(ms),
            sent: at(ms),
            took: Duration::from_micros(100),
            by: io::Result::Ok(by),
            was_closed: false,
        };
        Figures::of(&Race {
            switches: vec![Switch { called, from: b'b', answered: Duration::ZERO }],
            exchanges: requests.iter().map(exchange).collect(),
            calm_until: called,
            pause: Duration::from_millis(100),
        })
    }
}
