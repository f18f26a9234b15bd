//! A DNS server on loopback, which says what the test tells it to.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// A server of names. Its records are not to be believed for any time.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Zone {
    records: HashMap<(String, RecordType), Vec<RData>>,
    code: Option<ResponseCode>,
    is_silent: bool,
    asked: usize,
}

impl NameServer {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, zone) = (socket.local_addr().unwrap(), Arc::<Mutex<Zone>>::default());
        let own = zone.clone();
        let task = tokio::spawn(async move {
            let mut question = [0; 2048];
            loop {
                let (len, from) = socket.recv_from(&mut question).await.unwrap();
                let answer = own.lock().unwrap().answer(&question[..len]);
                if let Some(answer) = answer {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        Self { address, zone, task }
    }

    /// The keys of a configuration that asks this server.
    pub(crate) fn keys(&self) -> String {
        format!("[dns]\nservers = [\"{}\"]\ntimeout = \"200ms\"\nttl_max = \"20ms\"\n", self.address)
    }

    /// A name has these addresses from now on.
    pub(crate) fn addresses(&self, name: &str, addresses: &[&str]) {
        let (v6, v4): (Vec<IpAddr>, _) =
            addresses.iter().map(|ip| ip.parse::<IpAddr>().unwrap()).partition(IpAddr::is_ipv6);
        self.say(name, RecordType::A, v4.into_iter().map(RData::from).collect());
        self.say(name, RecordType::AAAA, v6.into_iter().map(RData::from).collect());
    }

    /// A service has these places from now on: weight, port, host.
    pub(crate) fn places(&self, name: &str, places: &[(u16, u16, &str)]) {
        let place =
            |&(weight, port, host): &_| RData::SRV(SRV::new(1, weight, port, Name::from_ascii::<&str>(host).unwrap()));
        self.say(name, RecordType::SRV, places.iter().map(place).collect());
    }

    fn say(&self, name: &str, kind: RecordType, records: Vec<RData>) {
        self.zone().records.insert((name.into(), kind), records);
    }

    /// Answers every question with SERVFAIL, or as it should.
    pub(crate) fn is_ill(&self, is_ill: bool) {
        self.zone().code = is_ill.then_some(ResponseCode::ServFail);
    }

    /// Answers nothing.
    pub(crate) fn is_silent(&self, is_silent: bool) {
        self.zone().is_silent = is_silent;
    }

    /// Questions that came.
    pub(crate) fn asked(&self) -> usize {
        self.zone().asked
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().unwrap()
    }
}

impl Zone {
    fn answer(&mut self, question: &[u8]) -> Option<Vec<u8>> {
        self.asked += 1;
        if self.is_silent {
            return None;
        }
        let question = Message::from_vec(question).unwrap();
        let query = question.queries[0].clone();
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        let name = query.name().to_ascii().to_ascii_lowercase();
        for record in self.records.get(&(name.clone(), query.query_type())).into_iter().flatten() {
            answer.add_answer(Record::from_rdata(query.name().clone(), 0, record.clone()));
        }
        let is_known = self.records.keys().any(|(known, _)| *known == name);
        let code = if is_known { ResponseCode::NoError } else { ResponseCode::NXDomain };
        answer.metadata.response_code = self.code.unwrap_or(code);
        Some(answer.to_vec().unwrap())
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
