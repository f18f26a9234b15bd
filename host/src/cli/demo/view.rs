//! The demo's view: a picture on a terminal, plain lines everywhere else.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use self::lines::Lines;
use self::picture::Picture;
use super::moment::{Moment, Watcher};
use super::{Stage, folder};

mod lines;
mod picture;

/// Time between two looks: a switch is seen when it happens, and nobody reads faster.
const LOOK: Duration = Duration::from_millis(250);

/// Says what a moment adds to the output: text, with what the terminal needs to place it.
trait View {
    fn render(&mut self, moment: &Moment) -> String;
}

/// What does not change while the demo runs.
struct Scene {
    folder: PathBuf,
    proxy: SocketAddr,
    control: SocketAddr,
}

/// Shows the demo, for ever.
pub(super) async fn show(stage: &Stage<'_>) -> anyhow::Result<()> {
    let scene = Scene { folder: stage.folder.path().to_owned(), proxy: stage.proxy, control: stage.app.control };
    let mut out = std::io::stdout();
    let mut view: Box<dyn View> =
        if out.is_terminal() && !is_dumb() { Box::new(Picture::of(scene)) } else { Box::new(Lines::of(scene)) };
    let mut watcher = Watcher::of(stage);
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let moment = watcher.look().await?;
        out.write_all(view.render(&moment).as_bytes())?;
        out.flush()?;
    }
}

/// Terminals that cannot move their cursor say so (Emacs' shell does).
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term == "dumb")
}

/// What to try next, and what will come of it.
fn commands(scene: &Scene) -> Vec<String> {
    let tries = [
        (folder::copy_command(&folder::CANARY), "a fifth of the users to green"),
        (folder::copy_command(&folder::TRAP), "it traps, and nobody sees it"),
        ("./switchback back".to_owned(), "or forward, status, history"),
        (format!("curl -b uid=user-7 {}", scene.proxy), "the same user, the same pool"),
    ];
    let mut lines = vec![format!("cd {}", scene.folder.display())];
    lines.extend(tries.map(|(command, result)| format!("{command:<42} # {result}")));
    lines
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
