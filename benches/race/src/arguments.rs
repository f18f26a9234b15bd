//! What it is told: whom to race, and at what pace.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

const USAGE: &str = "expected the path of `switchback`, or --peer ADDRESS --green FILE --blue FILE; and if wanted \
                     --connections N --rate N --switches N --pause-ms N --calm-ms N --json";

pub(crate) struct Arguments {
    pub(crate) who: Who,
    pub(crate) pace: Pace,
    /// One line for programs, instead of a table for people.
    pub(crate) json: bool,
}

pub(crate) enum Who {
    /// Switchback's program, to be started, with members.
    Program(String),
    /// A proxy that runs, and answers from pool blue. How it is switched to either pool is in two files.
    Peer { address: SocketAddr, green: PathBuf, blue: PathBuf },
}

pub(crate) struct Pace {
    pub(crate) connections: u32,
    /// Requests a second, on all connections together.
    pub(crate) rate: u32,
    pub(crate) switches: u32,
    /// From one switch to the next.
    pub(crate) pause: Duration,
    /// Before the first switch, to know what requests cost without any.
    pub(crate) calm: Duration,
}

impl Arguments {
    pub(crate) fn read(mut given: impl Iterator<Item = String>) -> io::Result<Self> {
        let pause = Duration::from_millis(50);
        let mut pace = Pace { connections: 64, rate: 2_000, switches: 200, pause, calm: Duration::from_secs(5) };
        let (mut program, mut address, mut green, mut blue, mut json) = (None, None, None, None, false);
        while let Some(name) = given.next() {
            let mut value = || given.next().ok_or_else(|| wrong(&format!("`{name}` needs a value")));
            match &*name {
                "--peer" => address = Some(value()?.parse().map_err(|_| wrong("--peer needs an address"))?),
                "--green" => green = Some(value()?.into()),
                "--blue" => blue = Some(value()?.into()),
                "--connections" => pace.connections = number(&value()?)?,
                "--rate" => pace.rate = number(&value()?)?,
                "--switches" => pace.switches = number(&value()?)?,
                "--pause-ms" => pace.pause = Duration::from_millis(number(&value()?)?.into()),
                "--calm-ms" => pace.calm = Duration::from_millis(number(&value()?)?.into()),
                "--json" => json = true,
                _ if name.starts_with('-') || program.is_some() => return Err(wrong(&format!("`{name}` is unknown"))),
                _ => program = Some(name),
            }
        }
        let who = match (program, address, green, blue) {
            (Some(program), None, None, None) => Who::Program(program),
            (None, Some(address), Some(green), Some(blue)) => Who::Peer { address, green, blue },
            _ => return Err(wrong("whom to race is not clear")),
        };
        Ok(Self { who, pace, json })
    }
}

fn number(text: &str) -> io::Result<u32> {
    text.parse().ok().filter(|&it| it > 0).ok_or_else(|| wrong(&format!("`{text}` is not a number above zero")))
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{what}; {USAGE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_alone_is_raced_at_the_pace_of_the_readme() {
        let Ok(Arguments { who: Who::Program(program), pace, json: false }) = read("target/release/switchback") else {
            panic!("expected a program to be raced");
        };
        assert_eq!((&*program, pace.rate, pace.switches), ("target/release/switchback", 2_000, 200));
    }

    #[test]
    fn a_peer_needs_means_for_both_pools() {
        assert!(read("--peer 127.0.0.1:80 --green a --blue b --switches 30 --json").is_ok());
        for wrong in
            ["", "--peer 127.0.0.1:80 --green a", "--peer x --green a --blue b", "a b", "a --rate 0", "a --rate", "--x"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    fn read(line: &str) -> io::Result<Arguments> {
        Arguments::read(line.split_whitespace().map(str::to_owned))
    }
}
