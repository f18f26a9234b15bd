//! Plain lines, for files, pipes and CI: a line of history when something happens, the state every two seconds.

use std::time::Duration;

use tokio::time::Instant;

use super::{Moment, Scene, View, commands, milliseconds};
use crate::cli::text::entry_line;

/// Time between two lines while nothing happens.
const EVERY: Duration = Duration::from_secs(2);

pub(super) struct Lines {
    scene: Scene,
    /// When the state was last printed; not yet, at the start.
    printed: Option<Instant>,
    /// The last entry of the history that was printed.
    entry: u64,
}

impl Lines {
    pub(super) fn of(scene: Scene) -> Self {
        Self { scene, printed: None, entry: 0 }
    }

    fn intro(&self) -> Vec<String> {
        let Scene { folder, proxy, control } = &self.scene;
        let mut lines = vec![
            format!("proxy        http://{proxy}"),
            format!("control API  http://{control}/v1/status"),
            format!("folder       {}", folder.display()),
            "try, from another terminal:".to_owned(),
        ];
        lines.extend(commands(&self.scene).into_iter().map(|command| format!("  {command}")));
        lines
    }
}

impl View for Lines {
    fn render(&mut self, moment: &Moment) -> String {
        let mut lines = if self.printed.is_none() { self.intro() } else { Vec::new() };
        let new = moment.status.recent.iter().rev().filter(|entry| entry.id > self.entry);
        lines.extend(new.map(entry_line));
        self.entry = moment.status.recent.first().map_or(self.entry, |entry| entry.id);
        if self.printed.is_none_or(|printed| printed.elapsed() >= EVERY) {
            // Nothing has been measured when the intro is printed.
            if self.printed.is_some() {
                lines.push(state(moment));
            }
            self.printed = Some(Instant::now());
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

fn state(moment: &Moment) -> String {
    let Moment { status, shares, per_second, p50, p99, errors, last_error } = moment;
    let shares: Vec<_> = shares.iter().map(|(pool, share)| format!("{pool} {:.0} %", share * 100.0)).collect();
    let last = last_error.as_ref().map(|error| format!(" (last: {error})")).unwrap_or_default();
    format!(
        "r{}  {}  {per_second:.0} requests/s  p50 {}  p99 {}  {errors} errors{last}",
        status.current.number,
        shares.join("  "),
        milliseconds(*p50),
        milliseconds(*p99),
    )
}
