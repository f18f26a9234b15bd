//! gRPC through the host, client and messages by tonic: all kinds of calls, how they end, and what the host itself says.

use std::pin::Pin;

use bytes::{Buf, BufMut};
use futures_util::{Stream, StreamExt, stream};
use hyper::Request;
use hyper::body::Incoming;
use hyper::http::uri::PathAndQuery;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::mpsc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::server::StreamingService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status, Streaming};

use crate::peers::{Speaks, in_front};
use crate::support::{Answer, Host, Member, in_time, nobody, whole};

/// Messages that are text, so that nothing has to be generated.
#[derive(Clone, Copy, Default)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = bytes.copy_to_bytes(bytes.remaining());
        Ok(Some(String::from_utf8(bytes.into()).map_err(|_| Status::data_loss("no text"))?))
    }
}

type Texts = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

/// What the member does, by the method's name. On the wire every kind of call is one that streams.
struct Service {
    method: String,
    ended: mpsc::UnboundedSender<String>,
}

/// Tells that a call is over, however it ended.
struct Ends(mpsc::UnboundedSender<String>, String);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.send(std::mem::take(&mut self.1));
    }
}

impl StreamingService<String> for Service {
    type Response = String;
    type ResponseStream = Texts;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Texts>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Streaming<String>>) -> Self::Future {
        let (method, ended) = (self.method.clone(), self.ended.clone());
        Box::pin(async move {
            let metadata = request.metadata().clone();
            let mut asked = request.into_inner();
            let texts: Texts = match &*method {
                "/t.T/Echo" => Box::pin(asked),
                "/t.T/Join" => {
                    let mut all = String::new();
                    while let Some(text) = asked.message().await? {
                        all += &text;
                    }
                    Box::pin(stream::iter([Ok(all)]))
                }
                "/t.T/Letters" => {
                    let text = asked.message().await?.unwrap_or_default();
                    let letters: Vec<_> = text.chars().map(|letter| Ok(letter.to_string())).collect();
                    Box::pin(stream::iter(letters))
                }
                "/t.T/FailLate" => {
                    Box::pin(stream::iter([Ok("one".into()), Err(Status::failed_precondition("50% größer"))]))
                }
                "/t.T/Hang" => {
                    let timeout = metadata.get("grpc-timeout").map_or("none", |text| text.to_str().unwrap());
                    let _ends = Ends(ended, timeout.to_owned());
                    std::future::pending().await
                }
                _ => return Err(Status::unimplemented(method)),
            };
            let mut response = Response::new(texts);
            if let Some(value) = metadata.get("x-there") {
                response.metadata_mut().insert("x-back", value.clone());
            }
            Ok(response)
        })
    }
}

