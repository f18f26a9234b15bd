//! Asks DNS servers: those of `/etc/resolv.conf`, or those of the configuration.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::ProtoError;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;

use super::answer::{Answer, Ask, Kind, NoAnswer, Record};

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Servers {
    /// As every other program here: `/etc/hosts`, then what `/etc/resolv.conf` says, its search list and time-outs.
    System,
    /// These, for whole names.
    These {
        /// Each is asked over UDP, and over TCP where an answer is too long.
        servers: Vec<SocketAddr>,
        /// How long one try may take; there are two more.
        timeout: Duration,
    },
}

/// What the system's way of asking is read from.
const SYSTEM_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// Asks for one source. Nothing is remembered between two questions: when they are asked again is for the asker to say.
pub struct Resolver {
    servers: Servers,
    // A lock of the finding tasks alone, held for as long as it takes to read two small files.
    current: Mutex<Option<(Stamp, Arc<Asker>)>>,
}

/// When the system's files were last written.
type Stamp = [Option<SystemTime>; SYSTEM_FILES.len()];

struct Asker {
    resolver: TokioResolver,
    /// Added to names that are not whole.
    search: Vec<Name>,
    /// Dots from which on a name is tried as it is before others.
    dots: usize,
}

impl Resolver {
    /// Asks these servers.
    pub fn new(servers: Servers) -> Self {
        Self { servers, current: Mutex::default() }
    }

    /// The asker, made anew where the system's files have changed: machines move between networks.
    fn asker(&self) -> Result<Arc<Asker>, NoAnswer> {
        let stamp = match self.servers {
            Servers::System => SYSTEM_FILES.map(|file| fs::metadata(file).and_then(|file| file.modified()).ok()),
            Servers::These { .. } => Stamp::default(),
        };
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, asker)) = &*current
            && *of == stamp
        {
            return Ok(asker.clone());
        }
        let asker = Arc::new(Asker::new(&self.servers).map_err(|error| NoAnswer::NoServer(error.into()))?);
        *current = Some((stamp, asker.clone()));
        Ok(asker)
    }
}

impl Ask for Resolver {
    async fn ask(&self, name: &str, kind: Kind) -> Result<Answer, NoAnswer> {
        let asker = self.asker()?;
        let names = asker.candidates(name).map_err(|error| silent(name, error.into()))?;
        for candidate in names {
            match asker.ask(candidate, kind).await {
                // Only a name that does not exist is sought elsewhere: one that has no such record, or whose server is
                // ill, is still the one that was meant.
                Err(NoAnswer::Unknown(_)) => {}
                answer => return answer,
            }
        }
        Err(NoAnswer::Unknown(name.to_owned()))
    }
}

impl Asker {
    fn new(servers: &Servers) -> Result<Self, NetError> {
        let (mut config, mut options) = match servers {
            Servers::System => read_system_conf()?,
            Servers::These { servers, timeout } => {
                let mut options = ResolverOpts::default();
                options.timeout = *timeout;
                (ResolverConfig::from_name_servers(servers.iter().map(server).collect()), options)
            }
        };
        options.cache_size = 0;
        let (search, dots) = (std::mem::take(&mut config.search), options.ndots);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        Ok(Self { resolver: builder.with_options(options).build()?, search, dots })
    }

    /// The whole names that are meant by one, best first, as resolv.conf(5) has it.
    fn candidates(&self, name: &str) -> Result<Vec<Name>, ProtoError> {
        let mut whole = Name::from_ascii(name)?;
        if whole.is_fqdn() {
            return Ok(vec![whole]);
        }
        let has_dots = name.matches('.').count() >= self.dots;
        // What is too long with its addition cannot exist.
        let longer = self.search.iter().filter_map(|domain| whole.clone().append_domain(domain).ok());
        let mut names: Vec<_> = longer.collect();
        whole.set_fqdn(true);
        names.insert(if has_dots { 0 } else { names.len() }, whole);
        Ok(names)
    }

    async fn ask(&self, name: Name, kind: Kind) -> Result<Answer, NoAnswer> {
        let text = name.to_ascii();
        let record_type = match kind {
            Kind::A => RecordType::A,
            Kind::Aaaa => RecordType::AAAA,
            Kind::Srv => RecordType::SRV,
        };
        let answer = self.resolver.lookup(name, record_type).await.map_err(|error| no_answer(&text, error))?;
        // Aliases on the way have a time to live as well.
        let ttl = answer.answers().iter().map(|record| record.ttl).min().unwrap_or(0);
        let records: Vec<_> = answer.answers().iter().filter_map(|answer| record(&answer.data, kind)).collect();
        match records.is_empty() {
            true => Err(NoAnswer::Empty(text)),
            false => Ok(Answer { records, ttl: Duration::from_secs(ttl.into()) }),
        }
    }
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(at_port).into();
    NameServerConfig::new(address.ip(), true, connections)
}

fn record(data: &RData, kind: Kind) -> Option<Record> {
    // Nobody listens at these; filters answer with them for names that they hide.
    let is_somewhere = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast();
    let address = |ip: IpAddr| Some(ip).filter(is_somewhere).map(Record::Address);
    match (data, kind) {
        (RData::A(ip), Kind::A) => address(ip.0.into()),
        (RData::AAAA(ip), Kind::Aaaa) => address(ip.0.into()),
        (RData::SRV(place), Kind::Srv) => Some(Record::Place {
            priority: place.priority,
            weight: place.weight,
            port: place.port,
            host: place.target.to_ascii().to_ascii_lowercase(),
        }),
        _ => None,
    }
}

fn no_answer(name: &str, error: NetError) -> NoAnswer {
    let refused = |code: ResponseCode| NoAnswer::Refused { name: name.to_owned(), code: code.to_string() };
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => NoAnswer::Unknown(name.to_owned()),
            ResponseCode::NoError => NoAnswer::Empty(name.to_owned()),
            code => refused(code),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => refused(code),
        other => silent(name, other.into()),
    }
}

fn silent(name: &str, source: Box<dyn std::error::Error + Send + Sync>) -> NoAnswer {
    NoAnswer::Silent { name: name.to_owned(), source }
}

#[cfg(test)]
mod tests;
