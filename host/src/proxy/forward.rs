//! The request line in one function: every branch a request can take.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use hyper::Method;
use hyper::header::HeaderValue;

use super::alarm::Alarm;
use super::answered_here::{ends_here, redirect_to_https};
use super::canary;
use super::decision::{self, Decision};
use super::error::{Error, Malformed};
use super::exchange::{Asker, Client, ExchangeId, Flight};
use super::fields::Fields;
use super::fields::name::{SET_COOKIE, X_REQUEST_ID};
use super::forwarded::Scheme;
use super::grpc;
use super::head::Head;
use super::headers;
use super::message::{RequestHead, Response};
use super::mirror;
use super::record::Record;
use super::request_body::{ClientFault, RequestBody};
use super::response::Body;
use super::session::Held;
use super::tries::Aim;
use super::vip::Vip;
use super::worker::Worker;
use crate::policy::answer::Respond;

/// Takes a request all the way: to a member and back, or to an answer of our own.
///
/// What comes before the answer goes to `asker`. `alarm` is the client's, which has nothing else to wait for meanwhile.
/// `record` hears what happens.
pub async fn forward(
    worker: &Rc<Worker>,
    client: &Client,
    asker: &dyn Asker,
    alarm: &Alarm,
    record: &Record,
    request: Box<RequestHead>,
    body: RequestBody,
) -> Response<Body> {
    let id = headers::believed_id(&request.fields, &client.peer).unwrap_or_else(|| worker.ids.next());
    let is_grpc = grpc::is_call(&request.fields);
    record.named(&id);
    let line = Line { worker, client, asker, alarm, record, id: &id, forced: Cell::default() };
    let mut response = line.carry(request, body).await.unwrap_or_else(|error| {
        record.failed(&error);
        error.respond(&id, worker, is_grpc)
    });
    if let Some(release) = line.forced.get() {
        canary::say_release(&mut response, release);
    }
    response
}

/// What all steps of one request's way have in common.
pub(super) struct Line<'a> {
    pub(super) worker: &'a Rc<Worker>,
    pub(super) client: &'a Client,
    pub(super) asker: &'a dyn Asker,
    pub(super) alarm: &'a Alarm,
    pub(super) record: &'a Record,
    pub(super) id: &'a ExchangeId,
    /// The release that the client asked for, and that decides.
    pub(super) forced: Cell<Option<u64>>,
}

