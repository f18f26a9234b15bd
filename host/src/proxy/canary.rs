//! Which release decides a request, where there may be more than one.
//!
//! A smoke test names the release that it is for, in a field that is believed of some only. Else the canary decides for
//! its share of the keys, and the current release for the rest, and for all requests that have no key.

use std::sync::Arc;

use hyper::Response;
use hyper::header::{HeaderName, HeaderValue};
use ipnet::IpNet;

use super::error::Error;
use super::exchange::Client;
use super::head::Head;
use super::response::Body;
use super::worker::Worker;
use crate::release::Release;
use crate::serving::{Beside, Serving};

/// Names the release that is to decide, and in the answer the one that did.
pub const X_SWITCHBACK_RELEASE: HeaderName = HeaderName::from_static("x-switchback-release");

/// The release that decides beside or instead of the current one, or the current one.
pub fn decider<'a>(serving: &'a Serving, beside: &'a Beside, client: &Client, head: &Head) -> &'a Arc<Release> {
    let Some(canary) = &beside.canary else { return &serving.release };
    // Where only the canary listens, there is nobody else to ask.
    let is_there = |release: &Release| release.listeners.contains_key(&client.listener.id);
    if canary.takes(head) || !is_there(&serving.release) && is_there(&canary.release) {
        &canary.release
    } else {
        &serving.release
    }
}

/// The release that a request asks for, where its client may. The field goes no further, whoever wrote it.
///
/// # Errors
/// When there is no such release here that is ready.
pub fn forced(worker: &Worker, serving: &Serving, head: &mut Head) -> Result<Option<Arc<Release>>, Error> {
    let Some(asked) = head.fields_mut().remove(X_SWITCHBACK_RELEASE) else { return Ok(None) };
    if !may_force(&worker.ground.release_header_from, head) {
        return Ok(None);
    }
    let number = number(&asked).ok_or_else(|| no_such_release(&asked))?;
    let serves = serving.releases().find(|release| release.number == number).cloned();
    serves.or_else(|| worker.current.ready(number)).map(Some).ok_or_else(|| no_such_release(&asked))
}

/// Says in an answer which release decided.
pub fn say_release(response: &mut Response<Body>, release: u64) {
    let value = HeaderValue::try_from(format!("r{release}")).expect("a letter and a number are a field value");
    response.headers_mut().insert(X_SWITCHBACK_RELEASE, value);
}

/// Whether a client is one of those that may choose: by its address, as the listener believes it. Behind a proxy that is
/// trusted, that is whom it speaks for, and not the proxy.
fn may_force(from: &[IpNet], head: &Head) -> bool {
    head.client().is_some_and(|client| from.iter().any(|network| network.contains(&client.to_canonical())))
}

fn number(asked: &HeaderValue) -> Option<u64> {
    let text = asked.to_str().ok()?.trim();
    text.strip_prefix('r').unwrap_or(text).parse().ok()
}

fn no_such_release(asked: &HeaderValue) -> Error {
    let text = String::from_utf8_lossy(asked.as_bytes());
    Error::NoSuchRelease(crate::policy::text::printable(&text).into_owned())
}
