//! The rollback race: requests at a constant rate on connections that are kept, and switches in between. For each
//! switch, how long after its command was given the last request set out that was still decided the old way; errors;
//! connections that were closed; and what the switches cost the requests beside.
//!
//! Of a Switchback that it starts itself, or of any proxy that runs already: the first letter of an answer's body is
//! the pool's, and how to switch is said in a file (`means.rs`).

#![expect(clippy::disallowed_types, reason = "there is no runtime here whose clock could be paused")]

mod arguments;
mod host;
mod member;
mod means;
mod client;
mod report;

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use arguments::{Arguments, Pace, Who};
use client::Exchange;
use host::Host;
use means::Means;

/// One switch: when its command was given, who answered before it, and when the command was through.
struct Switch {
    called: Instant,
    from: u8,
    answered: Duration,
}

/// What there is to report.
struct Race {
    switches: Vec<Switch>,
    exchanges: Vec<Exchange>,
    calm_until: Instant,
    pause: Duration,
}

fn main() -> io::Result<()> {
    let Arguments { who, pace, json } = Arguments::read(std::env::args().skip(1))?;
    let race = match who {
        Who::Program(program) => {
            let host = Host::start(&program, member::start(b'b')?, member::start(b'g')?)?;
            host.call("PUT", "/v1/vips/web", "{\"pool\":\"green\"}")?;
            run(host.address, &[(b'g', host.step("back")), (b'b', host.step("forward"))], &pace)?
        }
        Who::Peer { address, green, blue } => {
            run(address, &[(b'b', Means::read(&green)?), (b'g', Means::read(&blue)?)], &pace)?
        }
    };
    if json {
        report::json(&race)
    } else {
        report::text(&race)
    }
    Ok(())
}

/// `turns`, again and again: who answers before it, and how to switch.
fn run(address: SocketAddr, turns: &[(u8, Means)], pace: &Pace) -> io::Result<Race> {
    let began = Instant::now();
    // A switch may take a little longer than the pause that it is given.
    let length = pace.calm + (pace.pause + Duration::from_millis(10)) * pace.switches;
    let (done, exchanges) = channel();
    for number in 0..pace.connections {
        let due = client::Due::of(number, began, began + length, pace);
        let done = done.clone();
        std::thread::spawn(move || client::run(address, &due, &done));
    }
    drop(done);
    std::thread::sleep(pace.calm);
    let mut switches = Vec::new();
    for (_, (from, means)) in (0..pace.switches).zip(turns.iter().cycle()) {
        let prepared = means.prepare()?;
        let called = Instant::now();
        prepared.switch()?;
        switches.push(Switch { called, from: *from, answered: called.elapsed() });
        std::thread::sleep(pace.pause.saturating_sub(called.elapsed()));
    }
    Ok(Race { switches, exchanges: exchanges.iter().collect(), calm_until: began + pace.calm, pause: pace.pause })
}
