use hyper::header::ACCEPT;

use super::name::{CONTENT_LENGTH, COOKIE, HOST, VIA};

use super::*;

fn read(lines: &[&str]) -> Result<Fields, BadField> {
    // As behind a first line of 20 bytes.
    let (mut section, mut ends) = (String::new(), Vec::new());
    for line in lines {
        section.push_str(line);
        section.push_str("\r\n");
        ends.push(20 + section.len());
    }
    Fields::read(section.as_bytes(), 20, &ends)
}

fn sent(fields: &Fields, except: &[Known]) -> String {
    let mut out = BytesMut::new();
    fields.write_to(&mut out, except);
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn fields_go_out_as_they_came_with_names_in_lower_case() {
    let fields = read(&["Host: a", "ACCEPT:*/*", "x-a: \t1 ", "x-b:\t2", "x-c:", "x-a: 3"]).unwrap();
    let all: Vec<_> = fields.iter().map(|(name, value)| (name, value.to_str().unwrap())).collect();
    assert_eq!(all, [("host", "a"), ("accept", "*/*"), ("x-a", "1"), ("x-b", "2"), ("x-c", ""), ("x-a", "3")]);
    assert_eq!(sent(&fields, &[]), "host: a\r\naccept: */*\r\nx-a: 1\r\nx-b: 2\r\nx-c: \r\nx-a: 3\r\n");
}

#[test]
fn what_is_changed_and_left_out_is_so_in_what_goes_out() {
    let mut fields = read(&["Host: a", "x-a: 1", "Content-Length: 5", "x-b: 1", "x-a: 2", "cookie: c"]).unwrap();
    assert_eq!(sent(&fields, &[CONTENT_LENGTH, HOST]), "x-a: 1\r\nx-b: 1\r\nx-a: 2\r\ncookie: c\r\n");
    fields.insert(HeaderName::from_static("x-a"), "new");
    fields.append(VIA, "1.1 b");
    fields.remove(COOKIE);
    fields.insert_with(ACCEPT, |out| out.extend_from_slice(b"any"));
    assert_eq!(sent(&fields, &[CONTENT_LENGTH]), "host: a\r\nx-a: new\r\nx-b: 1\r\nvia: 1.1 b\r\naccept: any\r\n");
    fields.insert(COOKIE, "d");
    assert_eq!(fields.get(COOKIE).unwrap().as_bytes(), b"d");
    assert_eq!((fields.len(), fields.is_empty()), (7, false));
}

#[test]
fn lookups_find_all_and_only_what_is_called_so() {
    let fields = read(&["x-ab: 1", "X-Ab: 2", "x-a: 3", "x-b: 4"]).unwrap();
    let name = |name: &'static str| HeaderName::from_static(name);
    let all = |name: &str| fields.named(name).map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!((all("X-AB"), all("x-a"), all("x-c")), (vec!["1", "2"], vec!["3"], vec![]));
    let backwards = fields.get_all(name("x-ab")).rev().map(Value::as_bytes).collect::<Vec<_>>();
    assert_eq!(backwards, [b"2", b"1"]);
    assert_eq!(fields.get(name("x-ab")).unwrap().as_bytes(), b"1");
    assert!(fields.contains(name("x-b")) && !fields.contains(name("x-ba")) && !fields.contains(HOST));
}

#[test]
fn what_was_removed_is_not_there_and_may_come_again() {
    let mut fields = read(&["a: 1", "b: 1", "a: 2"]).unwrap();
    let name = HeaderName::from_static("a");
    fields.remove(&name);
    assert!(!fields.contains(&name) && fields.get(&name).is_none() && fields.get_all(&name).next().is_none());
    assert!(fields.named("A").next().is_none());
    fields.append(&name, "3");
    assert_eq!(sent(&fields, &[]), "b: 1\r\na: 3\r\n");
}

#[test]
fn lines_that_are_no_fields_are_refused() {
    for line in [" a: b", "\ta: b"] {
        assert_eq!(read(&["x: y", line]).unwrap_err(), BadField::Folded, "{line:?}");
    }
    for line in ["", ":", ": b", "a", "a : b", "a\t: b", "a b: c", "\u{e4}: b", "a: b\0", "a: b\u{7f}", "a: \rb"] {
        assert_eq!(read(&[line]).unwrap_err(), BadField::Malformed, "{line:?}");
    }
    assert!(read(&["a: \u{e4}\t\u{80}b"]).is_ok());
}

#[test]
fn maps_are_the_same_fields() {
    let fields = read(&["a: 1", "b: 2", "a: 3"]).unwrap();
    let map = fields.to_map();
    assert_eq!(map.get_all("a").iter().collect::<Vec<_>>(), ["1", "3"]);
    assert_eq!(Fields::from(&map).to_map(), map);
}

#[test]
fn what_a_proxy_looks_for_has_no_tag_of_what_browsers_send() {
    let sent = "host user-agent accept accept-language accept-encoding cookie cache-control \
                upgrade-insecure-requests referer sec-fetch-dest sec-fetch-mode sec-fetch-site priority pragma";
    let looked_for = "expect via forwarded x-forwarded-for te upgrade transfer-encoding connection keep-alive \
                      proxy-connection http2-settings x-switchback-release content-type content-length x-request-id";
    for name in looked_for.split_whitespace() {
        assert!(!sent.split_whitespace().any(|sent| tag(sent.as_bytes()) == tag(name.as_bytes())), "{name}");
    }
}

#[test]
fn fields_have_nothing_of_those_whose_room_they_got() {
    for lines in [&["a: 1", "cookie: long and longer"][..], &["b: 2"], &[]] {
        let fields = read(lines).unwrap();
        assert_eq!(
            (sent(&fields, &[]).lines().collect::<Vec<_>>(), fields.contains(COOKIE)),
            (lines.to_vec(), lines.len() == 2)
        );
        // Whoever adds to them adds to what is theirs.
        let mut more = fields.clone();
        more.append(VIA, "1.1 b");
        assert_eq!(more.len(), fields.len() + 1);
    }
}
