//! Advances the epoch, by which a policy that overruns is cut: often while a call lasts, and hardly ever otherwise.
//!
//! To wake a thread costs ten microseconds and more on a virtual machine, and takes the core from a worker. A call takes
//! half of one. So the ticker looks now and then whether somebody is in a call, ticks while somebody is, and sleeps while
//! nobody calls at all. The first half of a deadline is there for it to find out; the second is measured
//! ([`super::limits::Meter`]).

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;
use wasmtime::EngineWeak;

/// One tick of the epoch: the resolution of a policy's deadline.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// The longest time between two looks.
const LOOK_MAX: Duration = Duration::from_millis(10);

/// How long nobody calls before the ticker sleeps: to be woken costs whoever calls then.
const REST_AFTER: Duration = Duration::from_secs(1);

/// How long it sleeps before it sees whether its engine is still there.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// All threads' calls, for all engines: a process has one, but for tests.
static CALLS: Calls = Calls::new();

thread_local! {
    static OWN: Arc<Thread> = CALLS.enter();
}

/// A call into a guest, until it is dropped.
pub(super) struct Call {
    is_outermost: bool,
}

impl Call {
    /// Begins one on this thread.
    pub(super) fn begin() -> Self {
        Self { is_outermost: OWN.with(|own| CALLS.begin(own)) }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.is_outermost {
            OWN.with(|own| own.end());
        }
    }
}

/// Has the ticker look so often that a call with this deadline is seen within half of it.
pub(super) fn look_within(deadline: Duration) {
    CALLS.look_nanos.fetch_min(nanos((deadline / 2).max(TICK)), Ordering::Relaxed);
}

/// How many ticks there are for sure in the first half of a deadline, from when the call began.
pub(super) fn ticks_in_first(half: Duration) -> u64 {
    let look = Duration::from_nanos(CALLS.look_nanos.load(Ordering::Relaxed));
    // The first of them comes within a look, and all others in their time.
    (ticks_in(half) + 1).saturating_sub(ticks_in(look)).max(1)
}

/// Whole ticks within `time`: rounded down, so that a guest is cut within its deadline and not after.
pub(super) fn ticks_in(time: Duration) -> u64 {
    nanos(time) / nanos(TICK)
}

/// Ticks until the engine is gone.
pub(super) fn run(engine: &EngineWeak) {
    let (mut seen, mut called) = (0, Instant::now());
    while let Some(engine) = engine.upgrade() {
        engine.increment_epoch();
        drop(engine);
        let now = CALLS.now();
        if now.steps != seen {
            (seen, called) = (now.steps, Instant::now());
        }
        if now.is_in_call {
            thread::sleep(TICK);
        } else if called.elapsed() < REST_AFTER {
            thread::sleep(Duration::from_nanos(CALLS.look_nanos.load(Ordering::Relaxed)));
        } else {
            CALLS.wait(now.steps);
        }
    }
}

/// The calls of one thread: an odd number while it is in one.
#[derive(Default)]
struct Thread(AtomicU64);

impl Thread {
    fn is_in_call(&self) -> bool {
        self.0.load(Ordering::SeqCst) % 2 == 1
    }

    /// Begins a call. Only its own thread does.
    fn begin(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::SeqCst);
    }

    /// Ends it. Nobody has to know at once.
    fn end(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Release);
    }
}

struct Calls {
    threads: Mutex<Vec<Weak<Thread>>>,
    look_nanos: AtomicU64,
    /// How many tickers sleep until there is a call.
    sleepers: AtomicUsize,
    began: Condvar,
}

/// What is known of all calls at a moment.
struct Now {
    /// Another number after each call.
    steps: u64,
    is_in_call: bool,
}

impl Calls {
    const fn new() -> Self {
        Self {
            threads: Mutex::new(Vec::new()),
            look_nanos: AtomicU64::new(LOOK_MAX.as_nanos() as u64),
            sleepers: AtomicUsize::new(0),
            began: Condvar::new(),
        }
    }

    fn enter(&self) -> Arc<Thread> {
        let thread = Arc::<Thread>::default();
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&thread));
        thread
    }

    /// Answers whether the thread was in none.
    fn begin(&self, thread: &Thread) -> bool {
        if thread.is_in_call() {
            return false;
        }
        // One of both sees the other: either the call is seen before the sleep, or the sleeper is seen here.
        thread.begin();
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(self.threads.lock().unwrap_or_else(PoisonError::into_inner));
            self.began.notify_all();
        }
        true
    }

    fn now(&self) -> Now {
        Self::of(&mut self.threads.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn of(threads: &mut Vec<Weak<Thread>>) -> Now {
        let mut now = Now { steps: 0, is_in_call: false };
        threads.retain(|thread| {
            let Some(thread) = thread.upgrade() else { return false };
            now.steps += thread.0.load(Ordering::SeqCst);
            now.is_in_call |= thread.is_in_call();
            true
        });
        now
    }

    /// Sleeps until a call begins, unless one has since there were so many steps; not for long.
    fn wait(&self, steps: u64) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        if Self::of(&mut threads).steps == steps {
            drop(self.began.wait_timeout(threads, SLEEP_MAX).unwrap_or_else(PoisonError::into_inner));
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_seen_while_it_lasts() {
        let calls = Calls::new();
        let (one, other) = (calls.enter(), calls.enter());
        let before = calls.now();
        assert!(!before.is_in_call);
        assert!(calls.begin(&one));
        // One within another ends with it.
        assert!(!calls.begin(&one));
        assert!(calls.now().is_in_call);
        calls.begin(&other);
        one.end();
        assert!(calls.now().is_in_call);
        other.end();
        let after = calls.now();
        assert!(!after.is_in_call && after.steps != before.steps);
        drop((one, other));
        calls.now();
        assert!(calls.threads.lock().unwrap().is_empty());
    }

    #[test]
    fn who_sleeps_is_woken_by_a_call_and_does_not_sleep_through_one() {
        let calls = Calls::new();
        let caller = calls.enter();
        for _ in 0..100 {
            let steps = calls.now().steps;
            let began = Instant::now();
            thread::scope(|scope| {
                scope.spawn(|| calls.wait(steps));
                calls.begin(&caller);
                caller.end();
            });
            assert!(began.elapsed() < SLEEP_MAX, "it was not woken");
        }
    }
}
