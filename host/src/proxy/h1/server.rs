//! Serves one client's HTTP/1 connection: reads a head, has it forwarded, writes the answer, and again.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::{Method, StatusCode, Version};
use tokio::time::{Sleep, sleep};

use super::answer::{After, Answered, Asked, give_up, respond};
use super::conn::{NoRequest, SharedConn};
use super::framing::{self, Framing};
use super::head::HeadLimits;
use super::wire::Wire;
use super::{encoder, linger};
use crate::proxy::alarm::Alarm;
use crate::proxy::error::{Error, Malformed};
use crate::proxy::exchange::{Asker, Client};
use crate::proxy::fields::Fields;
use crate::proxy::fields::name::{EXPECT, UPGRADE};
use crate::proxy::forward::forward;
use crate::proxy::headers;
use crate::proxy::leaving::Leaving;
use crate::proxy::message::RequestHead;
use crate::proxy::record::Record;
use crate::proxy::request_body::RequestBody;
use crate::proxy::worker::Worker;
use crate::telemetry::told::Ended;
use crate::time::clock;

/// Serves a connection to its end.
pub async fn serve(worker: Rc<Worker>, client: Rc<Client>, wire: Wire, leaving: Rc<Leaving>) {
    let limits = &client.listener.spec.limits;
    let conn = SharedConn::new(wire, HeadLimits { bytes: limits.head_bytes_max, fields: limits.fields_max });
    // The first request has no longer than its head: nothing was heard of the client yet.
    let alarm = Alarm::after(limits.head_timeout);
    let mut told_to_leave = leaving.wait();
    loop {
        let next = next(&conn, &alarm, limits.head_timeout, &leaving, told_to_leave.as_mut()).await;
        let after = match next {
            Ok(head) => exchange(&worker, &client, &conn, &leaving, &alarm, head).await,
            Err(NoRequest::Closed) => return,
            Err(NoRequest::Unsent(unsent)) => give_up(&worker, &conn, unsent),
            Err(NoRequest::Slow) => {
                let record = Record::begin(&worker, &client);
                Box::pin(refuse(&worker, &conn, &record, Malformed::Slow)).await
            }
            Err(NoRequest::Bad(bad)) => {
                let record = Record::begin(&worker, &client);
                Box::pin(refuse(&worker, &conn, &record, bad.into())).await
            }
        };
        match after {
            // Where the listener leaves, what was sent ahead is still served, and the last answer says that it is the last.
            After::Keep => alarm.set(clock::now() + limits.idle_timeout),
            After::Close => return linger::close(&conn).await,
            After::Gone => return,
        }
    }
}

/// The next head, unless the listener leaves and nothing of it comes for a while.
async fn next(
    conn: &SharedConn,
    alarm: &Alarm,
    head_timeout: Duration,
    leaving: &Leaving,
    mut told_to_leave: Pin<&mut (impl Future<Output = ()> + ?Sized)>,
) -> Result<Box<RequestHead>, NoRequest> {
    let mut head = pin!(conn.next_head(alarm, head_timeout));
    let mut patience: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        // First: a request that is there already is served.
        if let Poll::Ready(head) = head.as_mut().poll(cx) {
            return Poll::Ready(head);
        }
        if patience.is_none() && told_to_leave.as_mut().poll(cx).is_ready() {
            patience = Some(Box::pin(sleep(leaving.last_request())));
        }
        let is_over = patience.as_mut().is_some_and(|patience| patience.as_mut().poll(cx).is_ready());
        if is_over && conn.with(|conn| conn.wire.input.is_empty() && !conn.has_left()) {
            return Poll::Ready(Err(NoRequest::Closed));
        }
        Poll::Pending
    })
    .await
}

async fn exchange(
    worker: &Rc<Worker>,
    client: &Client,
    conn: &SharedConn,
    leaving: &Leaving,
    alarm: &Alarm,
    head: Box<RequestHead>,
) -> After {
    let record = Record::begin(worker, client);
    record.head(client, &head);
    let framing = match framing::of_request(head.version, &head.fields) {
        Ok(framing) => framing,
        Err(bad) => return Box::pin(refuse(worker, conn, &record, bad.into())).await,
    };
    let is_modern = encoder::is_modern(head.version);
    // RFC 9110, 10.1.1: an expectation of HTTP/1.0 is ignored.
    let awaits_continue = is_modern
        && framing != Framing::Length(0)
        && head.fields.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    conn.begin(framing, is_modern, awaits_continue);
    let asked = Asked {
        method: head.method.clone(),
        version: head.version,
        wants_close: headers::connection_has(&head.fields, "close"),
        wants_keep_alive: headers::connection_has(&head.fields, "keep-alive"),
    };
    // A tunnel's content is what follows the request, once the member has switched.
    let may_upgrade = is_modern && head.fields.contains(UPGRADE);
    let body =
        if framing == Framing::Length(0) && !may_upgrade { RequestBody::Empty } else { RequestBody::H1(conn.clone()) };
    let response = {
        let mut forwarded = pin!(forward(worker, client, conn, alarm, &record, head, body));
        poll_fn(|cx| {
            if let Poll::Ready(response) = forwarded.as_mut().poll(cx) {
                return Poll::Ready(Some(response));
            }
            conn.poll_gone(cx).map(|()| None)
        })
        .await
    };
    let Some(response) = response else {
        record.finish(Ended::ClientGone, conn.body_bytes());
        return After::Gone;
    };
    match respond(worker, conn, leaving, alarm, &record, &asked, response).await {
        Answered::Over(after) => after,
        Answered::Gathered(waker) => {
            conn.leave(record, waker);
            After::Keep
        }
    }
}

/// Answers what is no request. What follows it cannot be understood either.
async fn refuse(worker: &Rc<Worker>, conn: &SharedConn, record: &Record, malformed: Malformed) -> After {
    conn.begin(Framing::Length(0), false, false);
    let (id, error) = (worker.ids.next(), Error::Malformed(malformed));
    record.named(&id);
    record.failed(&error);
    let response = error.respond(&id, worker, false);
    let asked = Asked { method: Method::GET, version: Version::HTTP_11, wants_close: true, wants_keep_alive: false };
    let alarm = Alarm::after(linger::TIMEOUT);
    match respond(worker, conn, &Leaving::default(), &alarm, record, &asked, response).await {
        Answered::Over(after) => after,
        Answered::Gathered(_) => unreachable!("a connection that is not kept has its end to wait for"),
    }
}

impl Asker for SharedConn {
    fn interim(&self, status: StatusCode, fields: &Fields) {
        Self::interim(self, status, fields);
    }

    fn limit(&self, limits: &crate::spec::vip::VipLimits) {
        Self::limit(self, limits);
    }
}
