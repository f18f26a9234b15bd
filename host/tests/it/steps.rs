//! Back and forward: how far, for whom, and what stops them.

use std::time::Duration;

use serde_json::{Value, json};
use switchback_plugins as plugins;

use crate::support::{BY_GROUP, Host, Member, in_time, until, whole};

/// Vips `shop` and `docs`, pools `a` to `d`, each of one member that answers with its name.
async fn host() -> (Host, Vec<Member>) {
    let mut setup =
        Host::with().vip("shop", "hosts = [\"shop\"]\npool = \"a\"").vip("docs", "hosts = [\"docs\"]\npool = \"a\"");
    let mut members = Vec::new();
    for name in ["a", "b", "c", "d"] {
        members.push(Member::named(name).await);
        setup = setup.pool(name, &[members.last().unwrap()]);
    }
    (setup.start().await, members)
}

/// Who answers for a vip.
async fn answers(host: &Host, vip: &str) -> String {
    let request = hyper::Request::get("/").header("host", vip).body(whole("")).unwrap();
    host.send(request).await.body
}

async fn trail(host: &Host) -> String {
    let (_, history) = host.control("GET", "/v1/history", "").await;
    let at = history["position"].as_u64().unwrap() as usize;
    let step =
        |(position, number): (usize, &Value)| if position == at { format!("[{number}]") } else { number.to_string() };
    history["trail"].as_array().unwrap().iter().enumerate().map(step).collect::<Vec<_>>().join(" ")
}

/// Does what a line says: `shop=b` assigns, everything else is a step such as `back 2 --vip shop`.
async fn run(host: &Host, line: &str) -> (hyper::StatusCode, Value) {
    if let Some((vip, pool)) = line.split_once('=') {
        return host.control("PUT", &format!("/v1/vips/{vip}"), json!({ "pool": pool }).to_string()).await;
    }
    let mut words = line.split(' ');
    let (direction, mut body) = (words.next().unwrap(), json!({}));
    while let Some(word) = words.next() {
        match word.strip_prefix("--") {
            Some(key) => body[key] = json!(words.next().unwrap()),
            None => body["steps"] = json!(word.parse::<u64>().unwrap()),
        }
    }
    host.control("POST", &format!("/v1/{direction}"), body.to_string()).await
}

