//! The rollback race: requests at a constant rate on connections that are kept, and switches in between. For each
//! switch, how long after the call was sent the last request set out that was still decided the old way; errors; and
//! what the switches cost the requests beside.
//!
//! Open loop: a request sets out when it is due, on the next of the connections; its latency counts from then.

#![expect(clippy::disallowed_types, reason = "there is no runtime here whose clock could be paused")]

mod host;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use host::Host;

const CONNECTIONS: u32 = 64;
const RATE: u32 = 2_000;
const SWITCHES: u32 = 200;
/// Between two switches.
const PAUSE: Duration = Duration::from_millis(50);
/// Before the first switch, to know what requests cost without any.
const CALM: Duration = Duration::from_secs(5);

/// One request, as its client saw it.
struct Exchange {
    due: Instant,
    sent: Instant,
    took: Duration,
    /// Which pool answered, by its first letter; none where nobody did.
    by: Option<u8>,
}

/// One switch: when its call was sent, who answered before it, and when its receipt was there.
struct Switch {
    called: Instant,
    from: u8,
    answered: Duration,
}

fn main() -> io::Result<()> {
    let program = std::env::args().nth(1).ok_or_else(|| io::Error::other("expected the path of `switchback`"))?;
    let (blue, green) = (member(b'b')?, member(b'g')?);
    let host = Host::start(&program, blue, green)?;
    host.call("PUT", "/v1/vips/web", "{\"pool\":\"green\"}")?;

    let began = Instant::now();
    let length = CALM + (PAUSE + Duration::from_millis(10)) * SWITCHES;
    let (done, exchanges) = channel();
    for number in 0..CONNECTIONS {
        let stream = TcpStream::connect(host.address)?;
        stream.set_nodelay(true)?;
        let done = done.clone();
        std::thread::spawn(move || client(stream, number, began, length, &done));
    }
    drop(done);
    std::thread::sleep(CALM);
    let mut switches = Vec::new();
    for number in 0..SWITCHES {
        let (path, from) = if number % 2 == 0 { ("/v1/back", b'g') } else { ("/v1/forward", b'b') };
        let called = Instant::now();
        host.call("POST", path, "")?;
        switches.push(Switch { called, from, answered: called.elapsed() });
        std::thread::sleep(PAUSE.saturating_sub(called.elapsed()));
    }
    let all: Vec<_> = exchanges.iter().collect();
    report(&all, &switches, began + CALM);
    Ok(())
}

/// Answers every request with a letter.
fn member(letter: u8) -> io::Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let answer = [b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n", &[letter][..]].concat();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                let mut bytes = vec![0; 4096];
                // One request at a time, small enough for one read: the proxy writes its head at once.
                while stream.read(&mut bytes).is_ok_and(|read| read > 0) && stream.write_all(&answer).is_ok() {}
            });
        }
    });
    Ok(address)
}

/// A thread of its own: the kernel's clock is finer than a runtime's timer.
fn client(mut stream: TcpStream, number: u32, began: Instant, length: Duration, done: &Sender<Exchange>) {
    let every = Duration::from_secs(1) * CONNECTIONS / RATE;
    let mut due = began + every * number / CONNECTIONS;
    while due < began + length {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let sent = Instant::now();
        let by = ask(&mut stream).ok();
        let failed = by.is_none();
        let _ = done.send(Exchange { due, sent, took: due.elapsed(), by });
        if failed {
            // A connection that was closed is an error, and stays one: none has to be.
            return;
        }
        due += every;
    }
}

fn ask(stream: &mut TcpStream) -> io::Result<u8> {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: race.test\r\ncookie: uid=7\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut bytes = [0; 1024];
    loop {
        let read = stream.read(&mut bytes)?;
        answer.extend_from_slice(&bytes[..read]);
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
        match head {
            Some(end) if answer.len() > end + 4 && answer.starts_with(b"HTTP/1.1 200") => return Ok(answer[end + 4]),
            _ if read == 0 || head.is_some_and(|end| answer.len() > end + 4) => {
                return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
            }
            _ => {}
        }
    }
}

#[allow(clippy::print_stdout, reason = "it is what the program is for")]
fn report(exchanges: &[Exchange], switches: &[Switch], calm_until: Instant) {
    let mut races = Vec::new();
    for (at, switch) in switches.iter().enumerate() {
        let until = switches.get(at + 1).map_or(switch.called + PAUSE, |next| next.called);
        // One that is under way when the next is called may be the next one's.
        let is_late =
            |it: &&Exchange| it.by == Some(switch.from) && it.sent >= switch.called && it.due + it.took < until;
        let late = exchanges.iter().filter(is_late);
        races.push(late.map(|it| it.sent - switch.called).max().unwrap_or_default());
    }
    let errors = exchanges.iter().filter(|it| it.by.is_none()).count();
    let calm = exchanges.iter().filter(|it| it.due < calm_until).map(|it| it.took).collect();
    let busy = exchanges.iter().filter(|it| it.due >= calm_until).map(|it| it.took).collect();
    let answered = switches.iter().map(|switch| switch.answered).collect();
    println!("{} requests, {errors} errors, {} switches", exchanges.len(), switches.len());
    for (what, mut times) in [
        ("call sent to last request decided the old way", races),
        ("call sent to receipt", answered),
        ("requests before the switches", calm),
        ("requests during the switches", busy),
    ] {
        let Times { p50, p99, max } = Times::of(&mut times);
        println!("{what:<46} p50 {p50:>7.3} ms   p99 {p99:>7.3} ms   max {max:>7.3} ms");
    }
}

struct Times {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Times {
    fn of(times: &mut [Duration]) -> Self {
        times.sort_unstable();
        let at = |part: f64| {
            let last = times.len().saturating_sub(1);
            times.get((last as f64 * part).round() as usize).map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        Self { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}
