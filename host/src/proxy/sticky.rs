//! Binds a client to the member that it met first, by a cookie that the proxy makes and signs.
//!
//! The cookie says the member's id, and the pool and the key stand behind it: a client can neither choose a member nor
//! carry a cookie from one pool to another. It outlives switches, restarts and takes no memory here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::HeaderValue;
use ring::hmac;

use super::forwarded::Scheme;
use super::pool::Pool;
use crate::spec::pool::StickySpec;

/// Bytes of the signature that are kept: half, as RFC 2104, 5 allows.
const SIGNATURE_BYTES: usize = 16;

/// Signs cookies. The same after every start, and on every host that has a copy of the state folder's key.
pub struct StickyKey(hmac::Key);

impl StickyKey {
    /// A key of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The member that a cookie's value names, if this proxy wrote it for this pool.
    pub fn read(&self, value: &[u8], pool: &Pool) -> Option<u64> {
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (id, signature) = bytes.split_first_chunk::<8>()?;
        let good = subtle::ConstantTimeEq::ct_eq(signature, &self.sign(*id, pool)[..]);
        bool::from(good).then(|| u64::from_be_bytes(*id))
    }

    /// The field that binds a client to a member.
    pub fn set_cookie(&self, member: u64, pool: &Pool, spec: &StickySpec, scheme: Scheme) -> HeaderValue {
        let id = member.to_be_bytes();
        let value = URL_SAFE_NO_PAD.encode([&id[..], &self.sign(id, pool)].concat());
        let mut text = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax", spec.cookie);
        if scheme == Scheme::Https {
            text += "; Secure";
        }
        if let Some(age) = spec.max_age {
            text += &format!("; Max-Age={}", age.as_secs());
        }
        HeaderValue::try_from(text).expect("the name of a cookie is a token, and base64 is text")
    }

    fn sign(&self, id: [u8; 8], pool: &Pool) -> [u8; SIGNATURE_BYTES] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&id);
        context.update(pool.name.as_bytes());
        let tag = context.sign();
        *tag.as_ref().first_chunk().expect("SHA-256 has twice as many bytes")
    }
}
