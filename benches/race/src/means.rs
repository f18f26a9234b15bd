//! How a proxy is switched: what an operator's command would do, without the time it takes to start one.
//!
//! A file of lines, done in their order. All that can be made ready is made ready before the clock starts.
//!
//! ```text
//! place SOURCE PLACE           a copy of SOURCE takes PLACE's name, at once
//! signal PID NAME              HUP or USR2
//! send ADDRESS FILE EXPECTED   the bytes of FILE, to a TCP address or the path of a Unix socket; the answer, read to
//!                              its end, holds EXPECTED
//! ```

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How long a command may take to be answered. Beyond it a peer does not switch, it hangs.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Means(Vec<Step>);

enum Step {
    Place { source: PathBuf, place: PathBuf },
    Signal { process: Pid, signal: Signal },
    Send { to: Door, bytes: Vec<u8>, expected: String },
}

enum Door {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Means whose files lie beside the places that they are to take.
pub(crate) struct Prepared<'a>(&'a Means);

impl Means {
    pub(crate) fn read(file: &Path) -> io::Result<Self> {
        fs::read_to_string(file)?.lines().map(step).collect::<io::Result<_>>().map(Self)
    }

    /// Bytes to a Unix socket, and what the answer begins with.
    pub(crate) fn send(socket: PathBuf, bytes: Vec<u8>, expected: &str) -> Self {
        Self(vec![Step::Send { to: Door::Unix(socket), bytes, expected: expected.to_owned() }])
    }

    pub(crate) fn prepare(&self) -> io::Result<Prepared<'_>> {
        for step in &self.0 {
            if let Step::Place { source, place } = step {
                fs::copy(source, beside(place))?;
            }
        }
        Ok(Prepared(self))
    }
}

impl Prepared<'_> {
    /// Back when the last command is answered; whether it has worked by then is the peer's affair.
    pub(crate) fn switch(self) -> io::Result<()> {
        for step in &self.0.0 {
            match step {
                Step::Place { place, .. } => fs::rename(beside(place), place)?,
                Step::Signal { process, signal } => kill_process(*process, *signal)?,
                Step::Send { to: Door::Tcp(address), bytes, expected } => {
                    let stream = TcpStream::connect(address)?;
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(PATIENCE))?;
                    send(stream, bytes, expected)?;
                }
                Step::Send { to: Door::Unix(path), bytes, expected } => {
                    let stream = UnixStream::connect(path)?;
                    stream.set_read_timeout(Some(PATIENCE))?;
                    send(stream, bytes, expected)?;
                }
            }
        }
        Ok(())
    }
}

fn send(mut stream: impl Read + Write, bytes: &[u8], expected: &str) -> io::Result<()> {
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    if answer.contains(expected) {
        Ok(())
    } else {
        Err(io::Error::other(format!("the command's answer was to hold `{expected}`, it is `{answer}`")))
    }
}

fn beside(place: &Path) -> PathBuf {
    place.with_added_extension("next")
}

fn step(line: &str) -> io::Result<Step> {
    let wrong = || io::Error::other(format!("expected `place`, `signal` or `send` and what belongs to it: `{line}`"));
    let words: Vec<_> = line.splitn(4, ' ').collect();
    match words[..] {
        ["place", source, place] => Ok(Step::Place { source: source.into(), place: place.into() }),
        ["signal", process, name] => {
            let process = process.parse().ok().and_then(Pid::from_raw).ok_or_else(wrong)?;
            let signal = match name {
                "HUP" => Signal::HUP,
                "USR2" => Signal::USR2,
                _ => return Err(wrong()),
            };
            Ok(Step::Signal { process, signal })
        }
        ["send", to, file, ref expected @ ..] => {
            let to =
                if to.starts_with('/') { Door::Unix(to.into()) } else { Door::Tcp(to.parse().map_err(|_| wrong())?) };
            let expected = expected.first().copied().unwrap_or_default().to_owned();
            Ok(Step::Send { to, bytes: fs::read(file)?, expected })
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_as_they_are_written() {
        assert!(matches!(step("place a b"), Ok(Step::Place { .. })));
        assert!(matches!(step("signal 17 HUP"), Ok(Step::Signal { signal: Signal::HUP, .. })));
        let Ok(Step::Send { to: Door::Unix(_), expected, .. }) = step("send /run/x.sock /dev/null HTTP/1.1 200") else {
            panic!("expected bytes to a Unix socket");
        };
        assert_eq!(expected, "HTTP/1.1 200");
        assert!(matches!(step("send 127.0.0.1:1 /dev/null"), Ok(Step::Send { to: Door::Tcp(_), .. })));
    }

    #[test]
    fn what_is_no_step_is_refused() {
        for line in
            ["", "place a", "signal 17 KILL", "signal 0 HUP", "signal x HUP", "send localhost /dev/null", "do it"]
        {
            assert!(step(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_file_takes_its_place_only_when_the_switch_is_made() -> io::Result<()> {
        let folder = std::env::temp_dir().join(format!("switchback-race-means-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let (source, place) = (folder.join("green"), folder.join("used"));
        fs::write(&source, "green")?;
        fs::write(&place, "blue")?;
        let means = Means(vec![Step::Place { source: source.clone(), place: place.clone() }]);
        let prepared = means.prepare()?;
        assert_eq!(fs::read_to_string(&place)?, "blue");
        prepared.switch()?;
        assert_eq!((fs::read_to_string(&place)?, fs::read_to_string(&source)?), ("green".into(), "green".into()));
        fs::remove_dir_all(folder)
    }
}
