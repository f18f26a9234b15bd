//! Copies of requests for another pool, whose answers are thrown away.
//!
//! The original never waits for its copy: content is kept as it passes, up to a bound, and the copy sets out when the
//! member has all of it. What is too long, or too much at once, is not copied, and counted.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use hyper::body::Frame;

use super::alarm::Alarm;
use super::exchange::{Asker, Client};
use super::fields::Fields;
use super::fields::name::UPGRADE;
use super::forward::Line;
use super::message::RequestHead;
use super::per_worker::PerWorker;
use super::pool::Pool;
use super::record::Record;
use super::request_body::{ClientFault, RequestBody};
use super::response::Body;
use super::tries::Aim;
use super::vip::Vip;
use super::worker::Worker;
use crate::spec::vip::{MirrorSpec, VipLimits};

/// Where a vip's copies go.
pub struct Mirror {
    /// The pool.
    pub pool: Arc<Pool>,
    spec: MirrorSpec,
    in_flight: PerWorker<AtomicU32>,
}

/// A copy that is to be sent once its content is there. It counts from its beginning: what it keeps takes room.
struct Copy {
    worker: Rc<Worker>,
    client: Client,
    vip: Arc<Vip>,
    head: RequestHead,
}

/// A request's content on its way, and what of it is kept for the copy.
pub struct Copied {
    body: RequestBody,
    kept: BytesMut,
    copy: Option<Copy>,
}

impl Mirror {
    /// Copies to this pool.
    pub fn new(pool: Arc<Pool>, spec: &MirrorSpec, workers: usize) -> Self {
        Self { pool, spec: spec.clone(), in_flight: PerWorker::new(workers, |_| AtomicU32::default()) }
    }
}

/// Has a request copied, if its vip wants that and chance has it: the content to send on in its place.
pub(super) fn copy(
    worker: &Rc<Worker>,
    client: &Client,
    vip: &Arc<Vip>,
    head: &RequestHead,
    body: RequestBody,
) -> RequestBody {
    let Some(mirror) = &vip.mirror else { return body };
    // An upgrade is no request that could be thrown away after.
    if worker.chance() * 100.0 >= f64::from(mirror.spec.percent) || head.fields.contains(UPGRADE) {
        return body;
    }
    let is_too_long = body.length().is_some_and(|length| length > mirror.spec.body_bytes_max as u64);
    let in_flight = mirror.in_flight.of(worker.id);
    if is_too_long || in_flight.load(Ordering::Relaxed) >= mirror.spec.requests_max {
        vip.counts.of(worker.id).copies_left_out.add();
        return body;
    }
    in_flight.fetch_add(1, Ordering::Relaxed);
    let copy = Copy { worker: worker.clone(), client: client.clone(), vip: vip.clone(), head: head.clone() };
    if body.length() == Some(0) {
        copy.send(Bytes::new());
        return body;
    }
    RequestBody::Copied(Box::new(Copied { body, kept: BytesMut::new(), copy: Some(copy) }))
}

impl Copied {
    /// What is copied.
    pub fn body(&self) -> &RequestBody {
        &self.body
    }

    /// What is copied.
    pub fn body_mut(&mut self) -> &mut RequestBody {
        &mut self.body
    }

    /// The next piece, which is kept as well.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        let frame = std::task::ready!(self.body.poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => self.keep(frame),
            Some(Err(_)) => self.copy = None,
            None => {
                if let Some(copy) = self.copy.take() {
                    copy.send(std::mem::take(&mut self.kept).freeze());
                }
            }
        }
        Poll::Ready(frame)
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        let (Some(data), Some(copy)) = (frame.data_ref(), &self.copy) else { return };
        let max = copy.vip.mirror.as_ref().map_or(0, |mirror| mirror.spec.body_bytes_max);
        if self.kept.len() + data.len() > max {
            copy.vip.counts.of(copy.worker.id).copies_left_out.add();
            (self.copy, self.kept) = (None, BytesMut::new());
        } else {
            self.kept.extend_from_slice(data);
        }
    }
}

impl Copy {
    /// Sends it, beside everything else.
    fn send(mut self, content: Bytes) {
        tokio::task::spawn_local(async move {
            let Self { worker, client, vip, head } = &mut self;
            let Some(mirror) = &vip.mirror else { return };
            vip.counts.of(worker.id).copies.add();
            mirror.pool.counts.request(worker.id);
            let alarm = Alarm::after(mirror.pool.timeouts.connect);
            let id = worker.ids.next();
            let record = Record::of_copy(worker);
            let forced = Cell::default();
            let line = Line { worker, client, asker: &Nobody, alarm: &alarm, record: &record, id: &id, forced };
            let aim = Aim::of_copy(&mirror.pool);
            let body = if content.is_empty() { RequestBody::Empty } else { RequestBody::Kept(Some(content)) };
            match line.send(&aim, head, body).await {
                Ok(sent) => {
                    let limits = aim.limits(std::time::Duration::ZERO);
                    let mut answer = Body::member(sent, worker, false, limits, None);
                    while next(&mut answer.body).await {}
                }
                Err(error) => {
                    tracing::debug!(%error, "a copy was not answered");
                    mirror.pool.counts.error(worker.id);
                }
            }
        });
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Some(mirror) = &self.vip.mirror {
            mirror.in_flight.of(self.worker.id).fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Throws away the next piece; answers whether there may be more.
async fn next(body: &mut Body) -> bool {
    std::future::poll_fn(|cx| {
        body.drive(cx);
        body.poll_frame(cx).map(|frame| frame.is_some_and(|frame| frame.is_ok()))
    })
    .await
}

/// Nobody reads what comes before a copy's answer.
struct Nobody;

impl Asker for Nobody {
    fn interim(&self, _: StatusCode, _: &Fields) {}

    fn limit(&self, _: &VipLimits) {}
}
