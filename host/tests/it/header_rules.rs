//! What the configuration does to fields of requests and answers.

use hyper::Request;
use switchback_plugins as plugins;

use crate::peers::PAIRS;
use crate::support::{Answer, Host, Member, echo, whole};

const RULES: &str = r#"
pool = "blue"
[vips.web.request_headers]
remove = ["x-gone", "cookie"]
set = { "x-set" = "ours", "x-forwarded-for" = "hidden" }
add = { "x-add" = "ours" }
[vips.web.response_headers]
remove = ["server"]
set = { "strict-transport-security" = "max-age=1", "cache-control" = "no-store" }
add = { "vary" = "x-group" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_removed_set_and_added_on_both_ways() {
    for (client, speaks) in PAIRS {
        let member = Member::speaking(speaks, |request| async move {
            let mut response = echo(request).await;
            for (name, value) in [("server", "x"), ("cache-control", "public"), ("vary", "accept")] {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        })
        .await;
        let host = Host::with().pool_at("blue", &[member.address], speaks.keys()).vip("web", RULES).start().await;
        let mut request = Request::get("http://web.example/");
        for (name, value) in [("x-gone", "1"), ("cookie", "a=1"), ("x-set", "theirs"), ("x-add", "theirs")] {
            request = request.header(name, value);
        }
        let answer = Answer::of(client.ask(host.address(), request.body(whole("")).unwrap()).await).await;
        let told = &answer.body;
        for line in ["x-set: ours", "x-add: theirs\nx-add: ours", "x-forwarded-for: hidden"] {
            assert!(told.contains(&format!("\n{line}\n")), "no `{line}` in {told}");
        }
        assert!(!told.contains("x-gone") && !told.contains("cookie") && !told.contains("x-set: theirs"), "{told}");
        assert_eq!(
            (answer.header("strict-transport-security"), answer.header("cache-control")),
            ("max-age=1", "no-store")
        );
        let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
        assert!(vary == ["accept", "x-group"] && !answer.headers.contains_key("server"), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_answers_gets_the_fields_of_answers_as_well() {
    let blue = Member::named("blue").await;
    let host = Host::with()
        .pool("blue", &[&blue])
        .policy("web", plugins::BY_CERTIFICATE)
        .vip("web", "policy = \"web\"\n[vips.web.response_headers]\nset = { \"x-set\" = \"ours\" }")
        .config("[policies.web.config]\nclients = { \"CN=alice\" = \"blue\" }")
        .start()
        .await;
    let answer = host.get("/", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-set")), (403, "ours"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_has_the_last_word_on_requests_and_the_configuration_on_answers() {
    let member = Member::echoing().await;
    let rules = r#"policy = "web"
        [vips.web.request_headers]
        set = { "x-both" = "rule", "x-rule" = "rule", "x-taken" = "rule" }
        [vips.web.response_headers]
        remove = ["x-policy-taken"]
        set = { "x-answer-both" = "rule" }"#;
    let config = r#"[policies.web.config]
        pool = "blue"
        set = { "x-both" = "policy", "x-policy" = "policy" }
        remove = ["x-taken"]
        add = { "x-answer" = "policy", "x-answer-both" = "policy", "x-policy-taken" = "policy" }"#;
    let host = Host::with().pool("blue", &[&member]).policy("web", plugins::LABEL).vip("web", rules).config(config);
    let answer = host.start().await.get("/", &[]).await;
    let told = &answer.body;
    for line in ["x-both: policy", "x-rule: rule", "x-policy: policy"] {
        assert!(told.contains(&format!("\n{line}\n")), "no `{line}` in {told}");
    }
    assert!(!told.contains("x-taken") && !answer.headers.contains_key("x-policy-taken"), "{answer:?}");
    assert_eq!((answer.header("x-answer"), answer.header("x-answer-both")), ("policy", "rule"));
}
