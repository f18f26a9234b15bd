//! Binds a client to the member that it met first, or to a release, by a cookie that the proxy makes and signs.
//!
//! The cookie says the member's id, and the pool and the key stand behind it: a client can neither choose a member nor
//! carry a cookie from one pool to another. It outlives switches, restarts and takes no memory here.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::HeaderValue;
use ring::hmac;

use super::forwarded::Scheme;
use super::pool::Pool;
use crate::spec::pool::StickySpec;

/// Bytes of the signature that are kept: half, as RFC 2104, 5 allows.
const SIGNATURE_BYTES: usize = 16;

/// Before a vip's name: no pool has a name that begins so.
const SESSION: &[u8] = b"\0session\0";

/// Signs cookies. The same after every start, and on every host that has a copy of the state folder's key.
pub struct StickyKey(hmac::Key);

impl StickyKey {
    /// A key of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The member that a cookie's value names, if this proxy wrote it for this pool.
    pub fn read(&self, value: &[u8], pool: &Pool) -> Option<u64> {
        self.verified(value, |_| true, &[pool.name.as_bytes()])
    }

    /// Whether a cookie's value, written by this proxy for this vip, names this release.
    pub fn read_session(&self, value: &[u8], vip: &str, release: u64) -> bool {
        self.verified(value, |id| id == release, &[SESSION, vip.as_bytes()]).is_some()
    }

    /// The field that binds a client to a member.
    pub fn set_cookie(&self, member: u64, pool: &Pool, spec: &StickySpec, scheme: Scheme) -> HeaderValue {
        self.cookie(&spec.cookie, member, &[pool.name.as_bytes()], scheme, spec.max_age)
    }

    /// The field that has a client's session end with this release. Browsers keep it until they are closed.
    pub fn session_cookie(&self, name: &str, vip: &str, release: u64, scheme: Scheme) -> HeaderValue {
        self.cookie(name, release, &[SESSION, vip.as_bytes()], scheme, None)
    }

    /// The number that a value has, if it is wanted and was signed here for this purpose.
    fn verified(&self, value: &[u8], is_wanted: impl FnOnce(u64) -> bool, purpose: &[&[u8]]) -> Option<u64> {
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (id, signature) = bytes.split_first_chunk::<8>()?;
        let number = u64::from_be_bytes(*id);
        let is_good = || subtle::ConstantTimeEq::ct_eq(signature, &self.sign(*id, purpose)[..]).into();
        (is_wanted(number) && is_good()).then_some(number)
    }

    fn cookie(
        &self,
        name: &str,
        number: u64,
        purpose: &[&[u8]],
        scheme: Scheme,
        max_age: Option<Duration>,
    ) -> HeaderValue {
        let id = number.to_be_bytes();
        let value = URL_SAFE_NO_PAD.encode([&id[..], &self.sign(id, purpose)].concat());
        let mut text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax");
        if scheme == Scheme::Https {
            text += "; Secure";
        }
        if let Some(age) = max_age {
            text += &format!("; Max-Age={}", age.as_secs());
        }
        HeaderValue::try_from(text).expect("the name of a cookie is a token, and base64 is text")
    }

    fn sign(&self, id: [u8; 8], purpose: &[&[u8]]) -> [u8; SIGNATURE_BYTES] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&id);
        purpose.iter().for_each(|part| context.update(part));
        let tag = context.sign();
        *tag.as_ref().first_chunk().expect("SHA-256 has twice as many bytes")
    }
}
