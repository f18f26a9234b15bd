//! What a certificate says of whom it is for. Rustls tells whether a certificate is good, and no more.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustls::pki_types::CertificateDer;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::asn1::{Any, ObjectIdentifier};
use x509_cert::der::{Class, Decode, Tagged};

/// The extension `subjectAltName` (RFC 5280, 4.2.1.6).
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

/// The names in a certificate. What does not parse is as if it were not there: rustls takes certificates that are not
/// quite DER.
#[derive(Default)]
pub(super) struct Names {
    /// The subject, as RFC 4514 writes it.
    pub(super) subject: String,
    pub(super) alternative: Vec<AlternativeName>,
}

/// A name of `subjectAltName`, of the kinds that have a text. No text could be that of two kinds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AlternativeName {
    /// Lower-case; may begin with `*.`.
    Dns(String),
    Email(String),
    Uri(String),
    Ip(IpAddr),
}

/// Reads the names of a certificate.
pub(super) fn of(certificate: &CertificateDer<'_>) -> Names {
    let Ok(certificate) = CertificateInner::<Raw>::from_der(certificate) else { return Names::default() };
    let certificate = certificate.tbs_certificate();
    let mut subject = String::new();
    // `to_string` would panic on a value that cannot be written.
    if write!(subject, "{}", certificate.subject()).is_err() {
        subject.clear();
    }
    let extensions = certificate.extensions().into_iter().flatten();
    let names = extensions.filter(|extension| extension.extn_id == SUBJECT_ALT_NAME);
    // One by one, and not as what the RFC says they are: a name of a rare kind does not hide the others.
    let names = names.filter_map(|extension| Vec::<Any>::from_der(extension.extn_value.as_bytes()).ok());
    Names { subject, alternative: names.flatten().filter_map(|name| AlternativeName::new(&name)).collect() }
}

impl Names {
    /// The DNS names.
    pub(super) fn dns(self) -> Vec<String> {
        let dns = |name| match name {
            AlternativeName::Dns(name) => Some(name),
            _ => None,
        };
        self.alternative.into_iter().filter_map(dns).collect()
    }
}

impl AlternativeName {
    fn new(name: &Any) -> Option<Self> {
        let tag = name.tag();
        if tag.class() != Class::ContextSpecific {
            return None;
        }
        // A text with a NUL or a line's end in it deceives who reads it.
        let text = std::str::from_utf8(name.value()).ok();
        let text = || text.filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
        // Whoever signs for an e-mail address may not look at what it says: each kind keeps to its form, so that none can
        // be taken for another, or for a subject (`CN=alice`).
        match tag.number().value() {
            1 => text()
                .filter(|text| text.contains('@') && !text.contains([':', '=']))
                .map(|text| Self::Email(text.into())),
            2 => text().filter(|text| is_dns(text)).map(|text| Self::Dns(text.to_ascii_lowercase())),
            6 => text().filter(|text| is_uri(text)).map(|text| Self::Uri(text.into())),
            7 => match *name.value() {
                [a, b, c, d] => Some(Self::Ip(Ipv4Addr::new(a, b, c, d).into())),
                ref bytes => <[u8; 16]>::try_from(bytes).ok().map(|bytes| Self::Ip(Ipv6Addr::from(bytes).into())),
            },
            _ => None,
        }
    }

    /// As a policy reads it.
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Dns(name) | Self::Email(name) | Self::Uri(name) => name,
            Self::Ip(address) => address.to_string(),
        }
    }
}

/// RFC 1123, 2.1, and `_`, which is in use; before it may be a `*.`.
fn is_dns(text: &str) -> bool {
    let is_of_a_label = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_of_a_label);
    text.parse::<Ipv4Addr>().is_err() && text.strip_prefix("*.").unwrap_or(text).split('.').all(is_label)
}

/// RFC 3986, 3.1.
fn is_uri(text: &str) -> bool {
    let is_of_a_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(is_of_a_scheme);
    is_scheme && text.parse::<Ipv6Addr>().is_err()
}
