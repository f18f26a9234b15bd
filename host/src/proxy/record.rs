//! The record of one exchange, from its head to its end: what it took, what ended it, and whose fault that was.
//!
//! Made where a head was read, filled along the request line, and finished by whoever writes the answer, or by being
//! dropped. Finishing counts it, always; names, members and times are gathered only where they will be told, to the access
//! log or a trace. It belongs to one worker, and to one task at a time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::Frame;
use hyper::header::{HOST, HeaderName, REFERER, USER_AGENT};
use tokio::time::Instant;

use super::error::Error;
use super::exchange::{Client, ExchangeId};
use super::fields::Fields;
use super::fields::name::{TRACEPARENT, TRACESTATE};
use super::head::Head;
use super::member::Member;
use super::message::RequestHead;
use super::outcomes::Outcome;
use super::trace_context::TraceContext;
use super::vip::Vip;
use super::worker::Worker;
use crate::causes::with_causes;
use crate::telemetry::told::{Came, Ended, Text, Told, Trace, Try};
use crate::telemetry::traces::{Traced, Tracer};
use crate::telemetry::{PoolCounts, VipCounts};
use crate::time::clock;

/// What is known of one exchange so far.
pub struct Record {
    worker: Rc<Worker>,
    began: Instant,
    vip: RefCell<Option<Arc<VipCounts>>>,
    /// Where it counts for or against a release.
    outcome: RefCell<Option<Outcome>>,
    status: Cell<Option<StatusCode>>,
    /// What its answer says of it, if that is passed on whole.
    answer: Cell<Ended>,
    received_bytes: Cell<u64>,
    sent_bytes: Cell<u64>,
    is_finished: Cell<bool>,
    /// Nobody else has it before it is told.
    told: RefCell<Option<Arc<Told>>>,
    /// What members are told where no span is recorded.
    unrecorded: Cell<Option<TraceContext>>,
    drops_state: Cell<bool>,
}

impl Record {
    /// Begins now, of a client.
    pub fn begin(worker: &Rc<Worker>, client: &Client) -> Self {
        let began = clock::now();
        let told = worker.teller.log.is_some().then(|| told(began, client).into());
        Self::new(worker, began, told, false)
    }

    /// Of a copy of a request, which is nobody's exchange: only what comes of its tries is counted.
    pub fn of_copy(worker: &Rc<Worker>) -> Self {
        Self::new(worker, Instant::now(), None, true)
    }

    fn new(worker: &Rc<Worker>, began: Instant, told: Option<Arc<Told>>, is_finished: bool) -> Self {
        Self {
            worker: worker.clone(),
            began,
            vip: RefCell::default(),
            outcome: RefCell::default(),
            status: Cell::default(),
            answer: Cell::new(Ended::Whole),
            received_bytes: Cell::default(),
            sent_bytes: Cell::default(),
            is_finished: Cell::new(is_finished),
            told: RefCell::new(told),
            unrecorded: Cell::default(),
            drops_state: Cell::default(),
        }
    }

    /// The head has been read.
    pub fn head(&self, client: &Client, head: &RequestHead) {
        let RequestHead { method, target, version, fields, .. } = head;
        if let Some(tracer) = &self.worker.teller.tracer {
            self.trace(tracer, client, fields);
        }
        self.tell(|told| {
            let field = |name: HeaderName| fields.get(name).map_or_else(Text::default, |it| Text::of(it.as_bytes()));
            told.method = Some(method.clone());
            told.target = Text::of(target.path_and_query().map_or("*", |target| target.as_str()).as_bytes());
            told.host = target.authority().map_or_else(|| field(HOST), |host| Text::of(host.as_str().as_bytes()));
            told.version = Some(*version);
            told.user_agent = field(USER_AGENT);
            told.referer = field(REFERER);
        });
    }

