//! Traces: which exchanges are recorded, and their spans on the way to a collector.
//!
//! A worker decides by itself, from the client's `traceparent` and by chance, and hands over what it recorded when the
//! exchange ends. The rest is off the request line.

pub mod otlp;
pub mod export;

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::told::{Told, Trace};
use crate::proxy::fields::Fields;
use crate::proxy::trace_context::{RANDOM, SAMPLED, TraceContext, has_good_state};
use crate::random::Random;

/// What is traced, and where it is told: `[tracing]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TracingSpec {
    /// The collector.
    pub collector: Collector,
    /// The share of exchanges that are recorded where no trusted client has decided it.
    pub sample: f64,
}

/// Where an OTLP collector takes spans over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// Its host: a name, or an IP address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Where spans are posted to.
    pub path: String,
}

impl Collector {
    /// Host and port, as `Host` has them.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.path)
    }
}

/// Exchanges that wait to be exported, at most; one has three spans or so, of some hundred bytes each.
pub const WAITING_MAX: usize = 4096;

/// One worker's way to the exporter.
pub struct Tracer {
    /// What was recorded.
    pub spans: mpsc::Sender<Arc<Told>>,
    /// Of 2^56, how many are sampled.
    sampled: u64,
    random: Cell<Random>,
}

impl Clone for Tracer {
    /// With randomness of its own.
    fn clone(&self) -> Self {
        Self { spans: self.spans.clone(), sampled: self.sampled, random: Cell::new(Random::seeded(seed())) }
    }
}

fn seed() -> u64 {
    getrandom::u64().expect("the system has randomness")
}

/// What becomes of a request's trace.
pub enum Traced {
    /// Spans are recorded.
    Recorded(Trace),
    /// It is not ours to record: what the client said is passed on unchanged.
    Passed,
    /// Members are told of a trace that nobody records.
    Unrecorded(TraceContext),
}

impl Tracer {
    /// A tracer that records `sample` of what nobody else decided on.
    pub fn new(spans: mpsc::Sender<Arc<Told>>, sample: f64) -> Self {
        // Of 56 random bits, as level 2 of the recommendation has them: all tracers that sample by them agree.
        let sampled = (sample.clamp(0.0, 1.0) * (1_u64 << 56) as f64) as u64;
        Self { spans, sampled, random: Cell::new(Random::seeded(seed())) }
    }

    /// Decides on a request with these fields. Only a trusted client's word is taken for what is recorded: others could
    /// have all that they send recorded.
    pub fn trace(&self, fields: &Fields, is_trusted: bool) -> Traced {
        let given = TraceContext::of(fields);
        let trace = given.map_or_else(|| u128::from(self.random()) << 64 | u128::from(self.random()), |it| it.trace);
        let is_recorded = match given {
            Some(given) if is_trusted => given.is_sampled(),
            // The client chose the trace's id, and with it what would be sampled by it.
            Some(_) => self.is_sampled(self.random()),
            None => self.is_sampled(trace as u64),
        };
        match given {
            Some(given) if is_recorded => Traced::Recorded(Trace {
                id: trace,
                parent: Some(given.span),
                span: self.random(),
                decision: self.random(),
                flags: given.flags | SAMPLED,
            }),
            Some(_) => Traced::Passed,
            None if is_recorded => Traced::Recorded(Trace {
                id: trace,
                parent: None,
                span: self.random(),
                decision: self.random(),
                flags: SAMPLED | RANDOM,
            }),
            None => Traced::Unrecorded(TraceContext { trace, span: self.random(), flags: RANDOM }),
        }
    }

    /// Whether the states that came with a request go on with it.
    pub fn keeps_state(fields: &Fields) -> bool {
        TraceContext::of(fields).is_some() && has_good_state(fields)
    }

    /// A name for a span, never zero.
    pub fn random(&self) -> u64 {
        let mut random = self.random.get();
        let name = random.number().max(1);
        self.random.set(random);
        name
    }

    fn is_sampled(&self, random: u64) -> bool {
        random & ((1 << 56) - 1) < self.sampled
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;
    use crate::proxy::fields::Fields;
    use crate::proxy::fields::name::TRACEPARENT;

    fn tracer(sample: f64) -> Tracer {
        Tracer { random: Cell::new(Random::seeded(7)), ..Tracer::new(mpsc::channel(1).0, sample) }
    }

    fn fields(flags: &str) -> Fields {
        let value = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
        Fields::from_iter([(TRACEPARENT, HeaderValue::try_from(value).unwrap())])
    }

    #[test]
    fn roots_are_sampled_as_often_as_was_asked_for() {
        let recorded = |sample: f64| {
            let tracer = tracer(sample);
            let traced = (0..10_000).map(|_| tracer.trace(&Fields::default(), true));
            traced.filter(|traced| matches!(traced, Traced::Recorded(_))).count()
        };
        assert_eq!((recorded(0.0), recorded(1.0)), (0, 10_000));
        // Four standard deviations of a binomial on either side.
        assert!((880..=1120).contains(&recorded(0.1)), "{}", recorded(0.1));
    }

    #[test]
    fn a_trusted_client_decides_what_is_recorded_and_others_do_not() {
        let check = |sample, flags, is_trusted, expected| {
            let traced = tracer(sample).trace(&fields(flags), is_trusted);
            let recorded = match traced {
                Traced::Recorded(trace) => Some((trace.parent, trace.flags)),
                Traced::Passed => None,
                Traced::Unrecorded(_) => panic!("the client's trace goes on"),
            };
            assert_eq!(recorded, expected, "{sample} {flags} {is_trusted}");
        };
        let parent = Some(0x00f0_67aa_0ba9_02b7);
        check(0.0, "01", true, Some((parent, 1)));
        check(1.0, "00", true, None);
        check(0.0, "01", false, None);
        check(1.0, "02", false, Some((parent, 3)));
    }
}
