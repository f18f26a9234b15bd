use super::*;

/// What a member is told: `X-Forwarded-For`, `-Proto`, `-Host`, and `Forwarded`, of a request for `a:81` in plain text.
fn told(peer: &str, believe: Believe, fields: &[(&'static str, &str)]) -> [String; 4] {
    let listener = listener(believe);
    let peer = Peer::new(peer.parse().ok(), &listener);
    let mut fields = map(fields);
    let origin = believed(&fields, &peer, &listener);
    write(&mut fields, &peer, &origin, Scheme::Http, "a:81");
    [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST, FORWARDED].map(|name| {
        assert_eq!(fields.get_all(&name).count(), 1, "{name:?}");
        fields.get(name).unwrap().to_str().unwrap().to_owned()
    })
}

#[test]
fn what_nobody_trusted_says_is_replaced() {
    let claims = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-for", "6.6.6.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil"),
        ("forwarded", "for=6.6.6.6;proto=https"),
    ];
    for believe in [Believe::XForwarded, Believe::Forwarded] {
        let expected = ["192.0.2.7", "http", "a:81", "for=192.0.2.7;host=\"a:81\";proto=http"];
        assert_eq!(told("::ffff:192.0.2.7", believe, &claims), expected);
        // RFC 7239, 6: an IPv6 address stands in brackets, which are no part of a token.
        let expected = ["2001:db8::7", "http", "a:81", "for=\"[2001:db8::7]\";host=\"a:81\";proto=http"];
        assert_eq!(told("2001:db8::7", believe, &claims), expected);
    }
}

#[test]
fn what_trusted_proxies_say_is_kept_and_the_other_kind_made_from_it() {
    let lists = [
        ("x-forwarded-for", "6.6.6.6, [2001:db8::7]:80"),
        ("x-forwarded-for", "10.0.0.2"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "B"),
        ("forwarded", "for=6.6.6.6, for=\"192.0.2.8:1\";by=_x;proto=https, for=10.0.0.3;k=\"\\\"\""),
    ];
    let expected = [
        "2001:db8::7, 10.0.0.2, 10.0.0.1",
        "https",
        "b",
        "for=\"[2001:db8::7]\";host=b;proto=https, for=10.0.0.2, for=10.0.0.1;host=\"a:81\";proto=http",
    ];
    assert_eq!(told("10.0.0.1", Believe::XForwarded, &lists), expected);
    let expected = [
        "192.0.2.8, 10.0.0.3, 10.0.0.1",
        "https",
        "a:81",
        "for=\"192.0.2.8:1\";by=_x;proto=https, for=10.0.0.3;k=\"\\\"\", for=10.0.0.1;host=\"a:81\";proto=http",
    ];
    assert_eq!(told("10.0.0.1", Believe::Forwarded, &lists), expected);
}

#[test]
fn a_trusted_peer_that_names_nobody_is_the_client() {
    let fields = [("x-forwarded-for", "192.0.2.7, unknown"), ("x-forwarded-proto", "https")];
    let expected = ["10.0.0.1", "https", "a:81", "for=10.0.0.1;host=\"a:81\";proto=https"];
    assert_eq!(told("10.0.0.1", Believe::XForwarded, &fields), expected);
    let expected = ["10.0.0.1", "http", "a:81", "for=10.0.0.1;host=\"a:81\";proto=http"];
    assert_eq!(told("10.0.0.1", Believe::Forwarded, &[("forwarded", "for=\"")]), expected);
}

#[test]
fn the_peer_of_a_unix_socket_is_unknown_unless_others_are_named() {
    for believe in [Believe::XForwarded, Believe::Forwarded] {
        // RFC 7239, 6.2.
        let expected = ["unknown", "http", "a:81", "for=unknown;host=\"a:81\";proto=http"];
        assert_eq!(told("", believe, &[]), expected);
    }
    let expected = ["192.0.2.7", "http", "a:81", "for=192.0.2.7;host=\"a:81\";proto=http"];
    assert_eq!(told("", Believe::XForwarded, &[("x-forwarded-for", "192.0.2.7")]), expected);
    let expected = ["192.0.2.7", "http", "a:81", "for=192.0.2.7;k=v"];
    assert_eq!(told("", Believe::Forwarded, &[("forwarded", "for=192.0.2.7;k=v")]), expected);
}

#[test]
fn a_request_without_an_authority_names_no_host() {
    let listener = listener(Believe::XForwarded);
    let peer = Peer::new("192.0.2.7".parse().ok(), &listener);
    let mut fields = map(&[("x-forwarded-host", "evil")]);
    write(&mut fields, &peer, &Origin::default(), Scheme::Https, "");
    assert_eq!(fields.get(X_FORWARDED_HOST), None);
    assert_eq!(fields.get(FORWARDED).unwrap().as_bytes(), b"for=192.0.2.7;proto=https");
}

#[test]
fn a_certificate_is_taken_from_trusted_proxies_only() {
    // RFC 9440, 4: of others, these fields are to be removed.
    let listener = listener(Believe::XForwarded);
    for (peer, left) in [("192.0.2.7", 0), ("10.0.0.1", 3), ("", 3)] {
        let mut fields = map(&[("client-cert", ":AA==:"), ("client-cert", ":AB==:"), ("client-cert-chain", ":AA==:")]);
        let peer = Peer::new(peer.parse().ok(), &listener);
        write(&mut fields, &peer, &Origin::default(), Scheme::Http, "a");
        let names = [CLIENT_CERT, CLIENT_CERT_CHAIN];
        assert_eq!(names.iter().map(|name| fields.get_all(name).count()).sum::<usize>(), left);
    }
}

#[test]
fn what_we_write_is_read_by_the_next_of_us_as_we_did() {
    for believe in [Believe::XForwarded, Believe::Forwarded] {
        for client in ["192.0.2.7", "2001:db8::7"] {
            let listener = listener(believe);
            let mut fields = Fields::default();
            let authority = "[2001:db8::9]:81";
            // The client, a proxy at 10.0.0.1, one behind a Unix socket, and one more.
            for (peer, scheme) in [(client, Scheme::Https), ("10.0.0.1", Scheme::Http), ("", Scheme::Http)] {
                let peer = Peer::new(peer.parse().ok(), &listener);
                let origin = believed(&fields, &peer, &listener);
                write(&mut fields, &peer, &origin, scheme, authority);
            }
            let origin = believed(&fields, &Peer::new("10.0.0.3".parse().ok(), &listener), &listener);
            assert_eq!(origin.client, client.parse().ok());
            assert_eq!((origin.scheme, origin.host), (Some(Scheme::Https), Some(HeaderValue::from_static(authority))));
        }
    }
}
