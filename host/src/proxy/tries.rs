//! Sends a request to a member, and to another one where that may be done without harm.
//!
//! What a member cannot have seen is tried again. What it may have seen only where that can be repeated (RFC 9110,
//! 9.2.2) and nothing of its content was taken yet. Each try is on another member, and the pool's budget pays for it: a
//! pool that fails altogether is not asked much more often than before.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use super::fields::name::{RETRY_AFTER, SET_COOKIE};
use tokio::time::Instant;

use super::affinity::hash_of;
use super::balancer;
use super::connector::{ConnectionKey, MemberConnection, MemberExchange, Way};
use super::error::Error;
use super::forward::Line;
use super::forwarded::Scheme;
use super::h1::member::Failure;
use super::head::Head;
use super::member::Member;
use super::message::{RequestHead, Response};
use super::pool::{Choice, InUse, Pool};
use super::queue::Place;
use super::record::Attempt;
use super::request_body::RequestBody;
use super::response::Limits;
use super::roster::Wanted;
use super::timeouts::Timeouts;
use super::vip::Vip;
use super::worker::Worker;
use crate::policy::answer::Route;
use crate::spec::pool::Protocol;
use crate::time::{self, clock};

/// Idle connections of HTTP/1 to one member tried for one request. Each may have been closed meanwhile.
const REUSES_MAX: usize = 4;

/// A try after one that was answered waits for up to so long, and twice as long each time: what went wrong may be over by
/// then, and not all requests that it hit come again at once.
const PAUSE_MAX: Duration = Duration::from_millis(25);

/// Members may ask to be left alone by tries for so long (RFC 9110, 10.2.3).
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// A copy of a request has so long: nobody waits for it, but the host when it leaves.
const COPY_TIME_MAX: Duration = Duration::from_secs(30);

/// Where a request is to go.
pub(super) struct Aim<'a> {
    pool: &'a Arc<Pool>,
    key: Option<u64>,
    bound: Option<u64>,
    /// How long it may take.
    timeouts: Timeouts,
    /// When all of it must have ended.
    deadline: Option<Instant>,
}

/// A request that a member has answered.
pub(super) struct Sent {
    pub(super) response: Response<()>,
    pub(super) exchange: MemberExchange,
    pub(super) key: ConnectionKey,
    pub(super) member: InUse,
    /// Its place among those of the pool, if these are counted.
    pub(super) place: Option<Place>,
}

/// A request that was not answered.
struct Unsent {
    failure: Error,
    /// Its content, where none of it is lost.
    body: Option<RequestBody>,
    /// Whether the member may have seen it.
    seen: bool,
    /// Whether the member is to blame.
    is_blamed: bool,
}

impl<'a> Aim<'a> {
    /// Where a request goes that a vip, and maybe a policy, sends to `pool`.
    pub(super) fn new(worker: &Worker, pool: &'a Arc<Pool>, vip: &Vip, head: &Head, route: Option<&Route>) -> Self {
        let balance = &pool.spec.balance;
        let of_request = || hash_of(balance.key.as_ref()?, head, balancer::hash);
        let of_route = route.and_then(|route| route.affinity.as_deref()).map(balancer::hash);
        let sticky = balance.sticky.as_ref().and_then(|sticky| head.cookie(&sticky.cookie));
        let timeouts = pool.timeouts.for_request(&vip.timeouts, route.map(|route| &route.timeouts));
        Self {
            pool,
            key: of_route.or_else(of_request),
            bound: sticky.and_then(|value| worker.ground.sticky_key.read(value, pool)),
            timeouts,
            deadline: timeouts.whole.map(|whole| clock::now() + whole),
        }
    }

    /// Binds the client to the member that answered, where it is not and the pool wants it.
    pub(super) fn bind(&self, worker: &Worker, sent: &mut Sent, scheme: Scheme) {
        let member = sent.member.member.id;
        if let Some(sticky) = &self.pool.spec.balance.sticky
            && self.bound != Some(member)
        {
            let cookie = worker.ground.sticky_key.set_cookie(member, self.pool, sticky, scheme);
            sent.response.fields.append(SET_COOKIE, cookie);
        }
    }

