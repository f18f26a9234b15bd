//! Sends requests at a constant rate, and writes down what became of each.
//!
//! An open loop: a request sets out when its time has come, whatever became of those before it. What takes long holds its
//! connection, and the next request takes another one, a new one if need be. Its latency counts from the time at which it
//! was due. So a proxy that stalls is not asked less often meanwhile, and pays for all who would have waited.
//!
//! Threads that block, one for each connection in use: a few hundred requests a second need no more, and nothing queues
//! between the clock and the socket. For thousands a second see `steady`.

mod clock;
mod exchange;
mod steady;

use std::collections::VecDeque;
use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clock::Clock;
use exchange::{Connection, Outcome, Plan};

/// Connections at most; a request that finds none is written down as failed.
const CONNECTIONS_MAX: usize = 4_000;

/// Time between the start and the first request: the first connections are opened in it.
const LEAD: Duration = Duration::from_millis(300);

const USAGE: &str = "expected ADDRESS RATE SECONDS CONNECTIONS METHOD LENGTH HOSTS FILE, or \
                     ADDRESS RATE SECONDS CONNECTIONS steady LENGTH REQUESTS FILE";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [address, rate, seconds, connections, method, length, hosts, file] = arguments.as_slice() else {
        return Err(USAGE.into());
    };
    let is_steady = method == "steady";
    let (hosts, requests) = if is_steady { (1, steady::requests(hosts)?) } else { (hosts.parse()?, Vec::new()) };
    let method = if is_steady { "GET".into() } else { method.clone() };
    let plan = Plan { address: address.parse()?, method, length: length.parse()?, hosts, requests };
    let (rate, seconds, connections): (u32, u32, usize) = (rate.parse()?, seconds.parse()?, connections.parse()?);
    let mut file = BufWriter::new(File::create(file)?);
    let starts_at = SystemTime::now().duration_since(UNIX_EPOCH)? + LEAD;
    writeln!(file, "# first request due at {:.6}", starts_at.as_secs_f64())?;
    // Whoever breaks something on purpose waits for this line, and counts from that time.
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{:.6}", starts_at.as_secs_f64())?;
    stdout.flush()?;
    let run = if is_steady { steady::run } else { run };
    for exchange in run(&plan, rate, seconds, connections) {
        writeln!(file, "{exchange}")?;
    }
    Ok(file.flush()?)
}

/// All requests, in the order in which they were due.
fn run(plan: &Plan, rate: u32, seconds: u32, connections: usize) -> Vec<Exchange> {
    let clock = Clock::in_a(LEAD);
    let (done, results) = channel();
    let mut threads = Vec::new();
    let mut idle = VecDeque::new();
    for number in 0..connections {
        threads.push(Thread::start(number, plan, clock, &done));
        idle.push_back(number);
    }
    let due = (0..rate * seconds).map(|number| Duration::from_secs(1) * number / rate);
    let mut exchanges: Vec<_> = due.map(Exchange::not_sent).collect();
    let mut answered = 0;
    let mut take = |ended: Ended, idle: &mut VecDeque<usize>, exchanges: &mut Vec<Exchange>| {
        // At the end of the line: all connections are used in turn, as those of many clients are.
        idle.push_back(ended.thread);
        exchanges[ended.number].outcome = Some(ended.outcome);
        answered += 1;
        answered
    };
    let mut sent = 0;
    for number in 0..exchanges.len() {
        clock.sleep_until(exchanges[number].due);
        while let Ok(ended) = results.try_recv() {
            take(ended, &mut idle, &mut exchanges);
        }
        let thread = match idle.pop_front() {
            Some(thread) => thread,
            None if threads.len() < CONNECTIONS_MAX => {
                threads.push(Thread::start(threads.len(), plan, clock, &done));
                threads.len() - 1
            }
            None => continue,
        };
        sent += 1;
        threads[thread].0.send(number).expect("a thread ends after its channel");
    }
    while let Ok(ended) = results.recv() {
        if take(ended, &mut idle, &mut exchanges) == sent {
            break;
        }
    }
    exchanges
}

/// One request: when it was due, and what became of it.
struct Exchange {
    due: Duration,
    outcome: Option<Outcome>,
}

impl Exchange {
    fn not_sent(due: Duration) -> Self {
        Self { due, outcome: None }
    }
}

impl std::fmt::Display for Exchange {
    /// Due and latency in microseconds, status, member, what went wrong or `ok`, connections that had ended.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let due = self.due.as_micros();
        let Some(outcome) = &self.outcome else { return write!(f, "{due}\t0\t0\t-\tnot-sent\t0") };
        let latency = outcome.ended.saturating_sub(self.due).as_micros();
        let Outcome { status, member, fault, stale, .. } = outcome;
        write!(f, "{due}\t{latency}\t{status}\t{member}\t{}\t{stale}", fault.unwrap_or("ok"))
    }
}

/// What a thread sends back.
struct Ended {
    thread: usize,
    number: usize,
    outcome: Outcome,
}

/// A thread with a connection, and the way to give it work.
struct Thread(Sender<usize>);

impl Thread {
    fn start(thread: usize, plan: &Plan, clock: Clock, done: &Sender<Ended>) -> Self {
        let (sender, work): (_, Receiver<usize>) = channel();
        let (plan, done) = (plan.clone(), done.clone());
        let body = move || {
            let mut connection = Connection::new(plan);
            for number in work {
                let outcome = connection.exchange(number, clock);
                if done.send(Ended { thread, number, outcome }).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().stack_size(64 << 10).spawn(body).expect("there is room for a thread");
        Self(sender)
    }
}
