//! The request line in one function: every branch a request can take.

use std::pin::pin;
use std::rc::Rc;

use hyper::body::{Body as _, Incoming};
use hyper::header::{HeaderValue, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode, Version};
use tokio::time::Instant;

use super::connector::MemberConnection;
use super::decision::{self, Decision};
use super::error::Error;
use super::exchange::{Client, ExchangeId, Flight};
use super::head::Head;
use super::headers;
use super::pool::{Candidates, Pool};
use super::request_body::RequestBody;
use super::response::{Body, InUse};
use super::worker::Worker;
use crate::policy::answer::Respond;

/// Members tried for one request, when they cannot be reached.
const TRIES_MAX: usize = 3;

/// Takes a request all the way: to a member and back, or to an answer of our own.
pub async fn forward(worker: &Rc<Worker>, client: &Client, request: Request<Incoming>) -> Response<Body> {
    let id = worker.ids.next();
    carry(worker, client, id, request).await.unwrap_or_else(|error| error.respond(&id, &worker.log))
}

async fn carry(
    worker: &Rc<Worker>,
    client: &Client,
    id: ExchangeId,
    request: Request<Incoming>,
) -> Result<Response<Body>, Error> {
    let (parts, body) = request.into_parts();
    let mut head = Head::new(parts, client.address.ip())?;

    // The release is pinned once, and only for the decision: a second look after routing could see a newer one, and the
    // policy would choose among pools that the router never saw. What follows may take hours and must not keep it alive.
    let (decision, flight) = {
        let release = worker.current.pin();
        let vip = release.router.find(&client.listener.id, head.authority(), head.path()).ok_or(Error::NoVip)?;
        head.enter(&vip.name);
        let decision;
        (head, decision) = decision::decide(worker, &release, vip, head);
        (decision, Flight::begin(&release.flights, worker.id))
    };
    let (pool, mut route) = match decision {
        Decision::Pool(pool, route) => (pool, route),
        Decision::Respond(respond) => {
            tracing::debug!(exchange = %id, vip = head.vip(), reason = respond.reason, "answered by the policy");
            return Ok(by_policy(respond, id));
        }
        Decision::Undecided => return Err(Error::Undecided(head.vip().to_owned())),
    };

    if let Some(route) = &route {
        tracing::debug!(exchange = %id, vip = head.vip(), pool = &*pool.name, reason = route.reason, "decided");
    }
    pool.counts.request(worker.id);
    headers::to_member(&mut head, client, id, route.as_deref_mut());
    let key = route.as_ref().and_then(|route| route.affinity.as_deref());
    let members = pool.candidates(worker.id, key);
    let sent = send(worker, &pool, members, head.into_parts(), body).await;
    let Sent { mut response, connection, member } = sent.inspect_err(|error| {
        if error.is_of_member() {
            pool.counts.error(worker.id);
        }
    })?;
    *response.version_mut() = Version::HTTP_11;
    headers::to_client(response.headers_mut(), route.as_deref_mut());
    Ok(response.map(|incoming| Body::member(incoming, connection, worker, member, flight)))
}

/// A request that a member has answered.
struct Sent {
    response: Response<Incoming>,
    connection: MemberConnection,
    member: InUse,
}

/// Sends a request to the first of `members`; to the next one when that one cannot be reached.
async fn send(
    worker: &Worker,
    pool: &Pool,
    members: Candidates<'_>,
    mut parts: Parts,
    body: Incoming,
) -> Result<Sent, Error> {
    parts.version = Version::HTTP_11;
    let body = RequestBody::from(body);
    if body.size_hint().exact().is_none() {
        // Said here, as hyper takes a GET without a length for one without content.
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let mut request = Request::from_parts(parts, body);
    let mut error = Error::NoMember(pool.name.to_string());
    for member in members.take(TRIES_MAX) {
        let member = InUse::begin(member);
        let address = &member.0.address;
        // A member may close a connection that was idle at the moment we take it. That is nobody's failure: what was not
        // sent is sent again, and what can be repeated without harm is repeated, until a connection is new.
        while let Some(connection) = worker.connector.reuse(address) {
            let spare = repeatable(&request);
            match send_on(connection, request, pool, &member).await {
                Ok((response, connection)) => return Ok(Sent { response, connection, member }),
                Err(Unsent::Failed(Error::Broken(..))) if let Some(spare) = spare => request = spare,
                Err(Unsent::Failed(error)) => return Err(failed(&member, error)),
                Err(Unsent::Whole(unsent, _)) => request = unsent,
            }
        }
        match worker.connector.connect(address, pool.connect_timeout).await {
            Ok(connection) => match send_on(connection, request, pool, &member).await {
                Ok((response, connection)) => return Ok(Sent { response, connection, member }),
                Err(Unsent::Failed(error)) => return Err(failed(&member, error)),
                Err(Unsent::Whole(unsent, cause)) => {
                    request = unsent;
                    error = failed(&member, Error::Broken(address.clone(), cause));
                }
            },
            Err(cause) => error = failed(&member, Error::Connect(address.clone(), cause)),
        }
    }
    Err(error)
}

/// What is left of a request that was not answered.
#[allow(clippy::large_enum_variant, reason = "moved once; a box would be an allocation")]
enum Unsent {
    /// All of it: nothing was sent.
    Whole(Request<RequestBody>, hyper::Error),
    /// Nothing that can be sent again.
    Failed(Error),
}

async fn send_on(
    mut connection: MemberConnection,
    request: Request<RequestBody>,
    pool: &Pool,
    member: &InUse,
) -> Result<(Response<Incoming>, MemberConnection), Unsent> {
    let address = || member.0.address.clone();
    let progress = request.body().progress();
    let mut answer = pin!(connection.sender.try_send_request(request));
    let mut deadline = Instant::now() + pool.response_timeout;
    let answer = loop {
        match tokio::time::timeout_at(deadline, answer.as_mut()).await {
            Ok(answer) => break answer,
            Err(_) => {
                // The time to answer begins anew with each piece of the request that the member is still being sent.
                deadline = progress.as_ref().map_or(deadline, |progress| progress.last() + pool.response_timeout);
                if deadline <= Instant::now() {
                    return Err(Unsent::Failed(Error::ResponseTimeout(address())));
                }
            }
        }
    };
    match answer {
        Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            Err(Unsent::Failed(Error::UnaskedUpgrade(address())))
        }
        Ok(response) if !headers::has_known_coding(response.headers()) => {
            Err(Unsent::Failed(Error::UnknownCoding(address())))
        }
        Ok(response) => Ok((response, connection)),
        Err(mut broken) => Err(match broken.take_message() {
            Some(unsent) => Unsent::Whole(unsent, broken.into_error()),
            None => {
                let error = broken.into_error();
                Unsent::Failed(if error.is_user() { Error::ClientGone(error) } else { Error::Broken(address(), error) })
            }
        }),
    }
}

/// A copy of a request that may be sent twice (RFC 9110, 9.2.2).
fn repeatable(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let once_more = request.method().is_idempotent() && matches!(request.body(), RequestBody::Empty);
    once_more.then(|| {
        let mut copy = Request::new(RequestBody::Empty);
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        copy
    })
}

fn failed(member: &InUse, error: Error) -> Error {
    if error.is_of_member() {
        member.0.fail();
    }
    error
}

fn by_policy(respond: Respond, id: ExchangeId) -> Response<Body> {
    let mut response = Response::new(Body::full(respond.body));
    *response.status_mut() = respond.status;
    *response.headers_mut() = respond.headers;
    response.headers_mut().entry(headers::X_REQUEST_ID).or_insert_with(|| id.to_value());
    response
}