/// Each line, then the trail and who answers for shop and for docs after it, or the refusal.
async fn check(lines: &[(&str, &str)]) {
    let (host, _members) = host().await;
    for (line, expected) in lines {
        let (status, answer) = run(&host, line).await;
        let after = if status == 200 {
            format!("{}: {} {}", trail(&host).await, answers(&host, "shop").await, answers(&host, "docs").await)
        } else {
            answer["message"].as_str().unwrap().to_owned()
        };
        assert_eq!(after, *expected, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_go_along_the_trail() {
    check(&[
        ("back", "there is no release to go back to"),
        ("forward", "there is no release to go forward to"),
        ("shop=b", "1 [2]: b a"),
        ("docs=b", "1 2 [3]: b b"),
        ("shop=c", "1 2 3 [4]: c b"),
        ("back", "1 2 [3] 4: b b"),
        ("back", "1 [2] 3 4: b a"),
        ("back 2", "expected 1 to 1 steps back, got 2"),
        ("forward 2", "1 2 3 [4]: c b"),
        ("back 3", "[1] 2 3 4: a a"),
        ("forward --to r3", "1 2 [3] 4: b b"),
        ("back --to r4", "r4 does not lie back: there r2, r1"),
        ("back --to 3", "r3 does not lie back: there r2, r1"),
        ("forward 0", "expected 1 to 1 steps forward, got 0"),
        ("back --to r1", "[1] 2 3 4: a a"),
        ("shop=d", "1 [5]: d a"),
        ("back", "[1] 5: a a"),
        ("forward", "1 [5]: d a"),
        ("shop=d", "1 [5]: d a"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_vip_goes_alone() {
    check(&[
        ("shop=b", "1 [2]: b a"),
        ("docs=c", "1 2 [3]: b c"),
        // The drawing in `switch/trail.rs`: between the release that it returned to and those that were gone back from.
        ("back --vip shop", "1 [4] 2 3: a c"),
        ("back --vip shop", "there is no release to go back to for vip `shop`"),
        ("back", "[1] 4 2 3: a a"),
        ("forward 3", "1 4 2 [3]: b c"),
        ("back --vip docs", "1 4 [2] 3: b a"),
        ("forward --vip docs", "1 4 2 [3]: b c"),
        ("back --vip shop --to r1", "1 [4] 2 3: a c"),
        ("back --vip shop --to r1", "vip `shop` is as it was in r1"),
        ("back --vip shop --to r2", "r2 does not lie back: there r1"),
        ("back --vip shelf", "vip `shelf` is not defined; there are: docs, shop"),
        ("forward --vip shop", "1 4 2 [3]: b c"),
        ("shop=d", "1 4 2 3 [5]: d c"),
        ("docs=b", "1 4 2 3 5 [6]: d b"),
        ("back 2 --vip shop", "1 4 [7] 2 3 5 6: a b"),
        ("back", "1 [4] 7 2 3 5 6: a c"),
        ("forward --vip shop", "1 4 7 2 [3] 5 6: b c"),
        ("docs=d", "1 4 7 2 3 [8]: b d"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_vip_goes_to_a_release_that_is_far_away_and_not_ready() {
    let (host, _members) = host().await;
    for line in ["shop=b", "docs=b", "docs=c", "docs=b", "docs=c", "docs=b", "docs=c", "docs=b", "docs=c", "docs=d"] {
        assert_eq!(run(&host, line).await.0, 200, "{line}");
    }
    for (line, expected) in [
        ("back --vip shop", "1 [12] 2 3 4 5 6 7 8 9 10 11: a d"),
        ("forward --vip shop", "1 12 2 3 4 5 6 7 8 9 10 [11]: b d"),
        ("back --vip shop --to r1", "1 [12] 2 3 4 5 6 7 8 9 10 11: a d"),
    ] {
        let (status, answer) = in_time(line, run(&host, line)).await;
        assert_eq!(status, 200, "{line}: {answer}");
        let after =
            format!("{}: {} {}", trail(&host).await, answers(&host, "shop").await, answers(&host, "docs").await);
        assert_eq!(after, expected, "{line}");
    }
}

/// A host whose vips are both decided by the policy `web`, whose second build has come.
async fn two_builds() -> (Host, Vec<Member>) {
    let mut setup = Host::with()
        .vip("shop", "hosts = [\"shop\"]\npolicy = \"web\"")
        .vip("docs", "hosts = [\"docs\"]\npolicy = \"web\"");
    let mut members = Vec::new();
    for name in ["blue", "green"] {
        members.push(Member::named(name).await);
        setup = setup.pool(name, &[members.last().unwrap()]);
    }
    let host = setup.policy("web", plugins::BY_HEADER).config(BY_GROUP).start().await;
    let (status, answer) = host.control("PUT", "/v1/policies/web", plugins::BY_HEADER_WASIP2).await;
    assert_eq!(status, 200, "{answer}");
    (host, members)
}

/// The same policy with a section that means nothing.
fn another_build() -> Vec<u8> {
    [plugins::BY_HEADER, &[0, 2, 1, b'x']].concat()
}

fn digest(bytes: &[u8]) -> String {
    switchback::digest::Digest::of(bytes).to_string()
}

/// The builds that decide for the vips.
async fn builds(host: &Host) -> [String; 2] {
    let (_, release) = host.control("GET", "/v1/releases/current", "").await;
    let build = |vip: &str| {
        let policy = release["content"]["vips"][vip]["decider"]["policy"].as_str().unwrap();
        release["content"]["policies"][policy]["digest"].as_str().unwrap().to_owned()
    };
    [build("shop"), build("docs")]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_two_vips_share_goes_back_for_one() {
    let (host, _members) = two_builds().await;
    let (old, new) = (digest(plugins::BY_HEADER), digest(plugins::BY_HEADER_WASIP2));
    assert_eq!(builds(&host).await, [new.clone(), new.clone()]);
    assert_eq!(run(&host, "back --vip shop").await.0, 200);
    assert_eq!(builds(&host).await, [old.clone(), new.clone()]);
    assert_eq!(answers(&host, "shop").await, "blue");
    // It is journalled as any other release, and there after a restart.
    let mut host = host;
    host.restart().await;
    assert_eq!(builds(&host).await, [old.clone(), new]);
    assert_eq!(answers(&host, "shop").await, "blue");
    // A new build is for all.
    let (status, answer) = host.control("PUT", "/v1/policies/web", another_build()).await;
    assert_eq!(status, 200, "{answer}");
    let another = digest(&another_build());
    assert_eq!(builds(&host).await, [another.clone(), another]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_gone_back_from_stays_away_until_a_person_says_otherwise() {
    let (host, _members) = two_builds().await;
    let other = digest(plugins::BY_HEADER_WASIP2);
    run(&host, "back").await;
    let (_, status) = host.control("GET", "/v1/status", "").await;
    assert_eq!(status["way"]["doors"], json!([]));
    // Through the folder, under its name or another, and after a restart.
    host.drop_in("web", plugins::BY_HEADER_WASIP2);
    host.wait_for_entry("refuse", "this build of policy `web` is in quarantine: r2 was gone back from by tester").await;
    let (_, status) = host.control("GET", "/v1/status", "").await;
    let door = &status["way"]["doors"][0];
    assert_eq!((&door["digest"], &door["quarantined"]), (&json!(other), &json!(true)));
    let mut host = host;
    host.restart().await;
    host.drop_in("other", plugins::BY_HEADER_WASIP2);
    until("it is refused again", || host.current() == 1).await;
    assert_eq!(host.current(), 1);

    let (status, _) = host.control("DELETE", "/v1/quarantine/0000", "").await;
    assert_eq!(status, 404);
    let (status, said) =
        host.control("DELETE", &format!("/v1/quarantine/{}", &other[..8]), r#"{"why":"mended"}"#).await;
    assert_eq!((status, &said["kind"]), (hyper::StatusCode::OK, &json!("unquarantine")));
    host.activate_from_folder("web", plugins::BY_HEADER_WASIP2).await;
    assert_eq!(builds(&host).await[0], other);
}

#[tokio::test(flavor = "multi_thread")]
async fn forward_and_a_push_are_a_persons_word() {
    let (host, _members) = two_builds().await;
    run(&host, "back").await;
    assert_eq!(run(&host, "forward").await.0, 200);
    assert!(host.app().switch.standing().quarantine.is_empty());
    run(&host, "back").await;
    assert_eq!(host.app().switch.standing().quarantine.len(), 1);
    assert_eq!(host.control("PUT", "/v1/policies/web", plugins::BY_HEADER_WASIP2).await.0, 200);
    assert!(host.app().switch.standing().quarantine.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_of_the_file_that_was_gone_back_from_is_refused() {
    let (host, _members) = host().await;
    let good = std::fs::read_to_string(host.config_path()).unwrap();
    let bad = good.replacen("pool = \"a\"", "pool = \"b\"", 1);
    std::fs::write(host.config_path(), &bad).unwrap();
    until("it serves", || host.current() == 2).await;
    run(&host, "back").await;
    std::fs::write(host.config_path(), &good).unwrap();
    std::fs::write(host.config_path(), format!("{good}\n# nothing\n")).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    std::fs::write(host.config_path(), &bad).unwrap();
    host.wait_for_entry("refuse", "this text is in quarantine: r2 was gone back from by tester").await;
    assert_eq!(answers(&host, "shop").await, "a");
}

/// Asks with the stronger token.
async fn as_admin(host: &Host, method: &str, path: &str, body: &str) -> (hyper::StatusCode, Value) {
    let token = std::fs::read_to_string(host.state_path().join("admin.token")).unwrap();
    let request = hyper::Request::builder().method(method).uri(path).header("host", "localhost");
    let request = request.header("authorization", format!("Bearer {token}")).body(whole(body.to_owned()));
    let answer = crate::support::send(host.app().control, request.unwrap()).await;
    let answer = crate::support::Answer::of(answer).await;
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_of_no_return_stops_back() {
    let (host, _members) = host().await;
    run(&host, "shop=b").await;
    assert_eq!(host.control("PUT", "/v1/releases/r2/fence", "").await.0, 400);
    assert_eq!(host.control("PUT", "/v1/releases/r9/fence", r#"{"why":"x"}"#).await.0, 404);
    assert_eq!(host.control("PUT", "/v1/releases/r2/fence", r#"{"why":"orders were migrated"}"#).await.0, 200);
    run(&host, "shop=c").await;
    let (_, status) = host.control("GET", "/v1/status", "").await;
    let way = &status["way"];
    assert_eq!(
        (&way["steps_back"], &way["fence"]["release"], &way["fence"]["who"]),
        (&json!(1), &json!(2), &json!("tester"))
    );
    let refused = |answer: &Value| {
        answer["message"].as_str().unwrap().starts_with("r2 is a point of no return (orders were migrated)")
    };
    for line in ["back 2", "back 2 --vip shop", "back --to r1"] {
        let (status, answer) = run(&host, line).await;
        assert!(status == 409 && answer["error"] == "fence" && refused(&answer), "{line}: {answer}");
    }
    let (status, answer) = host.control("POST", "/v1/releases/1/activate", "").await;
    assert!(status == 409 && refused(&answer), "{answer}");
    // To the release itself there is a way.
    assert_eq!(run(&host, "back").await.0, 200);
    let mut host = host;
    host.restart().await;
    assert_eq!(run(&host, "back").await.0, 409);

    let over = r#"{"over_fence":true,"why":"the migration was undone"}"#;
    let (status, answer) = host.control("POST", "/v1/back", over).await;
    assert_eq!((status.as_u16(), &answer["error"]), (403, &json!("not_admin")));
    assert_eq!(as_admin(&host, "POST", "/v1/back", r#"{"over_fence":true}"#).await.0, 400);
    assert_eq!(as_admin(&host, "POST", "/v1/back", over).await.0, 200);
    assert_eq!(answers(&host, "shop").await, "a");

    assert_eq!(host.control("DELETE", "/v1/releases/2/fence", "").await.0, 403);
    assert_eq!(as_admin(&host, "DELETE", "/v1/releases/2/fence", "").await.0, 200);
    assert_eq!(as_admin(&host, "DELETE", "/v1/releases/2/fence", "").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_of_no_return_is_where_it_lies_and_not_what_its_number_says() {
    let (host, _members) = host().await;
    for line in ["shop=b", "docs=b", "back --vip shop", "forward --to r2"] {
        assert_eq!(run(&host, line).await.0, 200, "{line}");
    }
    assert_eq!(trail(&host).await, "1 4 [2] 3");
    assert_eq!(host.control("PUT", "/v1/releases/2/fence", r#"{"why":"x"}"#).await.0, 200);
    // r4 is younger than r2, and lies before it; r3 lies behind nothing.
    let (status, answer) = host.control("POST", "/v1/releases/4/activate", "").await;
    assert!(status == 409 && answer["error"] == "fence", "{answer}");
    assert_eq!(host.control("POST", "/v1/releases/3/activate", "").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_can_come_as_a_point_of_no_return() {
    let (host, _members) = host().await;
    let body = r#"{"pool":"b","fence":"a new table"}"#;
    assert_eq!(host.control("PUT", "/v1/vips/shop", body).await.0, 200);
    let (status, answer) = run(&host, "back").await;
    assert_eq!(status, 409);
    assert!(answer["message"].as_str().unwrap().contains("r2 is a point of no return (a new table)"), "{answer}");
}

async fn assign_until(host: &Host, pool: &str, within: &str) {
    let body = json!({ "pool": pool, "confirm_within": within }).to_string();
    let (status, answer) = host.control("PUT", "/v1/vips/shop", body).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_confirms_is_gone_back_from() {
    let (host, _members) = host().await;
    assign_until(&host, "b", "1s").await;
    // What comes after it goes with it.
    assert_eq!(run(&host, "docs=c").await.0, 200);
    let entry = host.wait_for_entry("back", "r2 was not confirmed within 1s").await;
    assert_eq!((&entry["door"], &entry["from"], &entry["to"]), (&json!("host"), &json!(3), &json!(1)));
    assert_eq!(trail(&host).await, "[1] 2 3");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_confirmed_stays() {
    let (host, _members) = host().await;
    let (status, _) = host.control("POST", "/v1/confirm", "").await;
    assert_eq!(status, 409);
    assign_until(&host, "b", "5m").await;
    let (_, status) = host.control("GET", "/v1/status", "").await;
    assert_eq!(status["way"]["unconfirmed"][0]["release"], 2);
    assert_eq!(host.control("POST", "/v1/confirm", "").await.0, 200);
    let (_, status) = host.control("GET", "/v1/status", "").await;
    assert_eq!(status["way"]["unconfirmed"], json!([]));
    // Gone back from, it waits for nothing either.
    assign_until(&host, "c", "5m").await;
    run(&host, "back").await;
    assert!(host.app().switch.standing().unconfirmed.is_empty());
    for wrong in ["5", "0s", "later", "31days"] {
        let body = json!({ "pool": "d", "confirm_within": wrong }).to_string();
        let (status, answer) = host.control("PUT", "/v1/vips/shop", body).await;
        assert!(
            status == 400 && answer["message"].as_str().unwrap().contains("expected a time of 1s to 30days"),
            "{answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_is_made_current_waits_as_well() {
    let (host, _members) = host().await;
    let (status, answer) = host.control("PUT", "/v1/vips/shop", r#"{"pool":"b","share":"5%"}"#).await;
    assert_eq!(status, 200, "{answer}");
    let (status, answer) = host.control("POST", "/v1/releases/2/activate", r#"{"confirm_within":"1s"}"#).await;
    assert_eq!(status, 200, "{answer}");
    host.wait_for_entry("back", "r2 was not confirmed within 1s").await;
    assert_eq!(trail(&host).await, "[1] 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_does_not_confirm() {
    let (mut host, _members) = host().await;
    assign_until(&host, "b", "1s").await;
    host.stop().await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    host.restart().await;
    in_time("it goes back", host.wait_for_entry("back", "r2 was not confirmed within 1s")).await;
    assert_eq!(answers(&host, "shop").await, "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_means_nothing_is_a_mistake() {
    let (host, _members) = host().await;
    let (status, answer) = host.control("POST", "/v1/back", r#"{"over_fnce":true}"#).await;
    let message = answer["message"].as_str().unwrap();
    assert!(status == 400 && message.contains("unknown field `over_fnce`, expected one of"), "{answer}");
    assert_eq!(host.control("POST", "/v1/back", r#"{"steps":1,"to":"r1"}"#).await.0, 400);
}
