//! What policies can do, and what they cannot: every guest in `plugins/`, in front of real requests.

use serde_json::json;
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
async fn a_component_built_for_wasi_decides_as_well() {
    let (setup, _blue, _green) = two_pools().await;
    let host = setup.config(BY_GROUP).policy("web", plugins::BY_HEADER_WASIP2).start().await;
    for _ in 0..3 {
        assert_eq!(host.get("/", &[("x-group", "green")]).await.body, "green");
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
    let (_, crashes) = host.control("GET", "/v1/crashes", "").await;
    assert_eq!(crashes.as_array().map(Vec::len), Some(1), "{crashes}");
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
