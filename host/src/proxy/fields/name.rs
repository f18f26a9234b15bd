//! Names of fields: those that others chose, and those that the proxy itself looks for.

use hyper::header::HeaderName;

/// What a field can be asked for by: a name in lower case.
pub trait Name: sealed::Sealed {
    /// Its bytes.
    fn bytes(&self) -> &[u8];

    /// What most names that differ differ in; below 64.
    fn tag(&self) -> u8 {
        tag(self.bytes())
    }
}

/// A name that was known when the proxy was built, so that most of the search for it is done.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    name: &'static str,
    tag: u8,
}

impl Known {
    /// This name, which is in lower case.
    pub const fn new(name: &'static str) -> Self {
        Self { name, tag: tag(name.as_bytes()) }
    }

    /// As text.
    pub const fn as_str(self) -> &'static str {
        self.name
    }
}

impl Name for Known {
    fn bytes(&self) -> &[u8] {
        self.name.as_bytes()
    }

    fn tag(&self) -> u8 {
        self.tag
    }
}

impl Name for HeaderName {
    fn bytes(&self) -> &[u8] {
        self.as_str().as_bytes()
    }
}

impl<N: Name> Name for &N {
    fn bytes(&self) -> &[u8] {
        (**self).bytes()
    }

    fn tag(&self) -> u8 {
        (**self).tag()
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Known {}
    impl Sealed for hyper::header::HeaderName {}
    impl<N: Sealed> Sealed for &N {}
}

/// Made so that what a proxy looks for, and browsers do not send, has no tag of what they do send.
pub(super) const fn tag(name: &[u8]) -> u8 {
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return 0 };
    let (first, last) = ((*first | 0x20) as usize, (*last | 0x20) as usize);
    ((name.len() * 11 + first * 2 + last * 5) & 63) as u8
}

macro_rules! known {
    ($($(#[doc = $meaning:literal])* $name:ident = $text:literal;)*) => {
        $(
            #[doc = concat!("`", $text, "`")]
            $(
                #[doc = ""]
                #[doc = $meaning]
            )*
            pub const $name: Known = Known::new($text);
        )*
    };
}

known! {
    AUTHORIZATION = "authorization";
    CACHE_CONTROL = "cache-control";
    /// The client's certificate (RFC 9440, 2.2).
    CLIENT_CERT = "client-cert";
    /// Those that it was signed by (RFC 9440, 2.3).
    CLIENT_CERT_CHAIN = "client-cert-chain";
    CONNECTION = "connection";
    CONTENT_ENCODING = "content-encoding";
    CONTENT_LENGTH = "content-length";
    CONTENT_TYPE = "content-type";
    COOKIE = "cookie";
    DATE = "date";
    EXPECT = "expect";
    FORWARDED = "forwarded";
    HOST = "host";
    /// Means something only beside `Upgrade: h2c` (RFC 7540, 3.2.1).
    HTTP2_SETTINGS = "http2-settings";
    KEEP_ALIVE = "keep-alive";
    PROXY_CONNECTION = "proxy-connection";
    RANGE = "range";
    RETRY_AFTER = "retry-after";
    SET_COOKIE = "set-cookie";
    TE = "te";
    /// Which trace the request belongs to (W3C Trace Context).
    TRACEPARENT = "traceparent";
    /// What those who trace have added to that.
    TRACESTATE = "tracestate";
    TRAILER = "trailer";
    TRANSFER_ENCODING = "transfer-encoding";
    UPGRADE = "upgrade";
    VIA = "via";
    X_FORWARDED_FOR = "x-forwarded-for";
    X_FORWARDED_HOST = "x-forwarded-host";
    X_FORWARDED_PROTO = "x-forwarded-proto";
    /// Names the exchange, to the member and in our own answers.
    X_REQUEST_ID = "x-request-id";
    /// Names the release that is to decide, and in the answer the one that did.
    X_SWITCHBACK_RELEASE = "x-switchback-release";
}
