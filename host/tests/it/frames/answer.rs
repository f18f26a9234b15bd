//! One stream's answer as the client has it so far, held against the rules for messages.

use std::fmt;

/// What came on a stream.
#[derive(Debug, Default, Clone)]
pub(crate) struct Answered {
    /// Interim statuses.
    pub(crate) hints: Vec<u16>,
    pub(crate) status: Option<u16>,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    pub(crate) ended: bool,
    pub(crate) reset: Option<u32>,
    /// The client reset the stream: what still comes was on its way.
    pub(crate) cancelled: bool,
}

impl Answered {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(there, _)| there == name).map(|(_, value)| value.as_str())
    }

    /// Whether nothing more can come on the stream.
    pub(crate) fn is_over(&self) -> bool {
        self.ended || self.reset.is_some()
    }

    pub(crate) fn take_data(&mut self, content: &[u8], end: bool) -> Result<(), &'static str> {
        if self.status.is_none() && !self.cancelled {
            return Err("8.1: DATA before a status");
        }
        self.may_follow()?;
        self.body.extend(content);
        self.ended = end;
        let length = self.field("content-length").and_then(|length| length.parse().ok());
        // An answer to HEAD has a length and no content.
        if end && !self.body.is_empty() && length.is_some_and(|length: usize| length != self.body.len()) {
            return Err("8.1.1: the answer ends before or after its content-length");
        }
        Ok(())
    }

    pub(crate) fn take_fields(&mut self, fields: &[(Vec<u8>, Vec<u8>)], end: bool) -> Result<(), String> {
        self.may_follow()?;
        let mut fields: Vec<_> = fields.iter().map(|(name, value)| (text(name), text(value))).collect();
        if self.status.is_some() {
            self.ended = end;
            check(&fields)?;
            self.trailers = fields;
            return if end { Ok(()) } else { Err("8.1: trailers do not end the stream".into()) };
        }
        let status = match fields.first() {
            Some((name, value)) if name == ":status" && value.len() == 3 => value.parse::<u16>().ok(),
            _ => None,
        };
        let status = status.ok_or("8.3.2: the answer does not begin with a status")?;
        fields.remove(0);
        check(&fields)?;
        if status < 200 {
            self.hints.push(status);
            return if end || status == 101 { Err(format!("8.1: {status} ends or switches")) } else { Ok(()) };
        }
        self.status = Some(status);
        self.fields = fields;
        self.ended = end;
        Ok(())
    }

    fn may_follow(&self) -> Result<(), &'static str> {
        if self.ended { Err("5.1: a frame after END_STREAM") } else { Ok(()) }?;
        if self.reset.is_some() { Err("5.1: a frame after RST_STREAM") } else { Ok(()) }
    }
}

/// Fields of HTTP/1.1's connections that an answer in HTTP/2 must not have (RFC 9113, 8.2.2).
const OF_THE_CONNECTION: [&str; 5] = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

fn check(fields: &[(String, String)]) -> Result<(), String> {
    for (name, value) in fields {
        if name.is_empty() || name.contains(|of: char| of.is_ascii_uppercase() || of <= ' ' || of == ':') {
            return Err(format!("8.2.1: the field name `{name}`"));
        }
        if OF_THE_CONNECTION.contains(&name.as_str()) {
            return Err(format!("8.2.2: the field `{name}`"));
        }
        if value.contains(['\r', '\n', '\0']) || value.trim_matches([' ', '\t']) != value {
            return Err(format!("8.2.1: the value of `{name}`: {value:?}"));
        }
    }
    Ok(())
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{status}, {} octets", self.body.len())?,
            None => f.write_str("no status")?,
        }
        f.write_str(if self.ended { ", ended" } else { "" })?;
        self.reset.map_or(Ok(()), |code| write!(f, ", RST_STREAM {code:#x}"))
    }
}