    /// Where a copy of a request goes.
    pub(super) fn of_copy(pool: &'a Arc<Pool>) -> Self {
        let deadline = Some(Instant::now() + COPY_TIME_MAX);
        Self { pool, key: None, bound: None, timeouts: pool.timeouts, deadline }
    }

    /// How long an answer may take.
    pub(super) fn limits(&self, tunnel: Duration) -> Limits {
        Limits { between_bytes: self.timeouts.between_bytes, deadline: self.deadline, tunnel }
    }

    /// Whether all of it, a try more after this time included, may still come in time.
    fn has_time(&self, after: Duration) -> bool {
        self.deadline.is_none_or(|deadline| Instant::now() + after < deadline)
    }

    /// How much of this time there is.
    fn within(&self, time: Duration) -> Duration {
        self.deadline.map_or(time, |deadline| time.min(deadline.saturating_duration_since(Instant::now())))
    }
}

impl Sent {
    /// Whether it is better tried again: the answer says that another member may know better, and nothing is lost.
    fn may_be_repeated(&self, statuses: &[u16], head: &RequestHead) -> bool {
        let status = self.response.status;
        statuses.contains(&status.as_u16()) && head.method.is_idempotent() && self.exchange.is_repeatable()
    }

    /// When its member wants to be tried again (RFC 9110, 10.2.3).
    fn retry_after(&self) -> Option<Duration> {
        let text = self.response.fields.get(RETRY_AFTER)?.to_str()?.trim();
        let after = match text.parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok()?,
        };
        Some(after.min(RETRY_AFTER_MAX))
    }
}

impl Unsent {
    fn new(failure: Error, body: Option<RequestBody>, seen: bool) -> Self {
        let is_blamed = failure.is_of_member();
        Self { failure, body, seen, is_blamed }
    }

    /// Whether it can be sent again: to another member, or on another connection to the same.
    fn may_be_repeated(&self, head: &RequestHead) -> bool {
        self.body.is_some() && self.failure.is_of_member() && (!self.seen || head.method.is_idempotent())
    }
}

