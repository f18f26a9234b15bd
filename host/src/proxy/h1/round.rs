//! The end of a round, where the messages of a worker's connections are written.
//!
//! A round is all that is ready to be done on a worker. A write wakes whoever reads at the other end, and if that sleeps,
//! waking it costs more than the write itself. So a connection whose message is whole leaves it here, and waits for what
//! comes next. When all that were ready have had their turn, the messages are written one after the other, and whoever
//! reads them is woken once for all. What cannot be written at once is its own task's to write: that is woken.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::conn::SharedConn;
use super::wire::Wire;

/// A message that is whole.
pub(super) enum Message {
    /// A client's request, on a connection to a member.
    Request(Rc<RefCell<Wire>>),
    /// An answer, on a client's connection.
    Answer(SharedConn),
}

thread_local! {
    static ROUND: Round = const { Round { due: RefCell::new(Vec::new()), writer: Cell::new(Writer::None) } };
}

/// What is to be written at the end of this round, and by whom.
struct Round {
    due: RefCell<Vec<(Message, Waker)>>,
    writer: Cell<Writer>,
}

/// The task that writes.
enum Writer {
    None,
    /// It is behind all that are ready.
    Woken,
    Waits(Waker),
}

/// Has a message written at the end of the round. `waker` is told where that is not possible.
pub(super) fn leave(message: Message, waker: Waker) {
    ROUND.with(|round| {
        round.due.borrow_mut().push((message, waker));
        match round.writer.replace(Writer::Woken) {
            Writer::None => drop(tokio::task::spawn_local(tokio::task::unconstrained(write()))),
            Writer::Woken => {}
            Writer::Waits(waker) => waker.wake(),
        }
    });
}

/// Writes what is due whenever it is woken, for as long as the worker's runtime is there.
async fn write() {
    struct Ends;
    impl Drop for Ends {
        fn drop(&mut self) {
            // A thread that ends may have let go of its round before.
            let _ = ROUND.try_with(|round| {
                round.writer.set(Writer::None);
                round.due.take()
            });
        }
    }
    let _ends = Ends;
    let mut due = Vec::new();
    poll_fn(|cx| {
        ROUND.with(|round| {
            round.writer.set(Writer::Waits(cx.waker().clone()));
            std::mem::swap(&mut due, &mut *round.due.borrow_mut());
        });
        for (message, waker) in due.drain(..) {
            if !message.write() {
                waker.wake();
            }
        }
        Poll::Pending
    })
    .await
}

impl Message {
    /// Answers whether there is nothing left to be written.
    fn write(self) -> bool {
        match self {
            // Whoever left it has given up: nobody would read the answer.
            Self::Request(wire) if Rc::strong_count(&wire) == 1 => true,
            Self::Request(wire) => wire.borrow_mut().write_left(),
            Self::Answer(conn) => conn.with(super::conn::Conn::write_left),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use bytes::{Bytes, BytesMut};
    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;
    use tokio::runtime::{Builder, LocalOptions};
    use tokio::task::yield_now;

    use super::*;
    use crate::proxy::stream::{Plain, Stream};

    #[derive(Default)]
    struct Told(AtomicBool);

    impl Wake for Told {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// A request of so many bytes that is left, the other end, and who is told of it.
    async fn left(bytes: usize) -> (Rc<RefCell<Wire>>, UnixStream, Arc<Told>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.writable().await.unwrap();
        let mut wire = Wire::new(Stream::Plain(Plain::Unix(ours)), BytesMut::new());
        wire.push(Bytes::from(vec![b'a'; bytes]), b"");
        wire.leave();
        let (wire, told) = (Rc::new(RefCell::new(wire)), Arc::<Told>::default());
        leave(Message::Request(wire.clone()), told.clone().into());
        (wire, theirs, told)
    }

    /// As a worker's task, so that whoever lets others go first comes after them.
    fn run(work: impl Future<Output = ()> + 'static) {
        let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(async { tokio::task::spawn_local(work).await.unwrap() });
    }

    #[test]
    fn messages_are_written_when_all_that_are_ready_had_their_turn() {
        run(async {
            let ((one, _peer, _), (other, _other, _)) = (left(1).await, left(1).await);
            assert!([&one, &other].iter().all(|wire| wire.borrow().is_left() && !wire.borrow().is_flushed()));
            yield_now().await;
            assert!([&one, &other].iter().all(|wire| !wire.borrow().is_left() && wire.borrow().is_flushed()));
        });
    }

    #[test]
    fn what_cannot_be_written_at_once_is_its_own_tasks_to_write() {
        run(async {
            let ((long, _peer, of_long), (_short, _other, of_short)) = (left(10 << 20).await, left(1).await);
            yield_now().await;
            let were_told = [of_long, of_short].map(|told| told.0.load(Ordering::Relaxed));
            assert_eq!((were_told, long.borrow().is_left()), ([true, false], false));
        });
    }

    #[test]
    fn a_request_that_was_given_up_is_not_written() {
        run(async {
            let (wire, mut peer, _) = left(1).await;
            drop(wire);
            assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
        });
    }

    #[test]
    fn a_runtime_that_is_gone_leaves_nothing_to_the_next() {
        for _ in 0..2 {
            run(async {
                let (wire, _peer, _) = left(1).await;
                yield_now().await;
                assert!(wire.borrow().is_flushed());
            });
        }
    }
}
