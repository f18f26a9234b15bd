//! `[access_log]` and `[tracing]`, checked.

use hyper::Uri;
use hyper::http::uri::PathAndQuery;

use super::{Checker, ConfigError};
use crate::config::raw::{RawAccessLog, RawTracing};
use crate::telemetry::access_log::format::Format;
use crate::telemetry::access_log::{AccessLogSpec, Sink};
use crate::telemetry::traces::{Collector, TracingSpec};

/// The share of exchanges that are traced unless told otherwise: enough to see what is usual.
const SAMPLE: f64 = 0.01;

/// Where collectors take spans, below the address that is configured (OTLP, OTLP/HTTP request).
const SPANS_PATH: &str = "/v1/traces";

/// The port of OTLP over HTTP.
const OTLP_PORT: u16 = 4318;

impl Checker<'_> {
    pub(super) fn access_log(&self, raw: &RawAccessLog) -> Result<AccessLogSpec, ConfigError> {
        let sink = match (&raw.file, &raw.stdout) {
            (Some(file), None) => Sink::File(self.path("file", file)?),
            (None, Some(stdout)) if *stdout.as_ref() => Sink::Stdout,
            (_, Some(stdout)) => {
                return self.wrong("stdout", stdout.span().start, "expected either a `file` or `stdout = true`");
            }
            (None, None) => return self.wrong("", self.table_at(), "expected either a `file` or `stdout = true`"),
        };
        let format = match &raw.format {
            None => Format::Json,
            Some(text) => match text.as_ref().parse() {
                Ok(format) => format,
                Err(error) => return self.wrong("format", text.span().start, format!("{error}")),
            },
        };
        Ok(AccessLogSpec { sink, format })
    }

    pub(super) fn tracing(&self, raw: &RawTracing) -> Result<TracingSpec, ConfigError> {
        let Some(collector) = collector(raw.otlp.as_ref()) else {
            let message = format!("expected an address such as `http://127.0.0.1:4318`, got `{}`", raw.otlp.as_ref());
            return self.wrong("otlp", raw.otlp.span().start, message);
        };
        let sample = match &raw.sample {
            None => SAMPLE,
            Some(sample) if (0.0..=1.0).contains(sample.as_ref()) => *sample.as_ref(),
            Some(sample) => {
                return self.wrong("sample", sample.span().start, format!("expected 0 to 1, got {}", sample.as_ref()));
            }
        };
        Ok(TracingSpec { collector, sample })
    }

    /// Where this table begins.
    fn table_at(&self) -> usize {
        self.text.find(&format!("[{}]", self.key)).unwrap_or_default()
    }
}

fn collector(address: &str) -> Option<Collector> {
    let address: Uri = address.parse().ok().filter(|address: &Uri| address.scheme_str() == Some("http"))?;
    let authority = address.authority().filter(|authority| !authority.as_str().contains('@'))?;
    if address.query().is_some() {
        return None;
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let path = format!("{}{SPANS_PATH}", address.path().trim_end_matches('/'));
    // What follows the host must be a port, if anything.
    let rest = authority.as_str().strip_prefix(authority.host())?;
    let port = if rest.is_empty() { OTLP_PORT } else { authority.port_u16().filter(|port| *port > 0)? };
    let is_good = !host.is_empty() && path.parse::<PathAndQuery>().is_ok();
    is_good.then_some(Collector { host, port, path })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, parse};
    use super::*;

    #[test]
    fn what_is_left_out_has_a_default() {
        let config = parse("[access_log]\nfile = 'access.log'\n[tracing]\notlp = 'http://otel:4318'").unwrap();
        let sink = Sink::File("/etc/access.log".into());
        assert_eq!(config.access_log, Some(AccessLogSpec { sink, format: Format::Json }));
        let collector = Collector { host: "otel".into(), port: 4318, path: "/v1/traces".into() };
        assert_eq!(config.tracing, Some(TracingSpec { collector, sample: 0.01 }));
        let config = parse("[access_log]\nstdout = true\nformat = 'common'").unwrap();
        assert_eq!((config.access_log.unwrap().sink, config.tracing), (Sink::Stdout, None));
    }

    #[test]
    fn what_an_access_log_cannot_be_is_named() {
        check(
            "\n[access_log]\nformat = 'json'",
            "/etc/x.toml:2: access_log: expected either a `file` or `stdout = true`",
        );
        for both in ["stdout = false", "stdout = true\nfile = 'x'"] {
            let expected = "/etc/x.toml:2: access_log.stdout: expected either a `file` or `stdout = true`";
            check(&format!("[access_log]\n{both}"), expected);
        }
        check("[access_log]\nfile = ''", "/etc/x.toml:2: access_log.file: expected a path, got none");
        let error = parse("[access_log]\nfile = 'x'\nformat = '{clent} {status}'").unwrap_err();
        let expected = "/etc/x.toml:3: access_log.format: there is no field `clent`; there are: time, clf_time, ";
        assert!(error.starts_with(expected) && error.ends_with("error, trace_id"), "{error}");
    }

    #[test]
    fn what_tracing_cannot_be_is_named() {
        for address in [
            "",
            "otel:4318",
            "https://otel",
            "http://",
            "http://a b",
            "http://o:0",
            "http://o:x",
            "http://a@o",
            "http://o/?a",
        ] {
            let expected = "/etc/x.toml:2: tracing.otlp: expected an address such as `http://127.0.0.1:4318`, got ";
            check(&format!("[tracing]\notlp = '{address}'"), &format!("{expected}`{address}`"));
        }
        let with = |sample: &str| parse(&format!("[tracing]\notlp = 'http://otel'\nsample = {sample}"));
        assert_eq!(with("1").unwrap().tracing.unwrap().sample, 1.0);
        for sample in ["1.5", "-0.1", "nan"] {
            let expected =
                format!("/etc/x.toml:3: tracing.sample: expected 0 to 1, got {}", sample.replace("nan", "NaN"));
            assert_eq!(with(sample).unwrap_err(), expected);
        }
    }

    #[test]
    fn an_address_may_have_a_path_and_need_not_have_a_port() {
        let at = |address: &str| collector(address).map(|collector| collector.to_string()).unwrap();
        assert_eq!(at("http://otel"), "http://otel:4318/v1/traces");
        assert_eq!(at("http://[::1]:1/otlp/"), "http://[::1]:1/otlp/v1/traces");
    }
}