    fn trace(&self, tracer: &Tracer, client: &Client, fields: &Fields) {
        match tracer.trace(fields, client.peer.is_trusted()) {
            Traced::Recorded(trace) => {
                let mut told = self.told.borrow_mut();
                let told = told.get_or_insert_with(|| self::told(self.began, client).into());
                Arc::get_mut(told).expect("it is not told yet").trace = Some(trace);
            }
            Traced::Unrecorded(context) => self.unrecorded.set(Some(context)),
            Traced::Passed => {}
        }
        self.drops_state.set(!Tracer::keeps_state(fields));
    }

    /// It has a name.
    pub fn named(&self, id: &ExchangeId) {
        self.tell(|told| told.id = id.to_string());
    }

    /// What was sent is in one form, and it is known whom it speaks for.
    pub fn checked(&self, head: &Head) {
        self.tell(|told| told.client = head.origin().client);
    }

    /// It enters a vip of a release.
    pub fn enters(&self, vip: &Vip, release: u64) {
        *self.vip.borrow_mut() = Some(vip.counts.clone());
        *self.outcome.borrow_mut() = Some(Outcome::begin(&vip.outcomes, self.worker.id, self.began));
        self.tell(|told| (told.vip, told.release) = (Some(vip.name.clone()), release));
    }

    /// A policy was asked. Another one may have been asked before it.
    pub fn decided(&self, policy: &Arc<str>, began: Instant, took: Duration) {
        self.tell(|told| {
            let first = told.decision.map_or(began, |(first, _)| first);
            (told.policy, told.decision) = (Some(policy.clone()), Some((first, began + took - first)));
        });
    }

    /// It goes to a pool, for a reason if the policy gave one.
    pub fn goes_to(&self, pool: &Arc<str>, reason: Option<&str>) {
        if let Some(outcome) = &*self.outcome.borrow() {
            outcome.goes_to(pool);
        }
        self.tell(|told| {
            told.pool = Some(pool.clone());
            told.reason = Text::of(reason.unwrap_or_default().as_bytes());
        });
    }

    /// The policy answers.
    pub fn answered_by_policy(&self, reason: Option<&str>) {
        self.answer.set(Ended::Policy);
        self.tell(|told| told.reason = Text::of(reason.unwrap_or_default().as_bytes()));
    }

    /// It ends here, in order.
    pub fn answered_here(&self) {
        self.answer.set(Ended::Here);
    }

    /// It cannot be served. What becomes of the answer that says so does not matter any more.
    pub fn failed(&self, error: &Error) {
        self.answer.set(error.ended());
        self.tell(|told| told.error = Some(with_causes(error)));
    }

    /// A member is tried. To be told what comes of it, or it was abandoned.
    pub fn tries<'t>(&'t self, pool: &'t PoolCounts, member: &'t Member) -> Attempt<'t> {
        let began = clock::now();
        let span = self.worker.teller.tracer.as_ref().map_or(0, Tracer::random);
        let connected = Cell::new(None);
        Attempt { record: self, pool, member, began, connected, answered: Cell::new(None), came: Came::Abandoned, span }
    }

    /// The client is being answered with this.
    pub fn answers(&self, status: StatusCode) {
        if let Some(outcome) = &*self.outcome.borrow() {
            outcome.answers();
        }
        self.status.set(Some(status));
    }

    /// A piece of the content goes to the client.
    pub fn sent(&self, frame: &Frame<Bytes>) {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        self.sent_bytes.set(self.sent_bytes.get() + bytes as u64);
    }

    /// So many of them, and of the head, have not left: the client does not take them.
    pub fn kept(&self, bytes: u64) {
        self.sent_bytes.set(self.sent_bytes.get().saturating_sub(bytes));
    }

    /// It has ended so, after so many bytes of content from the client. Only the first end counts.
    pub fn finish(&self, ended: Ended, received_bytes: u64) {
        if self.is_finished.replace(true) {
            return;
        }
        self.received_bytes.set(received_bytes);
        // Where something had gone wrong before, that is what ended it, whether or not the client has read of it.
        let answer = self.answer.get();
        let says_more = ended == Ended::Whole || !matches!(answer, Ended::Whole | Ended::Policy | Ended::Here);
        self.count(if says_more { answer } else { ended });
    }

    fn count(&self, ended: Ended) {
        // One that is answered at once, and closed, began in the same piece of work.
        let ended_at = clock::again();
        let Self { worker, status, received_bytes, sent_bytes, .. } = self;
        let (received, sent) = (received_bytes.get(), sent_bytes.get());
        let vip = self.vip.borrow();
        let counts = vip.as_deref().unwrap_or_else(|| worker.ground.counts.astray());
        counts.of(worker.id).ended(ended, status.get(), ended_at - self.began, received, sent);
        if let Some(outcome) = self.outcome.take() {
            outcome.finish(ended, status.get(), ended_at);
        }
        if let Some(mut told) = self.told.take() {
            let now = Arc::get_mut(&mut told).expect("it is not told yet");
            (now.status, now.ended, now.ended_at) = (status.get(), ended, ended_at);
            (now.received_bytes, now.sent_bytes) = (received, sent);
            worker.teller.tell(told);
        }
    }

    /// Does something where it is wanted.
    fn tell(&self, fill: impl FnOnce(&mut Told)) {
        if let Some(told) = &mut *self.told.borrow_mut() {
            fill(Arc::get_mut(told).expect("it is not told yet"));
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.finish(Ended::HostLeft, 0);
    }
}

