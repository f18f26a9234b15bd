//! Which trace a request belongs to: the fields `traceparent` and `tracestate` (W3C Trace Context, levels 1 and 2).

use hyper::header::HeaderValue;

use super::fields::name::{TRACEPARENT, TRACESTATE};
use super::fields::{Fields, Value};
use crate::hex;

/// Whoever made the request records it.
pub const SAMPLED: u8 = 1;
/// The trace's id is random enough to sample by (level 2).
pub const RANDOM: u8 = 2;

/// Members of a list of states that must be passed on; more are not looked at by anybody.
const STATES_MAX: usize = 32;

/// What `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: u128,
    /// The span that made the request.
    pub span: u64,
    /// [`SAMPLED`] and [`RANDOM`]; what else may be in it is not ours to pass on.
    pub flags: u8,
}

impl TraceContext {
    /// What a request's fields say, where they say it as they should.
    pub fn of(fields: &Fields) -> Option<Self> {
        let mut values = fields.get_all(TRACEPARENT);
        let (value, None) = (values.next()?, values.next()) else { return None };
        Self::parse(value.as_bytes())
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(55)?;
        // `00-` trace `-` span `-` flags; later versions may say more after another dash.
        if [known[2], known[35], known[52]] != *b"---" {
            return None;
        }
        let version = number(&known[..2])?;
        if version == 0xff || version == 0 && !rest.is_empty() || rest.first().is_some_and(|byte| *byte != b'-') {
            return None;
        }
        let (trace, span) = (number(&known[3..35])?, number(&known[36..52])?);
        let flags = u8::try_from(number(&known[53..])?).ok()? & (SAMPLED | RANDOM);
        (trace != 0 && span != 0).then_some(Self { trace, span: u64::try_from(span).ok()?, flags })
    }

    /// Whether its span is recorded.
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The field's value.
    pub fn to_value(self) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        hex::write(&mut text[3..35], &self.trace.to_be_bytes());
        hex::write(&mut text[36..52], &self.span.to_be_bytes());
        hex::write(&mut text[53..], &[self.flags]);
        HeaderValue::from_bytes(&text).expect("hex digits and dashes are a field value")
    }
}

/// Lower-case digits only (W3C Trace Context, 3.2.2).
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// Whether a request's `tracestate` can be passed on; one that cannot be read must not be.
pub fn has_good_state(fields: &Fields) -> bool {
    let lists = fields.get_all(TRACESTATE).map(Value::as_bytes);
    let members = lists.flat_map(|list| list.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let mut keys: Vec<&[u8]> = Vec::new();
    for member in members.filter(|member| !member.is_empty()) {
        let Some((key, value)) = split_once(member, b'=') else { return false };
        if keys.len() == STATES_MAX || keys.contains(&key) || !is_key(key) || !is_state(value) {
            return false;
        }
        keys.push(key);
    }
    true
}

fn is_key(key: &[u8]) -> bool {
    let is_name = |name: &[u8], digits_first: bool, max: usize| {
        let is_first = |byte: u8| byte.is_ascii_lowercase() || digits_first && byte.is_ascii_digit();
        let is_rest = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/".contains(byte);
        name.len() <= max && name.first().is_some_and(|byte| is_first(*byte)) && name.iter().all(is_rest)
    };
    match split_once(key, b'@') {
        Some((tenant, system)) => is_name(tenant, true, 241) && is_name(system, false, 14),
        // Level 2 lets a key begin with a digit.
        None => is_name(key, true, 256),
    }
}

/// 1 to 256 printable characters but `,` and `=`, not ending in a space.
fn is_state(value: &[u8]) -> bool {
    let is_good = |byte: &u8| matches!(byte, b' '..=b'~') && !b",=".contains(byte);
    (1..=256).contains(&value.len()) && value.iter().all(is_good) && value.last() != Some(&b' ')
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == at)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(values: &[&str]) -> Option<TraceContext> {
        let fields = values.iter().map(|value| (TRACEPARENT, HeaderValue::from_str(value).unwrap()));
        TraceContext::of(&fields.fold(Fields::default(), |mut fields, (name, value)| {
            fields.append(name, value);
            fields
        }))
    }

    #[test]
    fn what_is_valid_is_read_and_written_the_same() {
        let context = read(&[GOOD]).unwrap();
        let expected = (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7, SAMPLED);
        assert_eq!((context.trace, context.span, context.flags), expected);
        assert_eq!(context.to_value(), GOOD);
        let flags = |flags: &str| read(&[&GOOD.replace("-01", flags)]).unwrap().flags;
        assert_eq!([flags("-00"), flags("-02"), flags("-03"), flags("-ff")], [0, RANDOM, 3, 3]);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = GOOD.replacen("00", "cc", 1);
        assert_eq!(read(&[&later]), read(&[GOOD]));
        assert_eq!(read(&[&format!("{later}-what-the-future-says")]), read(&[GOOD]));
        assert_eq!(read(&[&format!("{later}.what")]), None);
    }

    #[test]
    fn what_is_invalid_is_no_context() {
        let check = |value: &str| assert_eq!(read(&[value]), None, "{value}");
        check("");
        check("00");
        check(&GOOD.replacen("00", "ff", 1));
        check(&GOOD.replacen("00", "0", 1));
        check(&GOOD.replacen("00", "0g", 1));
        check(&format!("{GOOD}-"));
        check(&format!("{GOOD}-00"));
        check(&GOOD.to_uppercase());
        check(&GOOD.replace('-', "_"));
        check(&GOOD[..54]);
        check(&GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)));
        check(&GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)));
        check(&GOOD.replace("00f067aa0ba902b7", "00f067aa0ba902b+"));
        check(&GOOD.replace("-01", "-0x"));
        assert_eq!((read(&[]), read(&[GOOD, GOOD])), (None, None));
    }

    #[test]
    fn states_that_cannot_be_read_are_not_passed_on() {
        let check = |value: &str, expected: bool| {
            let fields = Fields::from_iter([(TRACESTATE, HeaderValue::from_str(value).unwrap())]);
            assert_eq!(has_good_state(&fields), expected, "{value}");
        };
        let list = |length: usize| (0..length).map(|at| format!("k{at}=v")).collect::<Vec<_>>().join(",");
        check("", true);
        check("rojo=00f067aa0ba902b7, congo=t61rcWkgMzE", true);
        check("rojo=1,,congo=2", true);
        check("fw529a3039@dt=FfAA;x,0abc=1,a*b_c-d/e=!", true);
        check("k=a b", true);
        check(&list(32), true);
        check(&list(33), false);
        check("rojo", false);
        check("rojo=", false);
        check("=1", false);
        check("Rojo=1", false);
        check("rojo=1,rojo=2", false);
        check("rojo=1=2", false);
        check("t@=1", false);
        check("t@1x=1", false);
        check(&format!("{}=1", "k".repeat(257)), false);
        check(&format!("k={}", "v".repeat(257)), false);
        let fields = Fields::from_iter([(TRACESTATE, HeaderValue::from_bytes(b"k=\xff").unwrap())]);
        assert!(!has_good_state(&fields));
    }
}
