//! What policies can do, and what they cannot: every guest in `plugins/`, in front of real requests.

use std::sync::Arc;

use serde_json::json;
use switchback::policy::admit::admit;
use switchback::policy::validate::Candidate;
use switchback_plugins as plugins;
use switchback_plugins::faulty;

use crate::support::{BY_GROUP, Host, Member, Setup, until, whole};

/// Blue and green, and one vip that policy `web` decides for.
async fn two_pools() -> (Setup, Member, Member) {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]);
    (setup.vip("web", "policy = \"web\"\nfallback = \"blue\""), blue, green)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_chooses_the_pool_of_each_request() {
    let (setup, _blue, _green) = two_pools().await;
    let host = setup.config(BY_GROUP).policy("web", plugins::BY_HEADER).start().await;
    assert_eq!(host.get("/", &[("x-group", "green")]).await.body, "green");
    assert_eq!(host.get("/", &[("x-group", "other")]).await.body, "blue");
    assert_eq!(host.get("/", &[]).await.body, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_policies_decides_for_its_own_vip() {
    let (blue, green) = (Member::named("blue").await, Member::named("green").await);
    let mut setup = Host::with().pool("blue", &[&blue]).pool("green", &[&green]);
    setup = setup.config("[listeners.front]\naddress = \"127.0.0.1:0\"\n");
    let otherwise = |at: usize| ["blue", "green"][at % 2];
    for at in 0..12 {
        let vip = format!("[vips.v{at}]\nlisten = \"front\"\nhosts = [\"v{at}.example\"]\npolicy = \"p{at}\"\n");
        let config = format!("[policies.p{at}.config]\nrules = []\notherwise = \"{}\"\n", otherwise(at));
        setup = setup.config(&(vip + &config)).policy(&format!("p{at}"), plugins::BY_HEADER);
    }
    let host = setup.start().await;
    let asks = async |at: usize| {
        let request = hyper::Request::get("/").header("host", format!("v{at}.example"));
        host.send(request.body(whole("")).unwrap()).await.body
    };
    for at in 0..12 {
        assert_eq!(asks(at).await, otherwise(at), "v{at}");
    }
    // Those that the switch leaves alone keep their instances, and the one that goes is not asked any more.
    let (status, receipt) = host.control("PUT", "/v1/vips/v3", r#"{"pool":"blue"}"#).await;
    assert_eq!(status, 200, "{receipt}");
    for at in 0..12 {
        assert_eq!(asks(at).await, if at == 3 { "blue" } else { otherwise(at) }, "v{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_built_for_wasi_decides_as_well() {
    let (setup, _blue, _green) = two_pools().await;
    let host = setup.config(BY_GROUP).policy("web", plugins::BY_HEADER_WASIP2).start().await;
    for _ in 0..3 {
        assert_eq!(host.get("/", &[("x-group", "green")]).await.body, "green");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_was_built_before_there_was_a_brief_way_decides_as_ever() {
    let (setup, _blue, _green) = two_pools().await;
    let host = setup.policy("web", faulty::LONGHAND).start().await;
    for _ in 0..3 {
        assert_eq!(host.get("/", &[("x-group", "green")]).await.body, "green");
        assert_eq!(host.get("/", &[("cookie", "group=green")]).await.body, "green");
        let answer = host.get("/", &[("x-group", "other")]).await;
        assert_eq!((&*answer.body, answer.header("x-group")), ("blue", "other"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_any_length_is_seen_whole() {
    // 40 bytes are handed over at once, more by another way; and an instance that has decided before is told with the call.
    for (isolation, length) in ["worker", "request"].into_iter().flat_map(|it| [0, 39, 40, 41, 4096].map(|n| (it, n))) {
        let (setup, _blue, _green) = two_pools().await;
        let value = "x".repeat(length);
        let config = format!(
            "[policies.web]\nisolation = \"{isolation}\"\n[policies.web.config]\notherwise = \"blue\"\nrules = [{{ cookie = \"group\", value = \"{value}\", pool = \"green\" }}]\n"
        );
        let host = setup.config(&config).policy("web", plugins::BY_HEADER).start().await;
        let answered = async |value: &str| host.get("/", &[("cookie", &format!("group={value}"))]).await.body;
        assert_eq!(answered(&value).await, "green", "{length}");
        assert_eq!(answered(&format!("{value}x")).await, "blue", "{length}");
        assert_eq!(answered(&format!("y{}", value.get(1..).unwrap_or_default())).await, "blue", "{length}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_looked_up_in_every_request_is_found_in_each() {
    let (setup, _blue, _green) = two_pools().await;
    // One more than come with the call.
    let config = "[policies.web.config]\notherwise = \"blue\"\nrules = [\n\
        { header = \"x-a\", value = \"1\", pool = \"green\" },\n\
        { cookie = \"a\", value = \"1\", pool = \"green\" },\n\
        { header = \"x-b\", value = \"1\", pool = \"green\" }]\n";
    let host = setup.config(config).workers(1).policy("web", plugins::BY_HEADER).start().await;
    let long = "1".repeat(41);
    for _ in 0..3 {
        for (name, value, pool) in [
            ("x-a", "1", "green"),
            ("x-a", "2", "blue"),
            ("cookie", "a=1", "green"),
            ("cookie", "b=1", "blue"),
            ("x-b", "1", "green"),
            ("x-a", &long, "blue"),
            ("x-c", "1", "blue"),
        ] {
            assert_eq!(host.get("/", &[(name, value)]).await.body, pool, "{name}: {value}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_for_each_request_decides_the_same() {
    let (setup, _blue, _green) = two_pools().await;
    let isolated =
        BY_GROUP.replace("[policies.web.config]", "[policies.web]\nisolation = \"request\"\n[policies.web.config]");
    let host = setup.config(&isolated).policy("web", plugins::BY_HEADER).start().await;
    for _ in 0..3 {
        assert_eq!(host.get("/", &[("x-group", "green")]).await.body, "green");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_gets_its_share_and_keeps_its_clients() {
    let (setup, _blue, _green) = two_pools().await;
    let host = setup.policy("web", plugins::CANARY).start().await;
    let mut green = 0;
    for user in 0..300 {
        let cookie = format!("uid=user-{user}");
        let first = host.get("/", &[("cookie", &cookie)]).await.body;
        assert_eq!(host.get("/", &[("cookie", &cookie)]).await.body, first);
        green += usize::from(first == "green");
    }
    // 20% of 300, and four standard deviations of a binomial on either side.
    assert!((32..=88).contains(&green), "{green} of 300");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_routes_by_path() {
    let (setup, _blue, _green) = two_pools().await;
    let config = "[policies.web.config]\npaths = { \"/new\" = \"green\" }\notherwise = \"blue\"\n";
    let host = setup.config(config).policy("web", plugins::BY_PATH).start().await;
    assert_eq!(host.get("/new/x?y", &[]).await.body, "green");
    assert_eq!(host.get("/newer", &[]).await.body, "blue");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_can_hold_far_more_than_the_memory_it_begins_with() {
    let (setup, _blue, _green) = two_pools().await;
    let pool = |at: usize| if at.is_multiple_of(3) { "green" } else { "blue" };
    let paths: String = (0..10_000).map(|at| format!("\"/path/{at}\" = \"{}\"\n", pool(at))).collect();
    let config = format!(
        "[policies.web]\ndeadline = \"500ms\"\n[policies.web.config]\notherwise = \"blue\"\n[policies.web.config.paths]\n{paths}"
    );
    let host = setup.config(&config).policy("web", plugins::BY_PATH).start().await;
    for at in [0, 1, 2, 4_998, 9_998, 9_999] {
        assert_eq!(host.get(&format!("/path/{at}/x"), &[]).await.body, pool(at), "{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vip_whose_policy_has_not_arrived_is_served_by_its_fallback() {
    let (setup, _blue, _green) = two_pools().await;
    let host = setup.config(BY_GROUP).start().await;
    assert_eq!(host.get("/", &[("x-group", "green")]).await.body, "blue");
    host.activate_from_folder("web", plugins::BY_HEADER).await;
    assert_eq!(host.get("/", &[("x-group", "green")]).await.body, "green");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_fallback_the_policy_must_be_there() {
    let blue = Member::named("blue").await;
    let started = Host::with().pool("blue", &[&blue]).vip("web", "policy = \"web\"").try_start().await;
    let error = format!("{:#}", started.err().expect("the host does not start"));
    assert!(error.contains("policy `web` is not defined for vip `web`, which has no fallback pool"), "{error}");
}

/// Drops a guest that bites in traffic over a good one, and asks until the host has gone back by itself.
async fn bites_and_is_taken_back(guest: &[u8], config: &str, reason: &str) {
    let (setup, _blue, _green) = two_pools().await;
    let host = setup.config(config).policy("web", plugins::CANARY).start().await;
    host.activate_from_folder("web", guest).await;
    let release = host.current();
    until_async(|| async {
        let answer = host.get("/", &[("cookie", "uid=x")]).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        host.current() != release
    })
    .await;
    let back = host.wait_for_entry("back", "failed 5 times").await;
    assert_eq!((&back["from"], &back["to"], &back["door"]), (&json!(release), &json!(1), &json!("host")));
    host.wait_for_entry("fall", reason).await;
    let (_, status) = host.control("GET", "/v1/status", "").await;
    assert!(status["vips"][0]["by_previous"].as_u64().unwrap() >= 5, "{status}");
    assert_eq!(status["vips"][0]["undecided"], 0);
    // The folder still holds the bad build, and another look at it changes nothing.
    host.drop_in("web", guest);
    host.drop_in("other", faulty::GARBAGE);
    host.wait_for_entry("refuse", "policy `other` is not WebAssembly").await;
    assert_eq!(host.current(), 1);
}

async fn until_async<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    for _ in 0..5000 {
        if holds().await {
            return;
        }
    }
    panic!("gave up waiting");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_traps_is_answered_for_and_taken_back() {
    bites_and_is_taken_back(faulty::TRAP, "", "trapped").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_traps_behind_a_point_of_no_return_stays_and_is_answered_for() {
    let (setup, _blue, _green) = two_pools().await;
    let host = setup.workers(1).policy("web", plugins::CANARY).start().await;
    host.activate_from_folder("web", faulty::TRAP).await;
    assert_eq!(host.control("PUT", "/v1/releases/2/fence", r#"{"why":"migrated"}"#).await.0, 200);
    // Sixteen go well on each worker; the fifth that does not would be the end of it.
    for _ in 0..40 {
        assert_eq!(host.get("/", &[("cookie", "uid=x")]).await.status, 200);
    }
    host.wait_for_entry("fall", "trapped").await;
    assert_eq!(host.current(), 2);
    // Written beside the traffic, after the entry.
    let listed = || async { host.control("GET", "/v1/crashes", "").await.1.as_array().map_or(0, Vec::len) };
    until_async(|| async { listed().await > 0 }).await;
    assert_eq!(listed().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_loops_is_cut_and_taken_back() {
    bites_and_is_taken_back(faulty::ENDLESS_LOOP, "", "overran its deadline of 5ms").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_hoards_memory_is_cut_and_taken_back() {
    // Touching 1 MiB takes less than the deadline on any machine.
    let config = "[policies.web]\nmemory = \"2MiB\"\ndeadline = \"500ms\"\n";
    bites_and_is_taken_back(faulty::MEMORY_HOARD, config, "ran out of memory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_overflows_its_stack_is_taken_back() {
    let config = "[policies.web]\ndeadline = \"500ms\"\n";
    bites_and_is_taken_back(faulty::STACK_OVERFLOW, config, "overflowed its stack").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_chooses_a_pool_it_did_not_declare_is_taken_back() {
    bites_and_is_taken_back(faulty::UNKNOWN_POOL, "", "but its manifest names").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_with_absurd_answers_is_taken_back() {
    for (answer, reason) in [
        ("huge-headers", "too much data is being copied"),
        ("bad-header-name", "is not a token"),
        ("bad-header-value", "bytes that a header may not carry"),
        ("status-42", "answered with status 42"),
        ("huge-body", "too much data is being copied"),
    ] {
        // 10 MB of headers take a while to make.
        let config =
            format!("[policies.web]\ndeadline = \"1s\"\nmemory = \"64MiB\"\nconfig = {{ answer = \"{answer}\" }}\n");
        let (setup, _blue, _green) = two_pools().await;
        let host = setup.config(&config).start().await;
        // Over the fallback there is no earlier release with another policy... so there is one: of nothing.
        host.activate_from_folder("web", faulty::ABSURD_ANSWERS).await;
        until_async(|| async {
            let answer = host.get("/", &[]).await;
            assert_eq!((answer.status.as_u16(), &*answer.body), (200, "blue"));
            host.current() == 1
        })
        .await;
        host.wait_for_entry("fall", reason).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_fit_is_refused_with_its_reason_and_nothing_changes() {
    let (setup, _blue, _green) = two_pools().await;
    let host = setup.policy("web", plugins::CANARY).start().await;
    let check = async |bytes: &[u8], reason: &str| {
        let (status, answer) = host.control("PUT", "/v1/policies/web", bytes.to_vec()).await;
        let message = answer["message"].as_str().unwrap_or_default();
        assert_eq!(status, 422, "{message}");
        assert!(message.starts_with("policy `web` ") && message.contains(reason), "{message}");
        assert_eq!((host.current(), host.get("/", &[]).await.status.as_u16()), (1, 200));
    };
    check(&vec![0; 33 * 1024 * 1024], "is larger than").await;
    check(faulty::WRONG_WORLD, "is not of world `switchback:policy/policy@0.1.0`").await;
    check(faulty::FORBIDDEN_IMPORT, "imports `evil:host/exec@1.0.0`, which policies may not use").await;
    check(faulty::GARBAGE, "is not WebAssembly").await;
    check(faulty::GARBAGE_AFTER_HEADER, "is not a valid module").await;
    check(faulty::TRUNCATED, "is not a valid module").await;
    check(faulty::CONFIGURE_FAILS, "refused its configuration: not today\\u{1b}").await;
    check(faulty::CONFIGURE_LOOPS, "overran its deadline").await;
    check(b"", "is not WebAssembly: begins with nothing").await;
    host.wait_for_entry("refuse", "begins with nothing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_bites_at_once_does_not_get_past_staging() {
    let (setup, _blue, _green) = two_pools().await;
    let host = setup.config("[policies.web]\nconfig = { after = 0 }\n").start().await;
    for (guest, reason) in [
        (faulty::TRAP, "asked `GET /`, it trapped"),
        (faulty::ENDLESS_LOOP, "asked `GET /`, it overran its deadline of 5ms"),
        (faulty::STACK_OVERFLOW, "asked `GET /`, it overflowed its stack"),
        (faulty::UNKNOWN_POOL, "asked `GET /`, it chose pool"),
    ] {
        let (status, answer) = host.control("PUT", "/v1/policies/web", guest.to_vec()).await;
        assert_eq!(status, 422);
        assert!(answer["message"].as_str().unwrap().contains(reason), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_not_there_is_refused_before_traffic() {
    let (setup, _blue, _green) = two_pools().await;
    let host = setup.config("[policies.web]\nconfig = { when = \"configure\" }\n").start().await;
    let (_, answer) = host.control("PUT", "/v1/policies/web", faulty::UNKNOWN_POOL.to_vec()).await;
    assert!(answer["message"].as_str().unwrap().contains("which is not one of: blue, green"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_out_of_turn_is_refused_before_traffic() {
    for (config, reason) in [
        ("when = \"decide\"", "asked `GET /`, it trapped: asked for the whole request twice"),
        ("when = \"configure\"", "trapped: asked about a request while none is decided"),
        ("expects = 3", "trapped: expects a third lookup"),
        ("expects = \"long\"", "trapped: expects a name of more than 256 bytes"),
    ] {
        let (setup, _blue, _green) = two_pools().await;
        let host = setup.config(&format!("[policies.web]\nconfig = {{ {config} }}\n")).start().await;
        let (status, answer) = host.control("PUT", "/v1/policies/web", faulty::OUT_OF_TURN.to_vec()).await;
        assert_eq!(status, 422);
        assert!(answer["message"].as_str().unwrap().contains(reason), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_way_back_the_fallback_pool_answers_and_the_policy_is_left_alone() {
    let (setup, _blue, _green) = two_pools().await;
    let host = setup.policy("web", faulty::TRAP).start().await;
    for _ in 0..200 {
        let answer = host.get("/", &[]).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, "blue"));
    }
    let (_, status) = host.control("GET", "/v1/status", "").await;
    assert!(status["vips"][0]["by_fallback"].as_u64().unwrap() > 0, "{status}");
    assert_eq!(host.current(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_left_to_decide_it_is_a_503() {
    let blue = Member::named("blue").await;
    let setup = Host::with().pool("blue", &[&blue]).vip("web", "policy = \"web\"");
    let host = setup.policy("web", faulty::TRAP).start().await;
    until_async(|| async { host.get("/", &[]).await.status == 503 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_vips_are_served_while_a_policy_loops() {
    let (setup, _blue, _green) = two_pools().await;
    let host = setup
        .vip("calm", "pool = \"green\"\nhosts = [\"calm.example\"]")
        .policy("web", faulty::ENDLESS_LOOP)
        .start()
        .await;
    for _ in 0..100 {
        host.get("/", &[]).await;
        let request = hyper::Request::get("/").header("host", "calm.example").body(whole("")).unwrap();
        assert_eq!(host.send(request).await.body, "green");
    }
    until("the loop was noticed", || host.app().switch.current.get().number == 1).await;
    host.wait_for_entry("fall", "overran").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_makes_a_policy_fail_is_taken_back_as_well() {
    let (setup, _blue, _green) = two_pools().await;
    let host = setup.config("[policies.web]\nconfig = { after = 1000000 }\n").policy("web", faulty::TRAP).start().await;
    let config = "config=%7B%22after%22%3A16%7D";
    let (status, receipt) = host.control("PUT", &format!("/v1/policies/web?{config}"), faulty::TRAP.to_vec()).await;
    assert_eq!(status, 200, "{receipt}");
    until_async(|| async {
        assert_eq!(host.get("/", &[]).await.status, 200);
        host.current() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_nobody_asks_does_not_stand_in_the_way() {
    let (setup, _blue, _green) = two_pools().await;
    let old = "[policies.old.config]\nrules = []\notherwise = \"green\"\n";
    let host = setup.config(old).policy("old", plugins::BY_HEADER).start().await;
    let text = std::fs::read_to_string(host.config_path()).unwrap();
    let green = text.find("[pools.green]").unwrap();
    let after = text[green..].find("[vips").unwrap() + green;
    std::fs::write(host.config_path(), format!("{}{}", &text[..green], &text[after..])).unwrap();
    until("the edit serves", || host.current() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_policies_than_there_is_room_for_are_refused() {
    let (mut setup, _blue, _green) = two_pools().await;
    setup = setup.workers(64).config(BY_GROUP).policy("web", plugins::BY_HEADER);
    for at in 1..65 {
        setup = setup.policy(&format!("p{at}"), plugins::CANARY);
    }
    let Err(error) = setup.try_start().await else { panic!("it starts") };
    let expected = "65 policies would be asked, each in an instance for each of 64 workers: 4160 instances, and there is \
                    room for 4096";
    assert!(format!("{error:#}").contains(expected), "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_loaded_once_however_often_it_comes() {
    let (setup, _blue, _green) = two_pools().await;
    let host = setup.config(BY_GROUP).policy("web", plugins::BY_HEADER).start().await;
    let switch = &host.app().switch;
    let admitted = async |name: &str, bytes: &'static [u8]| {
        let candidate = Candidate { name: name.into(), bytes: bytes.into() };
        admit(candidate, &switch.compiler, &switch.store).await.unwrap().artifact
    };
    let once = admitted("web", plugins::BY_HEADER).await;
    assert!(Arc::ptr_eq(&once, &admitted("other", plugins::BY_HEADER).await));
    assert!(!Arc::ptr_eq(&once, &admitted("web", plugins::CANARY).await));
    // The host has it as well: for the policy that serves, and for what the next change brings.
    assert!(Arc::strong_count(&once) >= 3, "{}", Arc::strong_count(&once));
}
