//! The request as a component asks about it: in brief, and in full where the answer is not short.

use std::cell::OnceCell;

use super::bindings::switchback::policy::brief::{self, Attribute, Found};
use super::bindings::switchback::policy::types;
use super::expected::Told;
use crate::Value;

/// The request that is being decided.
#[derive(Default)]
pub(crate) struct Request {
    told: Told,
    /// Fetched when it is first needed.
    whole: OnceCell<types::Request>,
}

impl Request {
    /// A request of which this was told with the call.
    pub(super) fn told(told: [Found; 2]) -> Self {
        Self { told: Told::begin(told), whole: OnceCell::new() }
    }

    pub(crate) fn method(&self) -> String {
        self.text(Attribute::Method, types::Request::method)
    }

    pub(crate) fn scheme(&self) -> String {
        self.text(Attribute::Scheme, types::Request::scheme)
    }

    pub(crate) fn authority(&self) -> String {
        self.text(Attribute::Authority, types::Request::authority)
    }

    pub(crate) fn path(&self) -> String {
        self.text(Attribute::Path, types::Request::path)
    }

    pub(crate) fn query(&self) -> Option<String> {
        match self.told.look_up(Attribute::Query, "") {
            Found::None => None,
            Found::Short(short) => Some(text(short.into())),
            Found::Long => self.whole().query(),
        }
    }

    pub(crate) fn query_parameter(&self, name: &str) -> Option<String> {
        match self.told.look_up(Attribute::QueryParameter, name) {
            Found::None => None,
            Found::Short(short) => Some(text(short.into())),
            Found::Long => self.whole().query_parameter(name),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<Value> {
        match self.told.look_up(Attribute::Header, name) {
            Found::None => None,
            Found::Short(short) => Some(short.into()),
            Found::Long => self.whole().header(name).map(Value::from),
        }
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<Value> {
        match self.told.look_up(Attribute::Cookie, name) {
            Found::None => None,
            Found::Short(short) => Some(short.into()),
            Found::Long => self.whole().cookie(name).map(Value::from),
        }
    }

    pub(crate) fn client_address(&self) -> String {
        self.text(Attribute::ClientAddress, types::Request::client_address)
    }

    pub(crate) fn version(&self) -> String {
        self.text(Attribute::Version, types::Request::version)
    }

    pub(crate) fn vip(&self) -> String {
        self.text(Attribute::Vip, types::Request::vip)
    }

    pub(crate) fn header_values(&self, name: &str) -> Vec<Vec<u8>> {
        self.whole().header_values(name)
    }

    pub(crate) fn header_names(&self) -> Vec<String> {
        self.whole().header_names()
    }

    pub(crate) fn headers(&self) -> Vec<types::Field> {
        self.whole().headers()
    }

    pub(crate) fn client_certificate(&self) -> Option<types::Certificate> {
        self.whole().client_certificate()
    }

    fn whole(&self) -> &types::Request {
        self.whole.get_or_init(brief::whole_request)
    }

    fn text(&self, attribute: Attribute, whole: fn(&types::Request) -> String) -> String {
        match self.told.look_up(attribute, "") {
            Found::Short(short) => text(short.into()),
            Found::None | Found::Long => whole(self.whole()),
        }
    }
}

fn text(value: Value) -> String {
    String::from_utf8(value.into()).expect("the contract says it is text")
}

impl From<brief::Short> for Value {
    fn from(brief::Short { length, words }: brief::Short) -> Self {
        let (a, b, c, d, e) = words;
        Self::short(length, [a, b, c, d, e])
    }
}
