//! A connection that has become a tunnel: what was a request and an answer are bytes both ways (RFC 9110, 7.8).

use std::future::poll_fn;
use std::task::Poll;

use super::conn::SharedConn;
use super::encoder::Encoder;
use crate::proxy::alarm::Alarm;
use crate::proxy::record::Record;
use crate::proxy::response::{Body, BrokeOff};
use crate::telemetry::told::Ended;
use crate::time::clock;

/// Passes bytes both ways until either side has had enough; answers what ended it.
pub(super) async fn pass(conn: &SharedConn, alarm: &Alarm, record: &Record, mut body: Body) -> Ended {
    conn.become_tunnel();
    let timeout = body.tunnel_timeout();
    alarm.set(clock::now() + timeout);
    let mut encoder = Encoder::UntilClose;
    let mut ended = false;
    poll_fn(|cx| {
        if body.poll_closing(cx).is_ready() {
            return Poll::Ready(Ended::SessionOver);
        }
        loop {
            let mut moved = body.drive(cx);
            let has_room = conn.with(|conn| conn.wire.has_room());
            if !ended && has_room {
                match body.poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        moved = true;
                        record.sent(&frame);
                        let _ = conn.with(|conn| encoder.encode(frame, &mut conn.wire));
                    }
                    Poll::Ready(Some(Err(BrokeOff(ended)))) => return Poll::Ready(ended),
                    Poll::Ready(None) => ended = true,
                    Poll::Pending => {}
                }
            }
            let flushed = conn.with(|conn| if ended { conn.wire.poll_shutdown(cx) } else { conn.wire.poll_flush(cx) });
            match flushed {
                Poll::Ready(Err(_)) => return Poll::Ready(Ended::ClientGone),
                // The member has ended its side, and been told that the client has, too.
                Poll::Ready(Ok(())) if ended && body.is_request_done() => return Poll::Ready(Ended::Whole),
                // The client took what it had no room for: the member may go on.
                Poll::Ready(Ok(())) if !has_room => moved = true,
                _ => {}
            }
            if moved {
                alarm.set(clock::now() + timeout);
                continue;
            }
            return alarm.poll(cx).map(|()| Ended::TunnelSilent);
        }
    })
    .await
}
