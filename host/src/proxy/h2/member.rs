//! One exchange on a stream of an HTTP/2 connection to a member.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use ::h2::client::{Builder, ResponseFuture, SendRequest};
use ::h2::ext::Protocol;
use ::h2::{Error, Ping, Reason, RecvStream};
use bytes::Bytes;
use hyper::body::Frame;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TE, UPGRADE};
use hyper::{Method, Request, StatusCode, Uri, Version};
use tokio::time::Instant;

use super::sender::Sender;
use crate::proxy::connector::Held;
use crate::proxy::exchange::Asker;
use crate::proxy::fields::{Fields, Value};
use crate::proxy::h1::member::{Failure, INTERIM_MAX, MemberFault};
use crate::proxy::h1::{decoder, framing};
use crate::proxy::message::{RequestHead, Response};
use crate::proxy::request_body::{ClientFault, RequestBody};
use crate::proxy::stream::Stream;
use crate::proxy::websocket;
use crate::time::clock;

/// What a member may send on one stream before we have passed it on.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// What a member may send on all streams together before we have passed it on.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// What is kept of requests for a member whose window is full.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// What small DATA frames may cost that no client has taken yet: 256 less their length, each. A connection serves many
/// clients, so one that is slow to take a stream of small messages must not end it for all: this is more than any window
/// full of them costs.
const SMALL_FRAMES_BUDGET: usize = 256 * 1024 * 1024;

/// Bytes of a member's fields.
const FIELD_BYTES_MAX: u32 = 64 * 1024;

/// A connection to a member that carries many requests at once.
#[derive(Clone)]
pub struct Multiplexed {
    requests: SendRequest<Bytes>,
    scheme: &'static str,
    in_flight: Rc<Cell<usize>>,
    open: Rc<Cell<bool>>,
}

/// A request on its way, and its answer.
pub struct Exchange {
    answer: ResponseFuture,
    sender: Option<Sender>,
    body: RequestBody,
    body_begun: bool,
    /// The protocol that the member is still to switch to.
    upgrade: Option<HeaderValue>,
    interim: u32,
    websocket_key: Option<HeaderValue>,
    moved: Instant,
    content: Option<RecvStream>,
    length: Option<u64>,
    is_without_content: bool,
    had_all_data: bool,
    client_fault: Option<ClientFault>,
    refused: bool,
    connection: Multiplexed,
}

impl Multiplexed {
    /// Begins HTTP/2 on a new connection.
    ///
    /// # Errors
    /// When the member does not speak it.
    pub async fn begin(stream: Stream, held: Held) -> io::Result<Self> {
        // RFC 9113, 8.3.1: some members look whether it is that of the connection.
        let scheme = if matches!(stream, Stream::Tls(_)) { "https" } else { "http" };
        let handshake = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buffer_size(SEND_BUFFER_BYTES)
            .max_header_list_size(FIELD_BYTES_MAX)
            .data_frame_budget(SMALL_FRAMES_BUDGET)
            .handshake(stream);
        let (requests, mut connection) = handshake.await.map_err(io::Error::other)?;
        let mut ping = connection.ping_pong().expect("nobody else has taken it");
        let open = Rc::new(Cell::new(true));
        let ends = open.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                // Whoever waits on one of its streams is told as well.
                tracing::debug!(%error, "an HTTP/2 connection to a member ended");
            }
            ends.set(false);
            drop(held);
        });
        // The member's settings come first (RFC 9113, 3.4), and then its answer to this: from here on it is known how
        // many requests it takes at once, and whether it takes upgrades.
        ping.ping(Ping::opaque()).await.map_err(io::Error::other)?;
        Ok(Self { requests, scheme, in_flight: Rc::default(), open })
    }

    /// Whether it takes another request now.
    pub fn has_room(&self) -> bool {
        self.open.get() && self.in_flight.get() < self.requests.current_max_send_streams()
    }

    /// Whether it serves any request.
    pub fn is_idle(&self) -> bool {
        self.in_flight.get() == 0
    }

    /// Whether it may ever take another request.
    pub fn is_open(&self) -> bool {
        self.open.get()
    }

    /// Sends a request whose fields are as the member shall get them.
    ///
    /// # Errors
    /// What is left of it, where the connection takes no more.
    pub fn send(&mut self, head: &RequestHead, body: RequestBody) -> Result<Exchange, (MemberFault, RequestBody)> {
        // What HTTP/1 may send before the switch has no place in HTTP/2: such an offer is not passed on (RFC 9110, 7.8).
        let may_switch = matches!(body, RequestBody::H2(_)) || body.length() == Some(0);
        let may_switch = may_switch && head.fields.contains(CONNECTION);
        let upgrade = head.fields.get(UPGRADE).filter(|_| may_switch).map(Value::to_value);
        let request = match request(head, self.scheme, upgrade.as_ref(), &body) {
            Ok(request) => request,
            Err(fault) => return Err((fault, body)),
        };
        if upgrade.is_some() && !self.requests.is_extended_connect_protocol_enabled() {
            return Err((MemberFault::H2("it does not take upgrades (RFC 8441)".into()), body));
        }
        let ends = upgrade.is_none() && body.length() == Some(0);
        let is_head = head.method == Method::HEAD;
        match self.requests.send_request(request, ends) {
            Ok((answer, stream)) => {
                self.in_flight.set(self.in_flight.get() + 1);
                Ok(Exchange {
                    answer,
                    sender: (!ends).then(|| Sender::new(stream)),
                    body,
                    body_begun: false,
                    upgrade,
                    interim: 0,
                    websocket_key: head.fields.get(websocket::KEY).map(Value::to_value),
                    moved: clock::now(),
                    content: None,
                    length: None,
                    is_without_content: is_head,
                    had_all_data: false,
                    client_fault: None,
                    refused: false,
                    connection: self.clone(),
                })
            }
            Err(error) => {
                self.open.set(false);
                Err((MemberFault::Io(io::Error::other(error)), body))
            }
        }
    }
}

