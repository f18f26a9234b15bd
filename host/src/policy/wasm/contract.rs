//! `wit/policy.wit` on the host's side: what a guest's lookups and calls mean here.
//!
//! The request is not in a resource table: an instance decides one request at a time, so the handle it is lent says
//! nothing but "the one you were asked about".

mod brief;

use std::borrow::Cow;

use wasmtime::component::{HasSelf, Linker, Resource, ResourceTable, bindgen};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::instance::{Inputs, LastWords, LoadTold};
use super::limits::Meter;
use super::log::CallLog;
use super::wasi;
use crate::policy::text;
use crate::proxy::head::Head;
use crate::random::Random;

bindgen!({
    path: "../wit",
    world: "policy",
    with: { "switchback:policy/types.request": crate::proxy::head::Head },
});

use self::brief::Expected;
pub(super) use self::brief::{BriefPolicy, BriefPolicyPre};
pub(in crate::policy) use self::switchback::policy::host::Timeouts;
use self::switchback::policy::types::Certificate;
pub(in crate::policy) use self::switchback::policy::types::{Field, Response, Route};
use self::switchback::policy::{host, types};

/// Answers about pools' loads that are kept of one call.
const LOADS_KEPT_MAX: usize = 64;

/// What the host keeps for one instance.
pub(super) struct Guest {
    pub(super) policy: Box<str>,
    pub(super) meter: Meter,
    /// The request being decided; `None` between calls and while it is configured.
    pub(super) head: Option<Box<Head>>,
    pub(super) inputs: Inputs,
    /// How long members may take, as the guest wants it; `None` where it did not say.
    pub(super) timeouts: Option<Timeouts>,
    /// What the guest said of its answer through `brief`.
    pub(super) told: Told,
    /// What it is told with every call.
    pub(super) expected: Expected,
    random: Random,
    /// How busy pools were when the guest asked. Its room stays from call to call.
    loads_told: Vec<LoadTold>,
    log: CallLog,
    table: ResourceTable,
    /// Made when it is first asked for: most guests have no use for it, and it costs as much as all else here.
    wasi: Option<WasiCtx>,
}

/// An answer that comes by parts, before the call returns.
#[derive(Default)]
pub(super) struct Told {
    pub(super) answer: Option<Decision>,
    pub(super) reason: Option<String>,
    /// Whether the request was handed out.
    whole_request: bool,
}

impl Guest {
    pub(super) fn new(policy: &str, meter: Meter) -> Self {
        Self {
            policy: policy.into(),
            meter,
            head: None,
            inputs: Inputs::default(),
            timeouts: None,
            told: Told::default(),
            expected: Expected::default(),
            random: Random::default(),
            loads_told: Vec::new(),
            table: ResourceTable::new(),
            wasi: None,
            log: CallLog::default(),
        }
    }

    /// Makes everything that one call can depend on what `inputs` say.
    pub(super) fn begin(&mut self, head: Option<Box<Head>>, inputs: Inputs) {
        self.head = head;
        self.random = Random::seeded(inputs.seed);
        self.inputs = inputs;
        self.timeouts = None;
        self.told = Told::default();
        self.loads_told.clear();
        self.log.renew();
    }

    /// What the last call was told and wrote.
    pub(super) fn last_words(&self) -> LastWords {
        LastWords { loads: self.loads_told.clone(), log: self.log.kept() }
    }

    /// The next of the call's random numbers.
    pub(super) fn next_random(&mut self) -> u64 {
        self.random.number()
    }

    /// The request that is being decided.
    pub(super) fn asked(&self) -> &Head {
        self.head.as_ref().expect("a guest holds a request handle only while it decides")
    }
}

/// Makes everything that a policy may import known to `linker`.
pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    Policy::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    brief::link(linker)?;
    wasi::link(linker)
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.get_or_insert_with(|| wasi::nothing(&self.policy, &self.log));
        WasiCtxView { ctx: wasi, table: &mut self.table }
    }
}

impl types::Host for Guest {}

impl types::HostRequest for Guest {
    fn method(&mut self, _: Resource<Head>) -> String {
        self.asked().method().to_owned()
    }

    fn scheme(&mut self, _: Resource<Head>) -> String {
        self.asked().origin_scheme().as_str().to_owned()
    }

    fn authority(&mut self, _: Resource<Head>) -> String {
        self.asked().authority().to_owned()
    }

    fn path(&mut self, _: Resource<Head>) -> String {
        self.asked().path().to_owned()
    }

    fn query(&mut self, _: Resource<Head>) -> Option<String> {
        self.asked().query().map(str::to_owned)
    }

    fn query_parameter(&mut self, _: Resource<Head>, name: String) -> Option<String> {
        self.asked().query_parameter(&name).map(Cow::into_owned)
    }

    fn header(&mut self, _: Resource<Head>, name: String) -> Option<Vec<u8>> {
        self.asked().header(&name).map(<[u8]>::to_vec)
    }

    fn header_values(&mut self, _: Resource<Head>, name: String) -> Vec<Vec<u8>> {
        self.asked().header_values(&name).map(<[u8]>::to_vec).collect()
    }

    fn header_names(&mut self, _: Resource<Head>) -> Vec<String> {
        self.asked().header_names().map(str::to_owned).collect()
    }

    fn headers(&mut self, _: Resource<Head>) -> Vec<Field> {
        self.asked().headers().map(|(name, value)| Field { name: name.to_owned(), value: value.to_vec() }).collect()
    }

    fn cookie(&mut self, _: Resource<Head>, name: String) -> Option<Vec<u8>> {
        self.asked().cookie(&name).map(<[u8]>::to_vec)
    }

    fn client_address(&mut self, _: Resource<Head>) -> String {
        brief::client_address(self.asked()).into_owned()
    }

    fn version(&mut self, _: Resource<Head>) -> String {
        self.asked().version().to_owned()
    }

    fn vip(&mut self, _: Resource<Head>) -> String {
        self.asked().vip().to_owned()
    }

    fn client_certificate(&mut self, _: Resource<Head>) -> Option<Certificate> {
        let identity = self.asked().client_certificate()?;
        Some(Certificate {
            subject: identity.subject.clone(),
            names: identity.names.clone(),
            fingerprint: identity.fingerprint.to_string(),
        })
    }

    fn drop(&mut self, _: Resource<Head>) -> wasmtime::Result<()> {
        // A handle holds nothing, so there is nothing to free.
        Ok(())
    }
}

impl host::Host for Guest {
    fn log(&mut self, level: host::Level, message: String) {
        if !self.log.spend() {
            return;
        }
        let (policy, message) = (&*self.policy, text::printable(&message));
        match level {
            host::Level::Debug => tracing::debug!(target: "policy", policy, "{message}"),
            host::Level::Info => tracing::info!(target: "policy", policy, "{message}"),
            host::Level::Warn => tracing::warn!(target: "policy", policy, "{message}"),
            host::Level::Error => tracing::error!(target: "policy", policy, "{message}"),
        }
        self.log.keep(message.into_owned());
    }

    fn now(&mut self) -> u64 {
        self.inputs.now_nanos
    }

    fn random(&mut self) -> u64 {
        self.next_random()
    }

    fn pool_load(&mut self, pool: u32) -> host::Load {
        let loads = self.inputs.loads.as_ref();
        let (members, in_flight) = loads.map_or((0, 0), |loads| loads.of(pool));
        if self.loads_told.len() < LOADS_KEPT_MAX {
            self.loads_told.push(LoadTold { pool, members, in_flight });
        }
        host::Load { members, in_flight }
    }

    fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.timeouts = Some(timeouts);
    }
}
