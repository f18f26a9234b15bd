//! The request line in one function: every branch a request can take.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use tokio::time::Instant;

use super::alarm::Alarm;
use super::answered_here::{ends_here, redirect_to_https};
use super::connector::{ConnectionKey, MemberConnection, MemberExchange};
use super::decision::{self, Decision};
use super::error::{Error, Malformed};
use super::exchange::{Asker, Client, ExchangeId, Flight};
use super::forwarded::Scheme;
use super::grpc;
use super::h1::member::Failure;
use super::head::Head;
use super::headers;
use super::pool::{Candidates, Pool};
use super::record::{Attempt, Record};
use super::request_body::{ClientFault, RequestBody};
use super::response::{Body, InUse};
use super::worker::Worker;
use crate::policy::answer::Respond;

/// Members tried for one request, when they cannot be reached.
const TRIES_MAX: usize = 3;

/// Idle connections to one member tried for one request. Each may have been closed meanwhile; and one of HTTP/2 stays
/// open, however often the member refuses a request on it.
const REUSES_MAX: usize = 4;

/// Takes a request all the way: to a member and back, or to an answer of our own.
///
/// What comes before the answer goes to `asker`. `alarm` is the client's, which has nothing else to wait for meanwhile.
/// `record` hears what happens.
pub async fn forward(
    worker: &Rc<Worker>,
    client: &Client,
    asker: &dyn Asker,
    alarm: &Alarm,
    record: &Record<'_>,
    request: Request<RequestBody>,
) -> Response<Body> {
    let id = headers::believed_id(request.headers(), &client.peer).unwrap_or_else(|| worker.ids.next());
    let is_grpc = grpc::is_call(request.headers());
    record.named(&id);
    let line = Line { worker, client, asker, alarm, record, id: &id };
    line.carry(request).await.unwrap_or_else(|error| {
        record.failed(&error);
        error.respond(&id, worker, is_grpc)
    })
}

/// What all steps of one request's way have in common.
struct Line<'a> {
    worker: &'a Rc<Worker>,
    client: &'a Client,
    asker: &'a dyn Asker,
    alarm: &'a Alarm,
    record: &'a Record<'a>,
    id: &'a ExchangeId,
}

