//! A client's stream, shared by those who take part in one exchange: its server, and the member's side, which pulls the
//! request's content.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use ::h2::server::SendResponse;
use ::h2::{Reason, RecvStream};
use bytes::Bytes;
use hyper::StatusCode;
use hyper::body::Frame;
use hyper::header::{HeaderMap, HeaderValue};

use crate::proxy::exchange::Asker;
use crate::proxy::fields::Fields;
use crate::proxy::h1::{decoder, framing};
use crate::proxy::pace::Pace;
use crate::proxy::request_body::ClientFault;
use crate::spec::vip::VipLimits;

/// A client's stream, shared.
#[derive(Clone)]
pub struct SharedStream(Rc<RefCell<Inner>>);

struct Inner {
    respond: SendResponse<Bytes>,
    content: RecvStream,
    length: Option<u64>,
    bytes: u64,
    bytes_max: Option<u64>,
    had_all_data: bool,
    reading: Pace,
    writing: Pace,
    is_tunnel: bool,
}

impl SharedStream {
    /// The stream of a request with these fields.
    pub fn new(respond: SendResponse<Bytes>, content: RecvStream, fields: &Fields) -> Self {
        // Checked against the frames that come.
        let said = framing::length(fields).ok().flatten();
        // A length of nothing says that nothing comes, and not before the end that nothing came.
        let length = if content.is_end_stream() { Some(0) } else { said.filter(|length| *length > 0) };
        let (reading, writing) = (Pace::new(&VipLimits::default()), Pace::new(&VipLimits::default()));
        Self(Rc::new(RefCell::new(Inner {
            respond,
            content,
            length,
            bytes: 0,
            bytes_max: None,
            had_all_data: false,
            reading,
            writing,
            is_tunnel: false,
        })))
    }

    /// The length of the content, where the head says it.
    pub fn length(&self) -> Option<u64> {
        self.0.borrow().length
    }

    /// Bytes of content that came.
    pub fn bytes(&self) -> u64 {
        self.0.borrow().bytes
    }

    /// The next piece of content, or the trailers; `None` at the end.
    pub fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        let inner = &mut *self.0.borrow_mut();
        if !inner.had_all_data {
            let data = match inner.content.poll_data(cx) {
                Poll::Ready(data) => data,
                Poll::Pending if inner.is_tunnel => return Poll::Pending,
                Poll::Pending => {
                    ready!(inner.reading.poll_overdue(cx));
                    return Poll::Ready(Some(Err(ClientFault::Slow)));
                }
            };
            match data {
                Some(Ok(data)) => {
                    inner.reading.moved(data.len());
                    inner.bytes += data.len() as u64;
                    // Pulled only when there is room for it: the client may send as much again.
                    let _ = inner.content.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(match inner.bytes_max {
                        Some(max) if inner.bytes > max => Err(ClientFault::TooLarge(max)),
                        _ => Ok(Frame::data(data)),
                    }));
                }
                Some(Err(_)) => return Poll::Ready(Some(Err(ClientFault::Gone))),
                None => inner.had_all_data = true,
            }
        }
        match ready!(inner.content.poll_trailers(cx)) {
            Ok(Some(trailers)) if !values_are_trimmed(&trailers) => {
                inner.respond.send_reset(Reason::PROTOCOL_ERROR);
                Poll::Ready(Some(Err(ClientFault::Gone)))
            }
            Ok(Some(trailers)) => {
                let trailers = decoder::allowed(trailers);
                Poll::Ready((!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers))))
            }
            Ok(None) => Poll::Ready(None),
            Err(_) => Poll::Ready(Some(Err(ClientFault::Gone))),
        }
    }

    /// Everything that comes from now on is content, and may take its time.
    pub fn become_tunnel(&self) {
        let inner = &mut *self.0.borrow_mut();
        (inner.is_tunnel, inner.bytes_max) = (true, None);
    }

    /// Ready when the client has given up the request.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.borrow_mut().respond.poll_reset(cx).map(drop)
    }

    /// Does something with the end that answers go to.
    pub fn respond<T>(&self, act: impl FnOnce(&mut SendResponse<Bytes>) -> T) -> T {
        act(&mut self.0.borrow_mut().respond)
    }

    /// Does something with the pace at which answers are taken.
    pub fn writing<T>(&self, act: impl FnOnce(&mut Pace) -> T) -> T {
        act(&mut self.0.borrow_mut().writing)
    }
}

/// Whether no value begins or ends with white space (RFC 9113, 8.2.1).
pub fn values_are_trimmed(fields: &HeaderMap) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    fields.values().map(HeaderValue::as_bytes).all(|value| !is_space(value.first()) && !is_space(value.last()))
}

impl Asker for SharedStream {
    fn interim(&self, status: StatusCode, fields: &Fields) {
        let mut response = hyper::Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = fields.to_map();
        // One that cannot be sent any more is missed by nobody.
        let _ = self.0.borrow_mut().respond.send_informational(response);
    }

    fn limit(&self, limits: &VipLimits) {
        let inner = &mut *self.0.borrow_mut();
        inner.bytes_max = limits.request_body_bytes_max;
        (inner.reading, inner.writing) = (Pace::new(limits), Pace::new(limits));
    }
}
