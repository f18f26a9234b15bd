//! Members that are not written down but found: in DNS, or in a file that something else keeps.
//!
//! One task for each source, apart from the request line, for as long as somebody listens. It tells a new list only when
//! it differs from the last; and what was found once stays when a source falls silent or says that there is nothing: a
//! wrong answer must not take a pool away. What is done with a list, and whether its members are well, is for others.

pub mod dns;
pub mod file;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::address::Address;
use crate::causes::with_causes;

/// Members of one source at most.
pub const MEMBERS_MAX: usize = 10_000;

/// A member, as a source tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it listens.
    pub address: Address,
    /// Its weight beside the others of the same list, if the source has a say in that.
    pub weight: Option<u32>,
    /// Where it stands, if the source says so.
    pub zone: Option<String>,
}

impl From<Address> for Found {
    fn from(address: Address) -> Self {
        Self { address, weight: None, zone: None }
    }
}

/// What a source was last good for, by address; `None` until then.
pub type List = Option<Arc<[Found]>>;

/// How looking at a source goes.
#[derive(Debug, Default)]
pub struct Looks {
    answered: AtomicU64,
    unanswered: AtomicU64,
    changes: AtomicU64,
}

impl Looks {
    /// Looks that found members.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Looks after which something had to be kept that was found before.
    pub fn unanswered(&self) -> u64 {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// Lists that differed from the one before, the first among them.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }
}

/// The telling end of a source: what its task found, and what it could not.
pub struct Finding {
    source: Arc<str>,
    list: watch::Sender<List>,
    looks: Arc<Looks>,
    /// Looks since the last one that went well.
    failures: u32,
}

/// A list that is longer than what we keep.
#[derive(Debug, thiserror::Error)]
#[error("expected {MEMBERS_MAX} members at most, got {0}")]
struct TooMany(usize);

impl Finding {
    /// A source of which nothing is known yet, named as in the configuration, and where to hear of it.
    pub fn new(source: &str) -> (Self, watch::Receiver<List>) {
        let (list, receiver) = watch::channel(None);
        (Self { source: source.into(), list, looks: Arc::default(), failures: 0 }, receiver)
    }

    /// How looking at it goes.
    pub fn looks(&self) -> Arc<Looks> {
        self.looks.clone()
    }

    /// There are these members, in any order, and that is all there are.
    fn tell(&mut self, members: Vec<Found>) {
        self.tell_or_keep(members, None::<&TooMany>);
    }

    /// Something could not be found out: what is known stays.
    fn keep(&mut self, reason: &impl Error) {
        self.tell_or_keep(Vec::new(), Some(reason));
    }

    /// There are these members, some of them perhaps only from before. With a failure, to have none is to know nothing.
    fn tell_or_keep(&mut self, members: Vec<Found>, failure: Option<&impl Error>) {
        let members = once_each(members);
        if members.len() > MEMBERS_MAX {
            return self.failed(&TooMany(members.len()));
        }
        match failure {
            Some(failure) => self.failed(failure),
            None => self.succeeded(),
        }
        if failure.is_none() || !members.is_empty() {
            self.publish(&members);
        }
    }

    fn succeeded(&mut self) {
        self.looks.answered.fetch_add(1, Ordering::Relaxed);
        if std::mem::take(&mut self.failures) > 0 {
            tracing::info!(source = %self.source, "members are found again");
        }
    }

    /// Said once, until a look goes well.
    fn failed(&mut self, reason: &dyn Error) {
        self.looks.unanswered.fetch_add(1, Ordering::Relaxed);
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 {
            let kept = self.list.borrow().as_ref().map_or(0, |members| members.len());
            tracing::warn!(source = %self.source, reason = with_causes(reason), kept, "members are not found, the last ones stay");
        }
    }

    fn publish(&mut self, members: &Arc<[Found]>) {
        let is_new = self.list.send_if_modified(|list| {
            let is_new = list.as_ref() != Some(members);
            *list = Some(members.clone());
            is_new
        });
        if is_new {
            self.looks.changes.fetch_add(1, Ordering::Relaxed);
            tracing::info!(source = %self.source, members = members.len(), "members found");
        }
    }

    /// Until nobody listens any more.
    async fn unheard(&self) {
        self.list.closed().await;
    }
}

/// By address. Who is there twice has the sum of the weights.
fn once_each(members: Vec<Found>) -> Arc<[Found]> {
    let mut by_address = BTreeMap::<Address, Found>::new();
    for member in members {
        let known = by_address.entry(member.address.clone()).and_modify(|known| {
            let weights = known.weight.zip(member.weight);
            known.weight = weights.map(|(one, other)| one.saturating_add(other));
        });
        known.or_insert(member);
    }
    by_address.into_values().collect()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::Mutex;

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    fn found(text: &str, weight: Option<u32>) -> Found {
        Found { weight, ..Found::from(text.parse::<Address>().unwrap()) }
    }

    #[tokio::test]
    async fn a_list_is_told_when_it_differs_whatever_its_order() {
        let (mut finding, mut list) = Finding::new("x");
        let (one, two) = (found("10.0.0.1:80", None), found("10.0.0.2:80", None));
        assert_eq!(*list.borrow(), None);
        finding.tell(vec![two.clone(), one.clone()]);
        assert_eq!(list.borrow_and_update().as_deref(), Some(&[one.clone(), two.clone()][..]));
        finding.tell(vec![one.clone(), two]);
        assert!(!list.has_changed().unwrap());
        finding.tell(vec![one.clone()]);
        assert_eq!(list.borrow_and_update().as_deref(), Some(&[one][..]));
        let looks = finding.looks();
        assert_eq!((looks.answered(), looks.unanswered(), looks.changes()), (3, 0, 2));
    }

    #[test]
    fn who_is_there_twice_is_told_once() {
        let (mut finding, list) = Finding::new("x");
        let (two, three, other) =
            (found("10.0.0.1:80", Some(2)), found("10.0.0.1:80", Some(3)), found("10.0.0.1:81", Some(1)));
        finding.tell(vec![two, three, other.clone()]);
        let expected = [found("10.0.0.1:80", Some(5)), other];
        assert_eq!(list.borrow().as_deref(), Some(&expected[..]));
    }

    #[test]
    fn a_list_beyond_all_bounds_changes_nothing() {
        let (mut finding, list) = Finding::new("x");
        finding.tell(vec![found("10.0.0.1:80", None)]);
        let address = |member: u32| Address::from(SocketAddr::from((Ipv4Addr::from(member), 80)));
        finding.tell((0..=10_000).map(address).map(Found::from).collect());
        assert_eq!(list.borrow().as_ref().unwrap().len(), 1);
        assert_eq!(finding.looks().unanswered(), 1);
    }

    #[test]
    fn a_silent_source_is_told_of_once_until_it_speaks_again() {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, || {
            let (mut finding, list) = Finding::new("app:80");
            finding.tell(vec![found("10.0.0.1:80", None)]);
            for _ in 0..2 {
                (0..3).for_each(|_| finding.keep(&io::Error::other("no answer")));
                finding.tell(vec![found("10.0.0.1:80", None)]);
            }
            assert_eq!(finding.looks().unanswered(), 6);
            assert_eq!(list.borrow().as_ref().unwrap().len(), 1);
        });
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let said = |text| log.lines().filter(|line| line.contains(text)).count();
        assert_eq!(
            said("members are not found, the last ones stay source=app:80 reason=\"no answer\" kept=1"),
            2,
            "{log}"
        );
        assert_eq!(said("members are found again"), 2, "{log}");
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Log {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }
}
