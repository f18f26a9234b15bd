//! The grammar of message heads, to the letter (RFC 9112, 3 to 5), and what a message that we sent must not have.
//!
//! Everything that recipients are allowed to forgive is a fault here.

/// What was read, or what is wrong with it.
pub(super) type Checked<T> = Result<T, String>;

/// Header or trailer fields in order; names in lower case.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(pub(super) Vec<(String, Vec<u8>)>);

/// A start line and its fields.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// Method, target and version, or version, status and reason.
    pub(super) start: [String; 3],
    pub(super) fields: Fields,
}

impl Fields {
    /// All values of a field as one list (RFC 9110, 5.3).
    pub(super) fn joined(&self, name: &str) -> Option<Vec<u8>> {
        let values: Vec<_> = self.all(name).collect();
        (!values.is_empty()).then(|| values.join(&b", "[..]))
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| &**value)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// What `Connection` lists.
    pub(super) fn options(&self) -> Vec<String> {
        let list = String::from_utf8_lossy(&self.joined("connection").unwrap_or_default()).to_ascii_lowercase();
        list.split(',').map(|option| option.trim().to_owned()).filter(|option| !option.is_empty()).collect()
    }

    /// Reads field lines (RFC 9112, 5).
    pub(super) fn read(lines: &[&[u8]]) -> Checked<Self> {
        lines.iter().map(|line| field(line)).collect::<Checked<_>>().map(Self)
    }

    /// The one value of a field that must not be repeated.
    pub(super) fn only(&self, name: &str) -> Checked<Option<&[u8]>> {
        let mut values = self.0.iter().filter(|(other, _)| other == name).map(|(_, value)| &**value);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(format!("`{name}` is repeated")),
        }
    }
}

fn field(line: &[u8]) -> Checked<(String, Vec<u8>)> {
    let colon =
        line.iter().position(|byte| *byte == b':').ok_or_else(|| fault("a field line without a colon", line))?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if !is_token(name) {
        return Err(fault("a field name that is no token", line));
    }
    if !value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..)) {
        return Err(fault("a field value with a control character", line));
    }
    Ok((String::from_utf8_lossy(name).to_ascii_lowercase(), value.trim_ascii().to_vec()))
}

/// A token (RFC 9110, 5.6.2).
pub(super) fn is_token(bytes: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_tchar)
}

/// The next line, which ends in CRLF, and how long it is with its end.
pub(super) fn line(bytes: &[u8]) -> Checked<Option<(&[u8], usize)>> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let line = bytes[..end].strip_suffix(b"\r").ok_or_else(|| fault("a bare LF", &bytes[..end]))?;
    if line.contains(&b'\r') {
        return Err(fault("a bare CR", line));
    }
    Ok(Some((line, end + 1)))
}

/// Lines, and how long they are with the empty one that ends them.
pub(super) type Lines<'a> = (Vec<&'a [u8]>, usize);

/// Lines up to an empty one.
pub(super) fn lines(bytes: &[u8]) -> Checked<Option<Lines<'_>>> {
    let (mut lines, mut at) = (Vec::new(), 0);
    while let Some((line, used)) = line(&bytes[at..])? {
        at += used;
        if line.is_empty() {
            return Ok(Some((lines, at)));
        }
        lines.push(line);
    }
    Ok(None)
}

/// A request's head (RFC 9112, 3) in the form that members are promised, once all of it is there.
pub(super) fn request_head(bytes: &[u8]) -> Checked<Option<(Head, usize)>> {
    let Some((lines, used)) = lines(bytes)? else { return Ok(None) };
    let (first, rest) = lines.split_first().ok_or("an empty line before the request line")?;
    let parts: Vec<_> = first.split(|byte| *byte == b' ').collect();
    let &[method, target, version] = &*parts else { return Err(fault("no request line", first)) };
    let is_target = target.starts_with(b"/") || (target == b"*" && method == b"OPTIONS");
    if !is_token(method) || !is_target || version != b"HTTP/1.1" {
        return Err(fault("no request line in origin form", first));
    }
    if !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
        return Err(fault("a target with a byte that none may have", first));
    }
    let head = Head { start: [text(method), text(target), text(version)], fields: Fields::read(rest)? };
    request_fields(&head.fields)?;
    Ok(Some((head, used)))
}

fn request_fields(fields: &Fields) -> Checked<()> {
    let host = fields.only("host")?.ok_or("no Host")?;
    if !host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%:[]".contains(byte)) {
        return Err(fault("a Host that is no authority", host));
    }
    connection_fields(fields, &["close", "keep-alive", "te", "upgrade"])?;
    let options = fields.options();
    for name in ["te", "upgrade"] {
        if fields.has(name) != options.iter().any(|option| option == name) {
            return Err(format!("`{name}` and `Connection` do not go together"));
        }
    }
    if fields.only("te")?.is_some_and(|te| te != b"trailers") {
        return Err("a TE that is not ours".into());
    }
    if fields.only("upgrade")?.is_some_and(|to| to.to_ascii_lowercase().starts_with(b"h2"))
        || fields.has("http2-settings")
    {
        return Err("an upgrade to HTTP/2".into());
    }
    // RFC 9110, 7.6.3: an intermediary must say that it was there.
    if fields.has("via") { Ok(()) } else { Err("no Via".into()) }
}

/// An answer's head (RFC 9112, 4) in the form that clients are promised, once all of it is there.
pub(super) fn answer_head(bytes: &[u8]) -> Checked<Option<(Head, usize)>> {
    let Some((lines, used)) = lines(bytes)? else { return Ok(None) };
    let (first, rest) = lines.split_first().ok_or("an empty line before the status line")?;
    let parts: Vec<_> = first.splitn(3, |byte| *byte == b' ').collect();
    let &[version, status, reason] = &*parts else { return Err(fault("no status line", first)) };
    let is_status = status.len() == 3 && status.iter().all(u8::is_ascii_digit) && status[0] != b'0';
    let is_reason = reason.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..));
    if !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") || !is_status || !is_reason {
        return Err(fault("no status line", first));
    }
    let head = Head { start: [text(version), text(status), text(reason)], fields: Fields::read(rest)? };
    connection_fields(&head.fields, &["close", "keep-alive", "upgrade"])?;
    // RFC 9110, 6.6.1: whoever has a clock adds the date; errors and interim answers may go without.
    let date = head.fields.only("date")?;
    let is_date = |date: &[u8]| date.len() == 29 && date.ends_with(b" GMT");
    if !date.map_or(matches!(status[0], b'1' | b'5'), is_date) {
        return Err(fault("no Date, or none of the one format", date.unwrap_or_default()));
    }
    Ok(Some((head, used)))
}

/// What belongs to one connection, and may only be our own (RFC 9110, 7.6.1).
fn connection_fields(fields: &Fields, ours: &[&str]) -> Checked<()> {
    if let Some(option) = fields.options().iter().find(|option| !ours.contains(&&***option)) {
        return Err(format!("`Connection` names `{option}`"));
    }
    match ["keep-alive", "proxy-connection"].iter().find(|name| fields.has(name)) {
        Some(name) => Err(format!("`{name}` was passed on")),
        None => Ok(()),
    }
}

pub(super) fn fault(what: &str, bytes: &[u8]) -> String {
    format!("{what}: {}", shown(bytes))
}

/// Bytes for people, not too many.
pub(super) fn shown(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 400;
    let more = if bytes.len() > SHOWN_MAX { "..." } else { "" };
    format!("\"{}{more}\"", bytes[..bytes.len().min(SHOWN_MAX)].escape_ascii())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
