//! What is told of one exchange: gathered along the request line, handed over when it ends, written and exported elsewhere.
//!
//! Made only where somebody wants to know: an access log is kept, or the exchange is traced. What clients and policies
//! chose is kept as the bytes that it is, cut to a length; whoever writes it makes it safe.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::{Method, StatusCode, Version};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Telling;
use super::access_log;
use super::traces::Tracer;
use crate::address::Address;

/// One exchange, from its head to its end.
pub struct Told {
    /// When its head had been read.
    pub began: Instant,
    /// The same in nanoseconds since 1970 UTC.
    pub began_unix_nanos: u64,
    /// When the last of its answer was written, or it was given up.
    pub ended_at: Instant,
    /// Its id, as its client and its member know it.
    pub id: String,
    /// Where the connection came from.
    pub peer: Option<SocketAddr>,
    /// Whom it speaks for, as a trusted proxy said.
    pub client: Option<IpAddr>,
    /// The listener it came to.
    pub listener: Box<str>,
    /// How the connection is secured.
    pub scheme: &'static str,
    /// Of the request; `None` where it could not be read.
    pub method: Option<Method>,
    /// Path and query as the client sent them.
    pub target: Text,
    /// The host it asked for.
    pub host: Text,
    /// What it speaks.
    pub version: Option<Version>,
    /// What it says it is.
    pub user_agent: Text,
    /// Where it says it came from.
    pub referer: Text,
    /// Where it entered.
    pub vip: Option<Arc<str>>,
    /// What decided it.
    pub release: u64,
    /// The last policy that was asked.
    pub policy: Option<Arc<str>>,
    /// When the policies were asked, and how long that took.
    pub decision: Option<(Instant, Duration)>,
    /// Why the policy chose so; safe to show.
    pub reason: Text,
    /// The pool it was given to.
    pub pool: Option<Arc<str>>,
    /// The members that were tried.
    pub tries: Vec<Try>,
    /// What the client was answered.
    pub status: Option<StatusCode>,
    /// Bytes of content from the client.
    pub received_bytes: u64,
    /// Bytes of content to the client.
    pub sent_bytes: u64,
    /// What ended it.
    pub ended: Ended,
    /// The same in words, where something went wrong.
    pub error: Option<String>,
    /// How it is traced, where it is.
    pub trace: Option<Trace>,
}

/// One try to have a member answer.
pub struct Try {
    /// The member.
    pub member: Address,
    /// When it began.
    pub began: Instant,
    /// How long it took until a new connection was open; `None` on one that was.
    pub connecting: Option<Duration>,
    /// How long it took from then until the answer began, where it did.
    pub first_byte: Option<Duration>,
    /// When it was over: at the first byte of the answer, or the failure.
    pub over: Instant,
    /// What came of it.
    pub came: Came,
    /// The answer's status.
    pub status: Option<StatusCode>,
    /// Its name in the trace.
    pub span: u64,
}

/// An exchange's place in its trace.
#[derive(Clone, Copy, Debug)]
pub struct Trace {
    /// The trace.
    pub id: u128,
    /// The client's span, where it has one.
    pub parent: Option<u64>,
    /// The exchange's.
    pub span: u64,
    /// The decision's.
    pub decision: u64,
    /// The flags that members get.
    pub flags: u8,
}

/// What ended an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A member's answer was passed on to its end.
    Whole,
    /// The policy answered.
    Policy,
    /// It asked the proxy itself, or was sent elsewhere.
    Here,
    /// What came cannot be accepted.
    Malformed,
    /// Its head or its content is longer than it may be.
    TooLarge,
    /// The client kept us waiting for too long.
    ClientSlow,
    /// The client went away.
    ClientGone,
    /// Nobody serves what it asked for.
    NoVip,
    /// Too many others are in flight.
    Overload,
    /// No policy could decide.
    Undecided,
    /// The pool has nobody to ask.
    NoMember,
    /// No member could be reached.
    MemberUnreached,
    /// The member's answer did not begin in time.
    MemberTimeout,
    /// The member's answer cannot be used, or broke off.
    MemberBroke,
    /// Nothing passed through a tunnel for too long.
    TunnelSilent,
    /// A tunnel was closed, as its release was left.
    SessionOver,
    /// The host ended first.
    HostLeft,
}

/// Whose fault it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// All went as it should.
    Nobody,
    /// The client's.
    Client,
    /// The member's.
    Member,
    /// The policy's.
    Policy,
    /// Ours, or our configuration's.
    Host,
}