/// A request as HTTP/2 has it (RFC 9113, 8.3.1).
fn request(
    head: &RequestHead,
    scheme: &str,
    upgrade: Option<&HeaderValue>,
    body: &RequestBody,
) -> Result<Request<()>, MemberFault> {
    let cannot = |what: &str| MemberFault::H2(format!("the request's {what} cannot be said in HTTP/2"));
    let authority = head.fields.get(HOST).and_then(Value::to_str).unwrap_or_default();
    let target = head.target.path_and_query().map_or("/", |target| target.as_str());
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(target);
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri.build().map_err(|_| cannot("target"))?;
    *request.version_mut() = Version::HTTP_2;
    let mut fields = head.fields.to_map();
    for name in [HOST, CONNECTION, UPGRADE, CONTENT_LENGTH] {
        fields.remove(name);
    }
    if fields.contains_key(TE) {
        fields.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade {
        fields.remove(websocket::KEY);
        *request.method_mut() = Method::CONNECT;
        let protocol = protocol.to_str().ok().filter(|protocol| !protocol.contains(','));
        request.extensions_mut().insert(Protocol::from(protocol.ok_or_else(|| cannot("Upgrade"))?));
    } else if let Some(length) = body.length().filter(|length| *length > 0) {
        fields.insert(CONTENT_LENGTH, length.into());
    }
    *request.headers_mut() = fields;
    Ok(request)
}

impl Exchange {
    /// The answer's head. Interim answers go to `asker`.
    pub fn poll_head(&mut self, cx: &mut Context<'_>, asker: &dyn Asker) -> Poll<Result<Response<()>, Failure>> {
        self.drive(cx);
        if let Some(fault) = self.client_fault.take() {
            return Poll::Ready(Err(fault.into()));
        }
        while let Poll::Ready(Some(Ok(interim))) = self.answer.poll_informational(cx) {
            if interim.status() == StatusCode::SWITCHING_PROTOCOLS {
                // RFC 9113, 8.6: HTTP/2 has no 101.
                return Poll::Ready(Err(MemberFault::UnaskedUpgrade.into()));
            }
            self.interim += 1;
            if self.interim > INTERIM_MAX {
                return Poll::Ready(Err(MemberFault::Interim.into()));
            }
            let mut fields = Fields::from(interim.headers());
            // RFC 9110, 8.6.
            fields.remove(CONTENT_LENGTH);
            asker.interim(interim.status(), &fields);
        }
        let response = match ready!(std::pin::Pin::new(&mut self.answer).poll(cx)) {
            Ok(response) => response,
            Err(error) => return Poll::Ready(Err(self.fault(&error).into())),
        };
        let (parts, content) = response.into_parts();
        let fields = Fields::from(&parts.headers);
        let (status, version) = (parts.status, Version::HTTP_2);
        let mut response = Response { status, version, reason: None, fields, body: () };
        self.is_without_content |= framing::has_no_content(status);
        let said = framing::length(&response.fields).ok().flatten();
        self.length = if content.is_end_stream() || self.is_without_content { Some(0) } else { said };
        self.content = Some(content);
        match self.upgrade.take() {
            Some(protocol) if status.is_success() => self.switch(protocol, &mut response),
            Some(_) => self.sender = None,
            None => {}
        }
        Poll::Ready(Ok(response))
    }

    /// Says in HTTP/1's words that the member has switched (RFC 8441, 5).
    fn switch(&mut self, protocol: HeaderValue, response: &mut Response<()>) {
        self.length = None;
        self.body.become_tunnel();
        response.status = StatusCode::SWITCHING_PROTOCOLS;
        response.fields.insert(UPGRADE, protocol);
        if let Some(key) = &self.websocket_key {
            response.fields.insert(websocket::ACCEPT, websocket::accept(key));
        }
    }

    fn fault(&mut self, error: &Error) -> MemberFault {
        self.refused = error.reason() == Some(Reason::REFUSED_STREAM) || error.is_go_away() && error.is_remote();
        if error.is_io() || self.refused {
            return MemberFault::Io(io::Error::other(error.to_string()));
        }
        MemberFault::H2(error.to_string())
    }

    /// The next piece of the answer's content, or its trailers. [`Exchange::drive`] must be called beside it.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        if let Some(fault) = self.client_fault.take() {
            return Poll::Ready(Some(Err(fault.into())));
        }
        let Some(content) = self.content.as_mut().filter(|_| !self.is_without_content) else {
            return Poll::Ready(None);
        };
        if !self.had_all_data {
            match ready!(content.poll_data(cx)) {
                Some(Ok(data)) => {
                    let _ = content.flow_control().release_capacity(data.len());
                    if let Some(length) = &mut self.length {
                        *length = length.saturating_sub(data.len() as u64);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(MemberFault::H2(error.to_string()).into()))),
                None => self.had_all_data = true,
            }
        }
        match ready!(content.poll_trailers(cx)) {
            Ok(Some(trailers)) => {
                let trailers = decoder::allowed(trailers);
                Poll::Ready((!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers))))
            }
            Ok(None) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(MemberFault::H2(error.to_string()).into()))),
        }
    }

    /// The length of what is left of the answer's content, where it is known.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether trailers may follow the content.
    pub fn may_have_trailers(&self) -> bool {
        self.content.as_ref().is_some_and(|content| !content.is_end_stream()) && !self.is_without_content
    }

    /// Passes on what the client sends, as far as it goes now; answers whether anything moved.
    pub fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        // The content of an upgraded connection begins when the member has switched.
        while let Some(sender) = self.sender.as_mut().filter(|_| self.upgrade.is_none()) {
            match sender.poll_room(cx) {
                Poll::Pending => break,
                Poll::Ready(Err(_)) => {
                    self.sender = None;
                    break;
                }
                Poll::Ready(Ok(())) => {}
            }
            let Poll::Ready(frame) = self.body.poll_frame(cx) else {
                self.waits_for_client();
                break;
            };
            moved = true;
            let ended = match frame {
                Some(Ok(frame)) => {
                    (self.body_begun, self.moved) = (true, clock::now());
                    sender.send(frame)
                }
                None => sender.end().map(|()| true),
                Some(Err(fault)) => {
                    sender.reset(Reason::CANCEL);
                    self.client_fault = Some(fault);
                    Ok(true)
                }
            };
            if ended.unwrap_or(true) {
                self.sender = None;
            }
        }
        moved
    }

    /// The member has all that there is: what it takes from now on is the client's time, unless that waits for the member.
    fn waits_for_client(&mut self) {
        if !self.body.awaits_continue() {
            self.moved = clock::now();
        }
    }

    /// Whether all that the client sends has been passed on.
    pub fn is_request_done(&self) -> bool {
        self.sender.is_none()
    }

    /// Whether nothing of its content was taken from the client.
    pub fn is_repeatable(&self) -> bool {
        !self.body_begun
    }

    /// When the request last moved.
    pub fn moved(&self) -> Instant {
        self.moved
    }

    /// Gives up an exchange that was not answered: the content, where none of it was taken, and whether the member can
    /// have seen the request. One that it refused it has not (RFC 9113, 8.7).
    pub fn into_unsent(mut self) -> (Option<RequestBody>, bool) {
        let body = std::mem::replace(&mut self.body, RequestBody::Empty);
        ((!self.body_begun).then_some(body), !self.refused)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let in_flight = &self.connection.in_flight;
        in_flight.set(in_flight.get() - 1);
    }
}