impl Line<'_> {
    async fn carry(&self, request: Box<RequestHead>, body: RequestBody) -> Result<Response<Body>, Error> {
        let Self { worker, client, record, .. } = *self;
        // Lent to the policy and taken back: a box is quicker handed on.
        let mut head = Box::new(Head::new(request, client)?);
        record.checked(&head);
        if head.method() == Method::TRACE && body.length() != Some(0) {
            return Err(Malformed::TraceContent.into());
        }
        if let Some(answer) = ends_here(&mut head)? {
            record.answered_here();
            return Ok(answer);
        }

        let asked = canary::asked(worker, &mut head);
        let mut may_wait = asked.is_none();
        let entered = loop {
            let step;
            (head, step) = self.enter(head, body.length(), asked.as_ref(), may_wait)?;
            match step {
                Step::Decided(entered) => break entered,
                Step::Answered(response) => return Ok(response),
                Step::Held(held) => held.wait().await,
            }
            may_wait = false;
        };
        let Entered { decision, flight, vip, binding } = entered;
        let (pool, mut route) = match decision {
            Decision::Pool(pool, route) => (pool, route),
            Decision::Respond(respond) => {
                tracing::debug!(exchange = %self.id, vip = head.vip(), reason = respond.reason, "answered by the policy");
                record.answered_by_policy(respond.reason.as_deref());
                let mut response = by_policy(*respond, self.id);
                vip.response_rules.apply(&mut response.fields);
                bind(&mut response, binding);
                return Ok(response);
            }
            Decision::Undecided => return Err(Error::Undecided(head.vip().to_owned())),
        };

        let reason = route.as_ref().and_then(|route| route.reason.as_deref());
        tracing::debug!(exchange = %self.id, vip = head.vip(), pool = &*pool.name, reason, "decided");
        record.goes_to(&pool.name, reason);
        pool.counts.request(worker.id);
        let aim = Aim::new(worker, &pool, &vip, &head, route.as_deref());
        headers::to_member(&mut head, client, self.id, &vip.request_rules, route.as_deref_mut());
        let scheme = head.origin_scheme();
        let keeps_trailers = head.takes_trailers();
        let upgrade = head.upgrade().cloned();
        let mut request = head.into_request();
        let body = mirror::copy(worker, client, &vip, &request, body);
        let sent = self.send(&aim, &mut request, body).await;
        let mut sent = sent.inspect_err(|error| {
            if error.is_of_member() {
                pool.counts.error(worker.id);
            }
        })?;
        if let Err(fault) =
            headers::to_client(&mut sent.response, upgrade.as_ref(), keeps_trailers, route.as_deref_mut())
        {
            let error = Error::Member(sent.key.address, fault);
            sent.member.failed(&error);
            return Err(error);
        }
        vip.response_rules.apply(&mut sent.response.fields);
        aim.bind(worker, &mut sent, scheme);
        let limits = aim.limits(vip.limits.tunnel_timeout);
        let mut response = Body::member(sent, worker, keeps_trailers, limits, Some(flight));
        if let Some(session) = &vip.session {
            response.body.ends_with(session);
        }
        bind(&mut response, binding);
        Ok(response)
    }

    /// Finds the vip and decides, or says what has to come before.
    ///
    /// What serves is pinned once, and only for this: a second look after routing could see a newer release, and the policy
    /// would choose among pools that the router never saw. What follows may take hours and must not keep it alive.
    fn enter(
        &self,
        mut head: Box<Head>,
        length: Option<u64>,
        asked: Option<&HeaderValue>,
        may_wait: bool,
    ) -> Result<(Box<Head>, Step), Error> {
        let Self { worker, client, record, .. } = *self;
        let serving = worker.current.pin();
        let named = asked.map(|asked| canary::named(worker, &serving, asked)).transpose()?;
        let release = match (&named, &serving.beside) {
            (None, None) => &serving.release,
            (None, Some(beside)) => canary::decider(worker, &serving, beside, client, &head),
            (Some(named), _) => named,
        };
        let vip = release.router.find(&client.listener.id, head.authority(), head.path()).ok_or(Error::NoVip)?;
        if may_wait
            && let Some(beside) = &serving.beside
            && let Some(held) = canary::held(beside, vip)
        {
            return Ok((head, Step::Held(held.clone())));
        }
        head.enter(&vip.name);
        record.enters(vip, release.number);
        self.forced.set(named.as_ref().map(|release| release.number));
        self.asker.limit(&vip.limits);
        if let (Some(port), Scheme::Http) = (vip.redirect_to_https, head.origin_scheme()) {
            // Without a host, the path's first segment would be taken for one.
            if head.host().is_empty() {
                return Err(Malformed::HostMissing.into());
            }
            record.answered_here();
            let redirect = redirect_to_https(&head, port);
            return Ok((head, Step::Answered(redirect)));
        }
        if let (Some(max), Some(length)) = (vip.limits.request_body_bytes_max, length)
            && length > max
        {
            return Err(ClientFault::TooLarge(max).into());
        }
        let flight = Flight::begin(&release.flights, vip, worker)?;
        let binding = if named.is_none() { canary::binding(worker, vip, release.number, &head) } else { None };
        let (head, decision) = decision::decide(worker, record, release, vip, head);
        Ok((head, Step::Decided(Entered { decision, flight, vip: vip.clone(), binding })))
    }
}

/// What comes next for a request.
enum Step {
    /// It goes where it is to go.
    Decided(Entered),
    /// It is answered here.
    Answered(Response<Body>),
    /// It waits, and looks again.
    Held(Arc<Held>),
}

/// A request that has been decided.
struct Entered {
    decision: Decision,
    flight: Flight,
    vip: Arc<Vip>,
    binding: Option<HeaderValue>,
}

/// Has the client's session end with the release that decided.
fn bind(response: &mut Response<Body>, binding: Option<HeaderValue>) {
    if let Some(cookie) = binding {
        response.fields.append(SET_COOKIE, cookie);
    }
}

fn by_policy(respond: Respond, id: &ExchangeId) -> Response<Body> {
    let mut response = Response::new(Body::full(respond.body));
    response.status = respond.status;
    response.fields = Fields::from(&respond.headers);
    if !response.fields.contains(X_REQUEST_ID) {
        response.fields.insert_with(X_REQUEST_ID, |out| id.write(out));
    }
    response
}