impl Line<'_> {
    async fn carry(&self, request: Request<RequestBody>) -> Result<Response<Body>, Error> {
        let Self { worker, client, record, .. } = *self;
        let (parts, body) = request.into_parts();
        let mut head = Head::new(parts, client)?;
        record.checked(&head);
        if head.method() == Method::TRACE && body.length() != Some(0) {
            return Err(Malformed::TraceContent.into());
        }
        if let Some(answer) = ends_here(&mut head)? {
            record.answered_here();
            return Ok(answer);
        }

        // The release is pinned once, and only for the decision: a second look after routing could see a newer one, and
        // the policy would choose among pools that the router never saw. What follows may take hours and must not keep
        // it alive.
        let (decision, flight, vip) = {
            let release = worker.current.pin();
            let vip = release.router.find(&client.listener.id, head.authority(), head.path()).ok_or(Error::NoVip)?;
            head.enter(&vip.name);
            record.enters(vip, release.number);
            self.asker.limit(&vip.limits);
            if let (Some(port), Scheme::Http) = (vip.redirect_to_https, head.origin_scheme()) {
                // Without a host, the path's first segment would be taken for one.
                if head.host().is_empty() {
                    return Err(Malformed::HostMissing.into());
                }
                record.answered_here();
                return Ok(redirect_to_https(&head, port));
            }
            if let (Some(max), Some(length)) = (vip.limits.request_body_bytes_max, body.length())
                && length > max
            {
                return Err(ClientFault::TooLarge(max).into());
            }
            let flight = Flight::begin(&release.flights, vip, worker)?;
            let decision;
            (head, decision) = decision::decide(worker, record, &release, vip, head);
            (decision, flight, vip.clone())
        };
        let (pool, mut route) = match decision {
            Decision::Pool(pool, route) => (pool, route),
            Decision::Respond(respond) => {
                tracing::debug!(exchange = %self.id, vip = head.vip(), reason = respond.reason, "answered by the policy");
                record.answered_by_policy(respond.reason.as_deref());
                let mut response = by_policy(respond, self.id);
                vip.response_rules.apply(response.headers_mut());
                return Ok(response);
            }
            Decision::Undecided => return Err(Error::Undecided(head.vip().to_owned())),
        };

        if let Some(route) = &route {
            let (pool, reason) = (&*pool.name, &route.reason);
            tracing::debug!(exchange = %self.id, vip = head.vip(), pool, reason, "decided");
        }
        record.goes_to(&pool.name, route.as_ref().and_then(|route| route.reason.as_deref()));
        pool.counts.request(worker.id);
        headers::to_member(&mut head, client, self.id, &vip.request_rules, route.as_deref_mut());
        let key = route.as_ref().and_then(|route| route.affinity.as_deref());
        let members = pool.candidates(worker.id, key);
        let keeps_trailers = head.takes_trailers();
        let upgrade = head.upgrade().cloned();
        let sent = self.send(&pool, members, &mut head.into_parts(), body).await;
        let Sent { mut response, exchange, key, member } = sent.inspect_err(|error| {
            if error.is_of_member() {
                pool.counts.error(worker.id);
            }
        })?;
        headers::to_client(&mut response, upgrade.as_ref(), keeps_trailers, route.as_deref_mut())
            .map_err(|fault| failed(&member, Error::Member(key.address.clone(), fault)))?;
        vip.response_rules.apply(response.headers_mut());
        let tunnel_timeout = vip.limits.tunnel_timeout;
        Ok(response.map(|()| Body::member(exchange, key, worker, member, keeps_trailers, tunnel_timeout, flight)))
    }

    /// Sends a request to the first of `members`; to the next one when that one cannot be reached.
    async fn send(
        &self,
        pool: &Pool,
        members: Candidates<'_>,
        parts: &mut Parts,
        mut body: RequestBody,
    ) -> Result<Sent, Error> {
        let connector = &self.worker.connector;
        let mut error = None;
        for member in members.take(TRIES_MAX) {
            let member = InUse::begin(member);
            let key = pool.transport.key(&member.0.address);
            // A member may close a connection that was idle at the moment we take it. That is nobody's failure: what was
            // not sent is sent again, and what can be repeated without harm is repeated, until a connection is new.
            for _ in 0..REUSES_MAX {
                let Some(connection) = connector.reuse(&key, pool.transport.protocol) else { break };
                let attempt = self.record.tries(&pool.counts, &member.0);
                match self.send_on(connection, parts, body, pool, &member, attempt).await {
                    Ok((response, exchange)) => return Ok(Sent { response, exchange, key, member }),
                    Err(Unsent { failure, body: Some(spare), seen }) if may_repeat(&failure, parts, seen) => {
                        body = spare
                    }
                    Err(unsent) => return Err(failed(&member, unsent.failure)),
                }
            }
            let attempt = self.record.tries(&pool.counts, &member.0);
            match Box::pin(connector.open(&key, &pool.transport, self.client, pool.connect_timeout)).await {
                Ok(connection) => {
                    attempt.connected();
                    match self.send_on(connection, parts, body, pool, &member, attempt).await {
                        Ok((response, exchange)) => return Ok(Sent { response, exchange, key, member }),
                        Err(Unsent { failure, body: Some(spare), seen: false }) if is_of_connection(&failure) => {
                            body = spare;
                            error = Some(failed(&member, failure));
                        }
                        Err(unsent) => return Err(failed(&member, unsent.failure)),
                    }
                }
                Err(cause) => {
                    let failure = failed(&member, Error::Connect(key.address, cause));
                    attempt.failed(&failure);
                    error = Some(failure);
                }
            }
        }
        Err(error.unwrap_or_else(|| Error::NoMember(pool.name.to_string())))
    }

    async fn send_on(
        &self,
        connection: MemberConnection,
        parts: &mut Parts,
        body: RequestBody,
        pool: &Pool,
        member: &InUse,
        attempt: Attempt<'_>,
    ) -> Result<(Response<()>, MemberExchange), Unsent> {
        let address = || member.0.address.clone();
        attempt.sign(&mut parts.headers);
        let mut exchange = match connection.begin(parts, body) {
            Ok(exchange) => exchange,
            Err((fault, body)) => {
                let failure = Error::Member(address(), fault);
                attempt.failed(&failure);
                return Err(Unsent { failure, body: Some(body), seen: false });
            }
        };
        self.alarm.set(Instant::now() + pool.response_timeout);
        let answer = poll_fn(|cx| {
            if let Poll::Ready(answer) = exchange.poll_head(cx, self.asker) {
                return Poll::Ready(answer.map_err(|failure| match failure {
                    Failure::Client(fault) => Error::Client(fault),
                    Failure::Member(fault) => Error::Member(address(), fault),
                }));
            }
            while self.alarm.poll(cx).is_ready() {
                // The time to answer begins anew with each piece of the request that the member is still being sent.
                let deadline = exchange.moved() + pool.response_timeout;
                if deadline <= Instant::now() {
                    return Poll::Ready(Err(Error::ResponseTimeout(address())));
                }
                self.alarm.set(deadline);
            }
            Poll::Pending
        });
        match answer.await {
            Ok(response) => {
                attempt.answered(response.status());
                Ok((response, exchange))
            }
            Err(failure) => {
                attempt.failed(&failure);
                let (body, seen) = exchange.into_unsent();
                Err(Unsent { failure, body, seen })
            }
        }
    }
}

/// A request that a member has answered.
struct Sent {
    response: Response<()>,
    exchange: MemberExchange,
    key: ConnectionKey,
    member: InUse,
}

/// A request that was not answered.
struct Unsent {
    failure: Error,
    /// Its content, where none of it is lost.
    body: Option<RequestBody>,
    /// Whether the member may have seen it.
    seen: bool,
}

/// Whether a request can be sent again after what happened on a connection that was idle (RFC 9110, 9.2.2).
fn may_repeat(failure: &Error, parts: &Parts, seen: bool) -> bool {
    is_of_connection(failure) && (!seen || parts.method.is_idempotent())
}

fn is_of_connection(failure: &Error) -> bool {
    matches!(failure, Error::Member(_, fault) if fault.is_of_connection())
}

fn failed(member: &InUse, error: Error) -> Error {
    if error.is_of_member() {
        member.0.fail();
    }
    error
}

fn by_policy(respond: Respond, id: &ExchangeId) -> Response<Body> {
    let mut response = Response::new(Body::full(respond.body));
    *response.status_mut() = respond.status;
    *response.headers_mut() = respond.headers;
    response.headers_mut().entry(headers::X_REQUEST_ID).or_insert_with(|| id.to_value());
    response
}
