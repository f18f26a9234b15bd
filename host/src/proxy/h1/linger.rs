//! Lingers with a client that is still sending when its answer is written, so that the answer reaches it.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use super::conn::SharedConn;
use super::wire::Expected;
use crate::proxy::alarm::Alarm;

/// Bytes of a request's content that are read and thrown away, after an answer that did not wait for it, to keep the
/// connection; also what a client may still send after the last answer without having it cut off by a reset.
const BYTES_MAX: usize = 256 * 1024;

/// How long that may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);

/// Reads what is left of a request that was answered without it; answers whether that was all.
pub(super) async fn discard(conn: &SharedConn) -> bool {
    let alarm = Alarm::after(TIMEOUT);
    let mut left = BYTES_MAX;
    poll_fn(|cx| {
        loop {
            match conn.poll_frame(cx) {
                Poll::Ready(None) => return Poll::Ready(true),
                Poll::Ready(Some(Ok(frame))) => {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    left = left.saturating_sub(bytes);
                    if left == 0 {
                        return Poll::Ready(false);
                    }
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
                Poll::Pending => return alarm.poll(cx).map(|()| false),
            }
        }
    })
    .await
}

/// Ends a connection in order: our side first, and then not before the client has seen all of the answer. Closing while
/// bytes of it are unread would reset the connection, and the answer might be lost (RFC 9112, 9.6).
pub(super) async fn close(conn: &SharedConn) {
    let alarm = Alarm::after(TIMEOUT);
    let mut left = BYTES_MAX;
    poll_fn(|cx| {
        conn.with(|conn| {
            let shut = conn.wire.poll_shutdown(cx);
            match shut {
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) if conn.wire.has_ended() => return Poll::Ready(()),
                _ => {}
            }
            loop {
                conn.wire.input.clear();
                match conn.wire.poll_read(cx, Expected::Head) {
                    Poll::Ready(Ok(0) | Err(_)) if shut.is_ready() => return Poll::Ready(()),
                    Poll::Ready(Ok(0) | Err(_)) => return alarm.poll(cx),
                    Poll::Ready(Ok(read)) => {
                        left = left.saturating_sub(read);
                        if left == 0 {
                            return Poll::Ready(());
                        }
                    }
                    Poll::Pending => return alarm.poll(cx),
                }
            }
        })
    })
    .await;
}