impl Line<'_> {
    /// Sends a request to a member of the pool, and to others where that one fails.
    pub(super) async fn send(
        &self,
        aim: &Aim<'_>,
        head: &mut RequestHead,
        mut body: RequestBody,
    ) -> Result<Sent, Error> {
        let retries = &aim.pool.spec.retries;
        aim.pool.budget.deposit(time::nanos_since_start());
        let (mut member, place) = self.member(aim).await?;
        let mut tried = Vec::new();
        loop {
            let known = member.member.clone();
            let outcome = self.try_member(aim, member, head, body).await;
            let may_be_repeated = match &outcome {
                Ok(sent) => sent.may_be_repeated(&retries.statuses, head),
                Err(unsent) => unsent.may_be_repeated(head),
            };
            // Whatever becomes of this request: the tries of others would come to a member that asked for none.
            if let Ok(sent) = &outcome
                && retries.statuses.contains(&sent.response.status.as_u16())
                && let Some(after) = sent.retry_after()
            {
                known.leave_alone(after);
            }
            if may_be_repeated {
                tried.push(known);
            }
            let goes_on = may_be_repeated && tried.len() < retries.tries_max as usize;
            let next = if goes_on { self.another(aim, &tried, outcome.is_ok()).await } else { None };
            let Some(next) = next else {
                return outcome.map(|sent| Sent { place, ..sent }).map_err(|unsent| unsent.failure);
            };
            let spare = match outcome {
                Ok(sent) => sent.exchange.into_unsent().0,
                Err(unsent) => unsent.body,
            };
            body = spare.expect("what may be repeated has lost nothing");
            member = next;
        }
    }

    /// The first member, once the pool can take the request.
    async fn member(&self, aim: &Aim<'_>) -> Result<(InUse, Option<Place>), Error> {
        let Aim { pool, .. } = aim;
        let nobody = || Error::NoMember(pool.name.to_string());
        let (limits, queue) = (&pool.spec.limits, &pool.lasting.queue);
        if !limits.are_set() {
            let Choice::Member(member) = self.choose(aim, &[]) else { return Err(nobody()) };
            return Ok((member, None));
        }
        let mut waiting = None;
        loop {
            // Whoever comes later waits behind those that wait.
            if waiting.is_some() || queue.waiting() == 0 {
                let place = Place::take(&pool.lasting, limits.requests_max);
                match place.map(|place| (place, self.choose(aim, &[]))) {
                    Some((place, Choice::Member(member))) => return Ok((member, Some(place))),
                    Some((_, Choice::Nobody)) => return Err(nobody()),
                    // Nothing was freed by giving the place back: nobody is to be woken, ourselves least of all.
                    Some((place, Choice::Busy)) => place.give_back_unused(),
                    None => {}
                }
            }
            let waiting = match &mut waiting {
                Some(waiting) => waiting,
                None => waiting.insert(queue.join(self.worker.id, &pool.name, limits, aim.deadline)?),
            };
            waiting.wait(&pool.name).await?;
        }
    }

    /// Another member, where there is one and the budget pays for it.
    async fn another(&self, aim: &Aim<'_>, tried: &[Arc<Member>], was_answered: bool) -> Option<InUse> {
        // A member that cannot be reached says nothing of the next one.
        let longest =
            if was_answered || tried.len() > 1 { PAUSE_MAX * (1 << (tried.len() - 1).min(6)) } else { Duration::ZERO };
        let pause = longest.mul_f64(self.worker.chance());
        let may_try = tried.len() < aim.pool.size() && aim.has_time(pause);
        if !may_try || !aim.pool.budget.withdraw(time::nanos_since_start()) {
            return None;
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        match self.choose(aim, tried) {
            Choice::Member(member) => {
                aim.pool.counts.retry(self.worker.id);
                Some(member)
            }
            Choice::Busy | Choice::Nobody => None,
        }
    }

    fn choose(&self, aim: &Aim<'_>, tried: &[Arc<Member>]) -> Choice {
        let Self { worker, .. } = self;
        let wanted = Wanted { bound: aim.bound, key: aim.key, tried, random: worker.random() };
        aim.pool.choose(worker.id, &wanted, |member| worker.connector.is_full(aim.pool, member))
    }

    /// Sends a request to this member.
    async fn try_member(
        &self,
        aim: &Aim<'_>,
        member: InUse,
        head: &mut RequestHead,
        mut body: RequestBody,
    ) -> Result<Sent, Unsent> {
        let connector = &self.worker.connector;
        let transport = &aim.pool.transport;
        let key = transport.key(&member.member.address);
        // A member may close a connection that was idle at the moment we take it. That is nobody's failure: what was not
        // sent is sent again, and what can be repeated without harm is repeated, until a connection is new.
        let reuses = match transport.protocol {
            Protocol::Http1 => REUSES_MAX,
            // It is the same connection each time, as long as it is open: a member that refuses streams is not to be asked on.
            Protocol::Http2 => 1,
        };
        for _ in 0..reuses {
            let Some(connection) = connector.reuse(&key, transport.protocol) else { break };
            let attempt = self.record.tries(&aim.pool.counts, &member.member);
            match self.send_on(connection, head, body, aim, &member, attempt).await {
                Ok((response, exchange)) => return Ok(Sent { response, exchange, key, member, place: None }),
                Err(unsent) if unsent.may_be_repeated(head) && is_of_connection(&unsent.failure) => {
                    body = unsent.body.expect("it may be repeated");
                }
                Err(unsent) => return Err(member.blame(unsent)),
            }
        }
        let way = Way {
            member: &member.member,
            pool: aim.pool,
            key: &key,
            client: Some(self.client),
            timeout: aim.within(aim.timeouts.connect),
        };
        let attempt = self.record.tries(&aim.pool.counts, &member.member);
        let unsent = match Box::pin(connector.open(way)).await {
            Ok(connection) => {
                attempt.connected();
                match self.send_on(connection, head, body, aim, &member, attempt).await {
                    Ok((response, exchange)) => return Ok(Sent { response, exchange, key, member, place: None }),
                    Err(unsent) => unsent,
                }
            }
            Err(cause) => {
                let has_ended = way.timeout < aim.timeouts.connect && !aim.has_time(Duration::ZERO);
                let (failure, is_blamed) = match cause.kind() {
                    ErrorKind::QuotaExceeded => (Error::QueueTimeout(aim.pool.name.to_string()), false),
                    _ if has_ended => (Error::WholeTimeout(key.address), false),
                    _ => (Error::Connect(key.address, cause), true),
                };
                attempt.failed(&failure);
                Unsent { is_blamed, ..Unsent::new(failure, Some(body), false) }
            }
        };
        Err(member.blame(unsent))
    }

    async fn send_on(
        &self,
        connection: MemberConnection,
        head: &mut RequestHead,
        body: RequestBody,
        aim: &Aim<'_>,
        member: &InUse,
        attempt: Attempt<'_>,
    ) -> Result<(Response<()>, MemberExchange), Unsent> {
        attempt.sign(&mut head.fields);
        let address = || member.member.address.clone();
        let timeout = aim.timeouts.response;
        let began = clock::now();
        let mut exchange = match connection.begin(head, body) {
            Ok(exchange) => exchange,
            Err((fault, body)) => {
                // What cannot be said to members of this kind is no failure of this one, and no other would do better.
                let is_blamed = fault.is_of_connection();
                let failure = Error::Member(address(), fault);
                attempt.failed(&failure);
                let body = is_blamed.then_some(body);
                return Err(Unsent { is_blamed, ..Unsent::new(failure, body, false) });
            }
        };
        let in_time = |deadline: Instant| aim.deadline.map_or(deadline, |whole| whole.min(deadline));
        self.alarm.set(in_time(began + timeout));
        let answer = poll_fn(|cx| {
            if let Poll::Ready(answer) = exchange.poll_head(cx, self.asker) {
                return Poll::Ready(answer.map_err(|failure| match failure {
                    Failure::Client(fault) => Error::Client(fault),
                    Failure::Member(fault) => Error::Member(address(), fault),
                }));
            }
            while self.alarm.poll(cx).is_ready() {
                // The time to answer begins anew with each piece of the request that the member is still being sent.
                let deadline = in_time(exchange.moved() + timeout);
                if deadline <= Instant::now() {
                    let is_whole = deadline < exchange.moved() + timeout;
                    let failure = if is_whole { Error::WholeTimeout } else { Error::ResponseTimeout };
                    return Poll::Ready(Err(failure(address())));
                }
                self.alarm.set(deadline);
            }
            Poll::Pending
        });
        match answer.await {
            Ok(response) => {
                // Not from the beginning: an upload is the client's time.
                member.answered(response.status, clock::now() - exchange.moved());
                attempt.answered(response.status);
                Ok((response, exchange))
            }
            Err(failure) => {
                attempt.failed(&failure);
                // Most of the whole time may have gone by before the member had the request.
                let had_time = exchange.moved().elapsed() >= aim.timeouts.whole.unwrap_or_default() / 2;
                let is_blamed = failure.is_of_member() && (had_time || !matches!(failure, Error::WholeTimeout(_)));
                let (body, seen) = exchange.into_unsent();
                Err(Unsent { is_blamed, ..Unsent::new(failure, body, seen) })
            }
        }
    }
}

impl InUse {
    /// Puts down to the member what it failed at.
    fn blame(&self, unsent: Unsent) -> Unsent {
        if unsent.is_blamed {
            self.failed(&unsent.failure);
        }
        unsent
    }
}

fn is_of_connection(failure: &Error) -> bool {
    matches!(failure, Error::Member(_, fault) if fault.is_of_connection())
}