/// A member that serves `t.T`; calls that hang tell when they end.
async fn member() -> (Member, mpsc::UnboundedReceiver<String>) {
    let (ended, ends) = mpsc::unbounded_channel();
    let member = Member::accepting(move |stream| {
        let ended = ended.clone();
        async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let service = Service { method: request.uri().path().to_owned(), ended: ended.clone() };
                async move {
                    Ok::<_, std::convert::Infallible>(tonic::server::Grpc::new(Text).streaming(service, request).await)
                }
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
    (member, ends)
}

async fn client(host: &Host) -> tonic::client::Grpc<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", host.address())).unwrap();
    let mut client = tonic::client::Grpc::new(endpoint.connect().await.unwrap());
    client.ready().await.unwrap();
    client
}

fn method(name: &str) -> PathAndQuery {
    format!("/t.T/{name}").parse().unwrap()
}

fn asking(text: &str) -> tonic::Request<String> {
    tonic::Request::new(text.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_has_an_answer_and_metadata_both_ways() {
    let (member, _ends) = member().await;
    let host = in_front(&member, Speaks::Http2).await;
    let mut request = asking("hello");
    request.metadata_mut().insert("x-there", "1".parse().unwrap());
    let answer = in_time("an answer", client(&host).await.unary(request, method("Echo"), Text)).await.unwrap();
    let back: &MetadataValue<Ascii> = answer.metadata().get("x-back").unwrap();
    assert_eq!((answer.get_ref().as_str(), back.to_str().unwrap()), ("hello", "1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_send_many_messages_and_a_server_too() {
    let (member, _ends) = member().await;
    let host = in_front(&member, Speaks::Http2).await;
    let mut client = client(&host).await;
    let many = tonic::Request::new(stream::iter(["a", "b", "c"].map(str::to_owned)));
    let joined = in_time("an answer", client.client_streaming(many, method("Join"), Text)).await.unwrap();
    assert_eq!(joined.get_ref(), "abc");
    client.ready().await.unwrap();
    let letters = client.server_streaming(asking("abc"), method("Letters"), Text).await.unwrap().into_inner();
    let letters: Vec<_> = in_time("letters", letters.map(Result::unwrap).collect()).await;
    assert_eq!(letters, ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_to_and_fro_one_at_a_time() {
    let (member, _ends) = member().await;
    let host = in_front(&member, Speaks::Http2).await;
    let (say, mut said) = mpsc::channel(1);
    let saying = tonic::Request::new(stream::poll_fn(move |cx| said.poll_recv(cx)));
    say.send("0".to_owned()).await.unwrap();
    let answer = in_time("an answer", client(&host).await.streaming(saying, method("Echo"), Text)).await.unwrap();
    let mut answers = answer.into_inner();
    for number in 0..100 {
        assert_eq!(in_time("an echo", answers.message()).await.unwrap(), Some(number.to_string()));
        say.send((number + 1).to_string()).await.unwrap();
    }
    drop(say);
    assert_eq!(answers.message().await.unwrap().unwrap(), "100");
    assert_eq!(in_time("the end", answers.message()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_call_fails_is_said_in_its_trailers() {
    let (member, _ends) = member().await;
    let host = in_front(&member, Speaks::Http2).await;
    let mut client = client(&host).await;
    let mut answer = client.server_streaming(asking(""), method("FailLate"), Text).await.unwrap().into_inner();
    assert_eq!(answer.message().await.unwrap().unwrap(), "one");
    let status = in_time("a status", answer.message()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "50% größer"));
    client.ready().await.unwrap();
    let status = client.unary(asking(""), method("Other"), Text).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unimplemented, "/t.T/Other"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_and_a_cancellation_reach_the_member() {
    let (member, mut ends) = member().await;
    let host = in_front(&member, Speaks::Http2).await;
    let mut client = client(&host).await;
    let mut request = asking("");
    request.set_timeout(std::time::Duration::from_millis(300));
    let status = in_time("the deadline", client.unary(request, method("Hang"), Text)).await.unwrap_err();
    assert!(matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded), "{status:?}");
    assert_eq!(in_time("the call's end", ends.recv()).await.unwrap(), "300000u");

    client.ready().await.unwrap();
    let asked = tokio::spawn(async move { client.unary(asking(""), method("Hang"), Text).await });
    crate::support::until("the call is under way", || host.app().switch.current.get().flights.in_flight() == 1).await;
    asked.abort();
    assert_eq!(in_time("the call's end", ends.recv()).await.unwrap(), "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_says_itself_is_a_status_of_grpc() {
    let vip = "pool = \"blue\"\nrequest_body_max = \"1KiB\"\npaths = [\"/t.T\"]";
    let host = Host::with().pool_at("blue", &[nobody()], Speaks::Http2.keys()).vip("web", vip).start().await;
    let mut client = client(&host).await;
    let mut check = async |path: &str, text: &str, code: Code| {
        client.ready().await.unwrap();
        let answer = client.unary(asking(text), path.parse().unwrap(), Text).await;
        assert_eq!(answer.unwrap_err().code(), code, "{path}");
    };
    check("/t.T/Echo", "", Code::Unavailable).await;
    check("/other/Echo", "", Code::Unimplemented).await;

    // "Trailers-Only", as gRPC over HTTP/2 calls it: the status is in the head, and nothing follows.
    let request =
        Request::post("http://a/t.T/Echo").header("content-type", "application/grpc").body(whole("")).unwrap();
    let answer = Answer::of(Speaks::Http2.ask(host.address(), request).await).await;
    assert_eq!((answer.status.as_u16(), answer.header("grpc-status"), &*answer.body), (200, "14", ""));
    assert_eq!(answer.header("content-type"), "application/grpc");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_long_is_a_status_of_grpc() {
    let (member, _ends) = member().await;
    let vip = "pool = \"blue\"\nrequest_body_max = \"1KiB\"";
    let host = Host::with().pool_at("blue", &[member.address], Speaks::Http2.keys()).vip("web", vip).start().await;
    let status = client(&host).await.unary(asking(&"x".repeat(5000)), method("Join"), Text).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
}
