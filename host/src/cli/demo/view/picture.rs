//! A picture, painted over itself in place.

use super::{Moment, Scene, View, commands, milliseconds};
use crate::cli::text::decider;
use crate::control::views;
use crate::store::journal::{Entry, word};

/// Characters of a bar that is full.
const BAR: usize = 50;

/// Lines of the history; empty ones at first, so that the picture keeps its height.
const HISTORY: usize = 4;

pub(super) struct Picture {
    scene: Scene,
    colours: bool,
    /// Lines painted last time: how far the cursor must go up.
    height: usize,
}

impl Picture {
    pub(super) fn of(scene: Scene) -> Self {
        // https://no-color.org
        let colours = std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        Self { scene, colours, height: 0 }
    }

    fn lines(&self, moment: &Moment) -> Vec<String> {
        let Moment { status, shares, per_second, p50, p99, errors, last_error } = moment;
        let mut lines = vec![
            format!("{}  Ctrl-C ends it and removes its folder", self.bold("switchback demo")),
            String::new(),
            format!(
                "release   {} ({})   back: {}   forward: {}",
                self.bold(&format!("r{}", status.current.number)),
                status.current.digest.short(),
                step(status.back.as_ref()),
                step(status.forward.as_ref())
            ),
            format!("proxy     http://{}   {}", self.scene.proxy, moment.vip().map(decided_by).unwrap_or_default()),
        ];
        lines.extend(shares.iter().map(|(pool, share)| self.share(pool, *share)));
        let last = last_error.as_ref().map(|error| format!(", the last: {error}")).unwrap_or_default();
        lines.push(format!(
            "traffic   {per_second:.0} requests/s   p50 {}   p99 {}   errors {errors}{last}",
            milliseconds(*p50),
            milliseconds(*p99)
        ));
        lines.push(format!("control   http://{}/v1/status", self.scene.control));
        lines.extend([String::new(), self.bold("what happened last")]);
        let history = status.recent.iter().map(happened).chain(std::iter::repeat(String::new()));
        lines.extend(history.take(HISTORY).map(|line| format!("  {line}")));
        lines.extend([String::new(), self.bold("try, from another terminal")]);
        lines.extend(commands(&self.scene).into_iter().map(|command| format!("  {command}")));
        lines
    }

    fn share(&self, pool: &str, share: f64) -> String {
        let full = (share * BAR as f64).round() as usize;
        let bar = self.coloured(pool, &"█".repeat(full)) + &"░".repeat(BAR.saturating_sub(full));
        format!("{pool:<8}  {bar} {:>3.0} %", share * 100.0)
    }

    /// In the pool's colour: the demo's pools are called after theirs.
    fn coloured(&self, pool: &str, text: &str) -> String {
        match pool {
            "blue" => self.styled("34", text),
            "green" => self.styled("32", text),
            _ => text.to_owned(),
        }
    }

    fn bold(&self, text: &str) -> String {
        self.styled("1", text)
    }

    fn styled(&self, style: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl View for Picture {
    fn render(&mut self, moment: &Moment) -> String {
        let lines = self.lines(moment);
        // Back to the first line; and no wrapping, for as long as we paint: a long line would be two, and the next
        // picture would begin too low.
        let mut frame = match self.height {
            0 => String::new(),
            height => format!("\x1b[{height}A\r"),
        };
        frame.push_str("\x1b[?7l");
        for line in &lines {
            frame.push_str(line);
            frame.push_str("\x1b[K\n");
        }
        frame.push_str("\x1b[J\x1b[?7h");
        self.height = lines.len();
        frame
    }
}

fn step(step: Option<&views::Step>) -> String {
    step.map_or_else(|| "none".into(), |step| format!("r{}", step.number))
}

/// A line of the history, short enough for a terminal of 80 columns to show what matters.
fn happened(entry: &Entry) -> String {
    let Entry { at, kind, who, why, from, to, .. } = entry;
    // The time of day will do: nobody leaves a demo running for days.
    let time = at.get(11..19).unwrap_or(at);
    let releases = match (from, to) {
        (Some(from), Some(to)) => format!("r{from} -> r{to}"),
        (Some(from), None) => format!("r{from} stays"),
        _ => String::new(),
    };
    format!("{time}  {:<8}  {releases:<10}  {}", word(kind), if why.is_empty() { who } else { why })
}

fn decided_by(vip: &views::VipView) -> String {
    let mut text = decider(&vip.decider);
    if let (false, Some(pool)) = (vip.decides, &vip.fallback) {
        text.push_str(&format!(", not there yet: fallback {pool}"));
    }
    let previous = vip.totals.by_previous;
    if previous > 0 {
        text.push_str(&format!(", {previous} decided by the one before"));
    }
    text
}
