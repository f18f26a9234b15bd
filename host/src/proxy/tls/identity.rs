//! Who a client has proven to be, by its certificate.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::header::HeaderValue;
use rustls::pki_types::CertificateDer;

use super::names::{self, AlternativeName};
use crate::digest::Digest;

/// What a verified certificate says of the client. What we cannot read of it is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The subject, as RFC 4514 writes it, such as `CN=alice,O=Example`.
    pub subject: String,
    /// The subject's alternative names: DNS names (lower-case), URIs, e-mail addresses and IP addresses. Their forms
    /// tell them apart.
    pub names: Vec<String>,
    /// SHA-256 of the certificate.
    pub fingerprint: Digest,
    /// The certificate.
    pub der: CertificateDer<'static>,
}

impl Identity {
    /// Who showed these certificates, its own first. They must have been verified, as those of rustls'
    /// `peer_certificates` are.
    pub fn of_peer(certificates: Option<&[CertificateDer<'_>]>) -> Option<Self> {
        certificates?.first().map(Self::of)
    }

    /// Whom a certificate is for.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let names = names::of(certificate);
        Self {
            subject: names.subject,
            names: names.alternative.into_iter().map(AlternativeName::into_text).collect(),
            fingerprint: Digest::of(certificate),
            der: certificate.clone().into_owned(),
        }
    }

    /// The value of the field `Client-Cert` (RFC 9440, 2.1): the certificate as a byte sequence.
    pub fn client_cert_field(&self) -> HeaderValue {
        let text = format!(":{}:", BASE64_STANDARD.encode(&self.der));
        HeaderValue::try_from(text).expect("base64 is a field value")
    }
}

#[cfg(test)]
mod tests {
    use super::super::authority::Authority;
    use super::*;
    use rustls::pki_types::pem::PemObject;

    fn issued(name: &str, names: &[&str]) -> CertificateDer<'static> {
        let folder = tempfile::tempdir().unwrap();
        let (cert, _) = Authority::new().issue(folder.path(), name, names);
        CertificateDer::from_pem_file(cert).unwrap()
    }

    #[test]
    fn an_identity_is_what_the_certificate_says() {
        let names = [
            "Alice.Example",
            "*.alice.example",
            "alice@example.com",
            "spiffe://shop/alice",
            "192.0.2.7",
            "2001:db8::7",
        ];
        let certificate = issued("alice, of \"Shop\"\n", &names);
        let identity = Identity::of(&certificate);
        // RFC 4514, 2.4: what would end the value is escaped.
        assert_eq!(identity.subject, "CN=alice\\, of \\\"Shop\\\"\\0a");
        assert_eq!(identity.names[0], "alice.example");
        assert_eq!(identity.names[1..], names[1..]);
        assert_eq!(identity.fingerprint, Digest::of(&certificate));
        assert_eq!(identity.der, certificate);
    }

    #[test]
    fn names_that_look_like_another_kind_are_left_out() {
        let sly =
            ["spiffe://shop/admin@x", "CN=alice@x", "alice@x y", "a b.example", "fe80::1 ", "CN=alice:x", "..", ":"];
        let certificate = issued("sly", &sly);
        assert_eq!(Identity::of(&certificate).names, [""; 0]);
    }

    #[test]
    fn what_is_no_certificate_has_no_names() {
        let whole = issued("alice", &["alice.example"]);
        for end in 0..whole.len() {
            let cut = Identity::of(&CertificateDer::from(&whole[..end]));
            assert_eq!((cut.subject.as_str(), cut.names.len()), ("", 0));
            // One bit wrong: whatever it says then, we live.
            let mut odd = whole.to_vec();
            odd[end] ^= 1 << (end % 8);
            Identity::of(&odd.into());
        }
    }

    #[test]
    fn the_client_cert_field_is_a_byte_sequence() {
        // RFC 9440, 2.1: a Byte Sequence of RFC 8941, 3.3.5.
        let field = Identity::of(&CertificateDer::from(&b"\xff\xfe\x00\x01"[..])).client_cert_field();
        assert_eq!(field, "://4AAQ==:");
    }
}
