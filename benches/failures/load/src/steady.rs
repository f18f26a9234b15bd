//! The same at thousands of requests a second: each connection has a share of the schedule, and keeps to it by itself.
//!
//! Still an open loop: a request that had to wait, as the one before it on its connection was late, counts from when it was
//! due. What is given up is that it could go on another connection; what is won is that no thread hands work to another,
//! which costs more than the request.

use std::fs;
use std::io;
use std::thread;
use std::time::Duration;

use crate::Exchange;
use crate::LEAD;
use crate::clock::Clock;
use crate::exchange::{Connection, Plan};

/// A request that could not be sent until so long after it was due is not sent any more: who cannot bear the rate would
/// otherwise be asked for as long as it takes.
const LATE_MAX: Duration = Duration::from_secs(2);

/// All requests, in the order in which they were due.
pub(crate) fn run(plan: &Plan, rate: u32, seconds: u32, connections: usize) -> Vec<Exchange> {
    wake_in_time();
    let clock = Clock::in_a(LEAD);
    let total = (rate * seconds) as usize;
    let share = |first: usize| {
        let plan = plan.clone();
        let body = move || {
            let mut connection = Connection::new(plan);
            let numbers = (first..total).step_by(connections);
            numbers.map(|number| exchange(&mut connection, number, rate, clock)).collect::<Vec<_>>()
        };
        thread::Builder::new().stack_size(128 << 10).spawn(body).expect("there is room for a thread")
    };
    let threads: Vec<_> = (0..connections).map(share).collect();
    let shares = threads.into_iter().map(|thread| thread.join().expect("a connection writes down what goes wrong"));
    let mut exchanges: Vec<_> = shares.flatten().collect();
    exchanges.sort_by_key(|exchange| exchange.due);
    exchanges
}

fn exchange(connection: &mut Connection, number: usize, rate: u32, clock: Clock) -> Exchange {
    let due = Duration::from_secs_f64(number as f64 / f64::from(rate));
    clock.sleep_until(due);
    let is_late = clock.now() > due + LATE_MAX;
    Exchange { due, outcome: (!is_late).then(|| connection.exchange(number, clock)) }
}

/// The kernel lets sleepers lie for 50 us more than they asked for, unless it is told otherwise; threads inherit it.
/// Where it cannot be told, all times are longer by that.
fn wake_in_time() {
    let _ = fs::write("/proc/self/timerslack_ns", "1");
}

/// Those of a file: heads, each with the empty line at its end; lines may end in LF alone.
pub(crate) fn requests(file: &str) -> io::Result<Vec<Vec<u8>>> {
    let requests = heads(&fs::read_to_string(file)?);
    if requests.is_empty() {
        return Err(io::Error::other(format!("expected requests in {file}, found none")));
    }
    Ok(requests)
}

fn heads(text: &str) -> Vec<Vec<u8>> {
    let text = text.replace('\r', "");
    let heads = text.split("\n\n").map(str::trim).filter(|head| !head.is_empty());
    heads.map(|head| (head.replace('\n', "\r\n") + "\r\n\r\n").into_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_head_of_a_file_is_a_request_however_its_lines_end() {
        let sent = ["GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "GET /b HTTP/1.1\r\nHost: b\r\n\r\n"];
        let sent = sent.map(|head| head.as_bytes().to_vec());
        assert_eq!(heads("GET /a HTTP/1.1\nHost: a\n\n\nGET /b HTTP/1.1\nHost: b\n"), sent);
        assert_eq!(heads(&String::from_utf8(sent.concat()).unwrap()), sent);
        assert!(heads(" \n\n").is_empty());
    }
}
