//! Which release decides a request, where there may be more than one.
//!
//! A smoke test names the release that it is for, in a field that is believed of some only. Else a session stays with the
//! release that it began with, where the vip wants that, and for its time. Else the canary decides for its share of the
//! keys, and the current release for the rest, and for all requests that have no key.

use std::sync::Arc;

use hyper::header::HeaderValue;
use ipnet::IpNet;
use tokio::time::Instant;

use super::error::Error;
use super::exchange::Client;
use super::fields::name::X_SWITCHBACK_RELEASE;
use super::head::Head;
use super::message::Response;
use super::response::Body;
use super::session::Held;
use super::vip::Vip;
use super::worker::Worker;
use crate::release::Release;
use crate::serving::{Beside, Serving};
use crate::spec::listener::is_in;

/// The release that decides beside or instead of the current one, or the current one.
pub fn decider<'a>(
    worker: &Worker,
    serving: &'a Serving,
    beside: &'a Beside,
    client: &Client,
    head: &Head,
) -> &'a Arc<Release> {
    if let Some(release) = bound(worker, serving, beside, client, head) {
        return release;
    }
    let Some(canary) = &beside.canary else { return &serving.release };
    // Where only the canary listens, there is nobody else to ask.
    let is_there = |release: &Release| release.listeners.contains_key(&client.listener.id);
    if canary.takes(head) || !is_there(&serving.release) && is_there(&canary.release) {
        &canary.release
    } else {
        &serving.release
    }
}

/// The release that a client's session is with, as its cookie says: one that was left not too long ago, or the current one,
/// which a canary takes no sessions from.
fn bound<'a>(
    worker: &Worker,
    serving: &'a Serving,
    beside: &'a Beside,
    client: &Client,
    head: &Head,
) -> Option<&'a Arc<Release>> {
    let session = |release: &'a Release| {
        let vip = release.router.find(&client.listener.id, head.authority(), head.path())?;
        let session = vip.session.as_ref()?;
        Some((session, session.spec.mode.drains_for()?))
    };
    let key = &worker.ground.sticky_key;
    let current = session(&serving.release).map(|(session, _)| session);
    if beside.canary.is_some() && current.is_some_and(|session| session.names(key, head, serving.release.number)) {
        return Some(&serving.release);
    }
    let left = beside.left.iter().find(|left| {
        session(&left.release).is_some_and(|(session, limit)| {
            // What the current release has alike is as well off there, and gets a cookie that lasts.
            let is_current = current.is_some_and(|current| Arc::ptr_eq(current, session));
            !is_current && left.at + limit > Instant::now() && session.names(key, head, left.release.number)
        })
    });
    left.map(|left| &left.release)
}

/// What the requests of a vip have to wait for.
pub fn held<'a>(beside: &'a Beside, vip: &Vip) -> Option<&'a Arc<Held>> {
    let counts = |held: &&Arc<Held>| held.vip == vip.name && !held.waits_for(vip.session.as_ref()) && !held.is_over();
    beside.held.iter().find(counts)
}

/// The field that has a client's session end with the release that decided, where the vip wants that and it is not so yet.
pub fn binding(worker: &Worker, vip: &Vip, release: u64, head: &Head) -> Option<HeaderValue> {
    let session = vip.session.as_ref()?;
    session.spec.mode.drains_for()?;
    let key = &worker.ground.sticky_key;
    (!session.names(key, head, release)).then(|| session.set_cookie(key, release, head.origin_scheme()))
}

/// The release that a request asks for, where its client may. The field goes no further, whoever wrote it.
pub fn asked(worker: &Worker, head: &mut Head) -> Option<HeaderValue> {
    let asked = head.fields().get(X_SWITCHBACK_RELEASE)?.to_value();
    head.fields_mut().remove(X_SWITCHBACK_RELEASE);
    may_force(&worker.ground.release_header_from, head).then_some(asked)
}

/// The release that was asked for.
///
/// # Errors
/// When there is no such release here that is ready.
pub fn named(worker: &Worker, serving: &Serving, asked: &HeaderValue) -> Result<Arc<Release>, Error> {
    let number = number(asked).ok_or_else(|| no_such_release(asked))?;
    let serves = serving.releases().find(|release| release.number == number).cloned();
    serves.or_else(|| worker.current.ready(number)).ok_or_else(|| no_such_release(asked))
}

/// Says in an answer which release decided.
pub fn say_release(response: &mut Response<Body>, release: u64) {
    let value = HeaderValue::try_from(format!("r{release}")).expect("a letter and a number are a field value");
    response.fields.insert(X_SWITCHBACK_RELEASE, value);
}

/// Whether a client is one of those that may choose: by its address, as the listener believes it. Behind a proxy that is
/// trusted, that is whom it speaks for, and not the proxy.
fn may_force(from: &[IpNet], head: &Head) -> bool {
    head.client().is_some_and(|client| is_in(from, client))
}

fn number(asked: &HeaderValue) -> Option<u64> {
    let text = asked.to_str().ok()?.trim();
    text.strip_prefix('r').unwrap_or(text).parse().ok()
}

fn no_such_release(asked: &HeaderValue) -> Error {
    let text = String::from_utf8_lossy(asked.as_bytes());
    Error::NoSuchRelease(crate::policy::text::printable(&text).into_owned())
}