/// What came of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// An answer began.
    Answered,
    /// There was no connection.
    Unreached,
    /// No answer began in time.
    Late,
    /// The connection broke, or what came was no answer.
    Broke,
    /// The client did not send its content as it should.
    ClientFault,
    /// The client went away meanwhile.
    Abandoned,
}

impl Ended {
    /// All of them, in their order.
    pub const ALL: [Self; 17] = [
        Self::Whole,
        Self::Policy,
        Self::Here,
        Self::Malformed,
        Self::TooLarge,
        Self::ClientSlow,
        Self::ClientGone,
        Self::NoVip,
        Self::Overload,
        Self::Undecided,
        Self::NoMember,
        Self::MemberUnreached,
        Self::MemberTimeout,
        Self::MemberBroke,
        Self::TunnelSilent,
        Self::SessionOver,
        Self::HostLeft,
    ];

    /// Its name in the log, in metrics and in traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Policy => "policy_answered",
            Self::Here => "answered_here",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::ClientSlow => "client_slow",
            Self::ClientGone => "client_gone",
            Self::NoVip => "no_vip",
            Self::Overload => "overload",
            Self::Undecided => "undecided",
            Self::NoMember => "no_member",
            Self::MemberUnreached => "member_unreached",
            Self::MemberTimeout => "member_timeout",
            Self::MemberBroke => "member_broke",
            Self::TunnelSilent => "tunnel_silent",
            Self::SessionOver => "session_over",
            Self::HostLeft => "host_left",
        }
    }

    /// Whose fault it was.
    pub fn fault(self) -> Fault {
        match self {
            Self::Whole | Self::Policy | Self::Here | Self::TunnelSilent | Self::SessionOver => Fault::Nobody,
            Self::Malformed | Self::TooLarge | Self::ClientSlow | Self::ClientGone | Self::NoVip => Fault::Client,
            Self::Undecided => Fault::Policy,
            Self::MemberUnreached | Self::MemberTimeout | Self::MemberBroke => Fault::Member,
            Self::Overload | Self::NoMember | Self::HostLeft => Fault::Host,
        }
    }
}

impl Fault {
    /// Its name in the log, in metrics and in traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Client => "client",
            Self::Member => "member",
            Self::Policy => "policy",
            Self::Host => "host",
        }
    }
}

impl Came {
    /// All of them, in their order.
    pub const ALL: [Self; 6] =
        [Self::Answered, Self::Unreached, Self::Late, Self::Broke, Self::ClientFault, Self::Abandoned];

    /// Its name in the log, in metrics and in traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Unreached => "unreached",
            Self::Late => "late",
            Self::Broke => "broke",
            Self::ClientFault => "client_fault",
            Self::Abandoned => "abandoned",
        }
    }
}

/// Bytes that somebody else chose, cut to a length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(Box<[u8]>);

impl Text {
    /// The most that is kept of one. What waits to be written is kept in memory, and heads may be long.
    pub const BYTES_MAX: usize = 2048;

    /// As much of these as is kept.
    pub fn of(bytes: &[u8]) -> Self {
        Self(bytes[..bytes.len().min(Self::BYTES_MAX)].into())
    }

    /// The bytes; `None` where there are none.
    pub fn bytes(&self) -> Option<&[u8]> {
        (!self.0.is_empty()).then_some(&self.0)
    }
}

/// Where one worker hands over what is told. Never waits: what there is no room for is dropped, and counted.
#[derive(Clone, Default)]
pub struct Teller {
    /// To the access log's writer, where there is one.
    pub log: Option<mpsc::Sender<access_log::Message>>,
    /// To the exporter of traces, where there is one.
    pub tracer: Option<Tracer>,
    /// What is dropped.
    pub telling: Arc<Telling>,
}

impl Teller {
    /// Hands an exchange over.
    pub fn tell(&self, told: Arc<Told>) {
        if let (Some(tracer), Some(_)) = (&self.tracer, told.trace)
            && tracer.spans.try_send(told.clone()).is_err()
        {
            self.telling.spans_dropped.fetch_add(told.spans(), Ordering::Relaxed);
        }
        if let Some(log) = &self.log
            && log.try_send(access_log::Message::Line(told)).is_err()
        {
            self.telling.lines_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Told {
    /// From the head to the end.
    pub fn duration(&self) -> Duration {
        self.ended_at - self.began
    }

    /// How many spans it makes.
    pub fn spans(&self) -> u64 {
        1 + u64::from(self.decision.is_some()) + self.tries.len() as u64
    }
}
