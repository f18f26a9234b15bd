use hyper::{Method, StatusCode};
use tokio::time::Instant;

use super::*;
use crate::telemetry::told::{Came, Ended, Trace};

/// One exchange with something to say in every field.
fn told() -> Told {
    let began = Instant::now();
    let at = |micros| began + Duration::from_micros(micros);
    Told {
        began,
        began_unix_nanos: 971_186_136_123_456_789,
        ended_at: at(1_234),
        id: "7b".into(),
        peer: "192.0.2.7:5".parse().ok(),
        client: "203.0.113.9".parse().ok(),
        listener: "web".into(),
        scheme: "http",
        method: Some(Method::GET),
        target: Text::of(b"/a?b=c"),
        host: Text::of(b"shop.example"),
        version: Some(Version::HTTP_11),
        user_agent: Text::of(b"test/1"),
        referer: Text::of(b"https://a.example/"),
        vip: Some("shop".into()),
        release: 7,
        policy: Some("canary".into()),
        decision: Some((at(10), Duration::from_nanos(1_500))),
        reason: Text::of(b"one in ten"),
        pool: Some("blue".into()),
        tries: vec![
            a_try("127.0.0.1:1", Came::Unreached, None, None),
            a_try("127.0.0.1:2", Came::Answered, Some(Duration::from_micros(90)), Some(Duration::from_micros(800))),
        ],
        status: Some(StatusCode::OK),
        received_bytes: 3,
        sent_bytes: 2326,
        ended: Ended::Whole,
        error: None,
        trace: Some(Trace { id: 0xabc, parent: None, span: 1, decision: 2, flags: 1 }),
    }
}

fn a_try(member: &str, came: Came, connecting: Option<Duration>, first_byte: Option<Duration>) -> Try {
    let now = Instant::now();
    Try { member: member.parse().unwrap(), began: now, connecting, first_byte, over: now, came, status: None, span: 3 }
}

fn line(format: &str, told: &Told) -> String {
    let mut line = Vec::new();
    format.parse::<Format>().unwrap().write(told, &mut line);
    String::from_utf8(line).unwrap()
}

fn check(format: &str, expected: &str) {
    assert_eq!(line(format, &told()), expected, "{format}");
}

#[test]
fn the_common_forms_are_apaches() {
    let common = "203.0.113.9 - - [10/Oct/2000:13:55:36 +0000] \"GET /a?b=c HTTP/1.1\" 200 2326";
    check("common", common);
    check("combined", &format!("{common} \"https://a.example/\" \"test/1\""));
}

#[test]
fn a_form_of_ones_own_says_what_it_names() {
    check("{client} {method} {path} {status} {duration}", "203.0.113.9 GET /a 200 0.001234");
    check("{{{vip}}} r{release}", "{shop} r7");
    check("{query}|{tries}|{member}", "b=c|127.0.0.1:1=unreached,127.0.0.1:2=answered|127.0.0.1:2");
    check("{decision_time} {connect_time} {first_byte_time}", "0.000001500 0.000090 0.000800");
    check("{error} {time}", "- 2000-10-10T13:55:36.123Z");
}

#[test]
fn a_form_that_cannot_be_is_refused() {
    let check = |text: &str, expected: &str| assert_eq!(text.parse::<Format>().unwrap_err().to_string(), expected);
    let brace = "expected a field's name between `{` and `}`; a brace itself is written twice";
    for text in ["{", "}", "{status", "status}", "{status}}", "{{status}"] {
        check(text, brace);
    }
    let nothing = "expected `json`, `common`, `combined`, or a text with fields such as `{status}` in it, got `jason`";
    check("jason", nothing);
    check("{status}\n{vip}", "expected text on one line, without control characters");
    let unknown = "{no\u{1b}pe}".replace('\u{1b}', "-").parse::<Format>().unwrap_err().to_string();
    assert!(unknown.starts_with("there is no field `no-pe`; there are: time, "), "{unknown}");
}

#[test]
fn json_has_every_field() {
    let json: serde_json::Value = serde_json::from_str(&line("json", &told())).unwrap();
    let named = Field::ALL.iter().filter(|(_, field)| !field.is_for_text());
    assert_eq!(json.as_object().unwrap().len(), named.clone().count());
    for (name, _) in named.filter(|(name, _)| *name != "error") {
        assert!(!json[name].is_null(), "{name}");
    }
    assert_eq!((&json["status"], &json["duration"], &json["release"]), (&200.into(), &0.001_234.into(), &7.into()));
    assert_eq!((&json["ended"], &json["fault"], &json["error"]), (&"whole".into(), &"nobody".into(), &().into()));
    let second = serde_json::json!({
        "member": "127.0.0.1:2", "came": "answered", "status": null, "connect_time": 0.000_09, "first_byte_time": 0.000_8
    });
    assert_eq!((json["tries"].as_array().unwrap().len(), &json["tries"][1]), (2, &second));
}

#[test]
fn what_clients_choose_cannot_leave_its_place() {
    let evil = b"a\" 200 0\r\n{\"x\":\"\\\x1b[2J\x7f\xc2\x9b\xe2\x80\xa8\xff\0";
    for at in 0..evil.len() {
        let text = || Text::of(&evil[at..]);
        let (user_agent, referer, host, target, reason) = (text(), text(), text(), text(), text());
        let told = Told { user_agent, referer, host, target, reason, ..told() };
        for (name, _) in Field::ALL {
            let line = line(&format!("{{{name}}}"), &told);
            assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"'), "{name}: {line}");
        }
        let line = line("json", &told);
        assert!(!line.chars().any(|c| c.is_control() || c == '\u{2028}'), "{line}");
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["user_agent"], String::from_utf8_lossy(&evil[at..]).into_owned());
    }
}

#[test]
fn an_exchange_of_which_little_is_known_is_a_line_all_the_same() {
    let nothing = Told { method: None, version: None, target: Text::default(), status: None, peer: None, ..told() };
    let nothing = Told { client: None, vip: None, tries: Vec::new(), ended: Ended::Malformed, ..nothing };
    assert_eq!(line("common", &nothing), "- - - [10/Oct/2000:13:55:36 +0000] \"- - -\" - 2326");
    let json: serde_json::Value = serde_json::from_str(&line("json", &nothing)).unwrap();
    assert_eq!((&json["vip"], &json["tries"], &json["fault"]), (&().into(), &serde_json::json!([]), &"client".into()));
}