/// A member that is being tried.
pub struct Attempt<'t> {
    record: &'t Record,
    pool: &'t PoolCounts,
    member: &'t Member,
    began: Instant,
    connected: Cell<Option<Duration>>,
    answered: Cell<Option<(StatusCode, Duration)>>,
    came: Came,
    span: u64,
}

impl Attempt<'_> {
    /// Writes into a request's fields by whom it is made, where that is traced.
    pub fn sign(&self, fields: &mut Fields) {
        let record = self.record;
        if record.worker.teller.tracer.is_none() {
            return;
        }
        let trace = record.told.borrow().as_ref().and_then(|told| told.trace);
        let recorded = trace.map(|Trace { id, flags, .. }| TraceContext { trace: id, span: self.span, flags });
        if let Some(context) = recorded.or(record.unrecorded.get()) {
            fields.insert(TRACEPARENT, context.to_value());
        }
        if record.drops_state.get() {
            fields.remove(TRACESTATE);
        }
    }

    /// A new connection is open.
    pub fn connected(&self) {
        let took = clock::now() - self.began;
        self.connected.set(Some(took));
        self.pool.connected(self.record.worker.id, took);
    }

    /// The member's answer has begun.
    pub fn answered(mut self, status: StatusCode) {
        let took = clock::now() - self.began;
        let first_byte = took.saturating_sub(self.connected.get().unwrap_or_default());
        self.answered.set(Some((status, first_byte)));
        self.came = Came::Answered;
    }

    /// It failed.
    pub fn failed(mut self, error: &Error) {
        self.came = error.came();
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let (status, first_byte) = self.answered.get().unzip();
        self.pool.tried(self.record.worker.id, self.came, first_byte);
        self.record.tell(|told| {
            let connecting = self.connected.get();
            let over = match first_byte {
                Some(first_byte) => self.began + connecting.unwrap_or_default() + first_byte,
                None => Instant::now(),
            };
            let (member, began, came, span) = (self.member.address.clone(), self.began, self.came, self.span);
            told.tries.push(Try { member, began, connecting, first_byte, over, came, status, span });
        });
    }
}

fn told(began: Instant, client: &Client) -> Told {
    Told {
        began,
        began_unix_nanos: crate::time::wall_nanos(),
        ended_at: began,
        id: String::new(),
        peer: client.address,
        client: None,
        listener: client.listener.name.clone(),
        scheme: client.scheme.as_str(),
        method: None,
        target: Text::default(),
        host: Text::default(),
        version: None,
        user_agent: Text::default(),
        referer: Text::default(),
        vip: None,
        release: 0,
        policy: None,
        decision: None,
        reason: Text::default(),
        pool: None,
        tries: Vec::new(),
        status: None,
        received_bytes: 0,
        sent_bytes: 0,
        ended: Ended::HostLeft,
        error: None,
        trace: None,
    }
}
