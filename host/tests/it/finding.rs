//! Members that are found: in DNS, and in a file that something else keeps.

use std::time::Duration;

use hyper::Response;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::nameserver::NameServer;
use crate::patients::{CHECK, Patient};
use crate::support::{Host, Member, serve, until, whole};

/// A member at this port of a loopback address; `None` where somebody else is there.
struct At {
    text: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for At {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Members at one port of several loopback addresses, each of which answers with its address.
async fn at_one_port(ips: &[&'static str]) -> (u16, Vec<At>) {
    'port: loop {
        let mut listeners = Vec::new();
        let mut port = 0;
        for ip in ips {
            let Ok(listener) = TcpListener::bind((*ip, port)).await else { continue 'port };
            port = listener.local_addr().unwrap().port();
            listeners.push((*ip, listener));
        }
        let serve_at = |(ip, listener): (&'static str, TcpListener)| At {
            text: format!("{ip}:{port}"),
            task: tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let answer = move |_| async move { Response::new(whole(ip)) };
                    tokio::spawn(serve(stream, std::sync::Arc::new(answer)));
                }
            }),
        };
        return (port, listeners.into_iter().map(serve_at).collect());
    }
}

/// A host whose pool `blue` has this one member, asked for at this server.
async fn host(dns: &NameServer, member: &str) -> Host {
    let pool = format!("[pools.blue]\nmembers = [\"{member}\"]");
    Host::with().vip("web", "pool = \"blue\"").config(&dns.keys()).config(&pool).start().await
}

async fn asked_again(dns: &NameServer) {
    let asked = dns.asked();
    until("it is asked again", || dns.asked() > asked + 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_all_its_addresses_as_they_come_and_go() {
    let dns = NameServer::start().await;
    let (port, members) = at_one_port(&["127.0.0.1", "127.0.0.2", "127.0.0.3"]).await;
    let text = |at: usize| &*members[at].text;
    dns.addresses("app.internal.", &["127.0.0.1"]);
    let host = host(&dns, &format!("app.internal:{port}")).await;
    assert_eq!(host.bodies(2).await, ["127.0.0.1"; 2]);
    dns.addresses("app.internal.", &["127.0.0.1", "127.0.0.2"]);
    host.wait_for_members("blue", &[text(0), text(1)]).await;
    host.wait_for_body("127.0.0.2").await;
    host.wait_for_event("found", &format!("2 members at app.internal:{port}")).await;
    dns.addresses("app.internal.", &["127.0.0.3"]);
    host.wait_for_members("blue", &[text(2)]).await;
    assert_eq!(host.bodies(2).await, ["127.0.0.3"; 2]);
    // What is found is no release: nothing to go back from.
    assert_eq!(host.current(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_good_answer_is_kept_when_dns_fails() {
    let dns = NameServer::start().await;
    let (port, members) = at_one_port(&["127.0.0.1", "127.0.0.2"]).await;
    dns.addresses("app.internal.", &["127.0.0.1"]);
    let host = host(&dns, &format!("app.internal:{port}")).await;
    host.wait_for_members("blue", &[&members[0].text]).await;
    dns.is_ill(true);
    asked_again(&dns).await;
    assert_eq!(host.bodies(2).await, ["127.0.0.1"; 2]);
    // Another release with the same name finds it as it was, and without waiting.
    host.edit("[pools.blue]", "[pools.blue]\nconnect_timeout = \"1s\"");
    until("the edit serves", || host.current() == 2).await;
    assert_eq!(host.bodies(2).await, ["127.0.0.1"; 2]);
    dns.is_ill(false);
    dns.addresses("app.internal.", &[]);
    asked_again(&dns).await;
    assert_eq!(host.bodies(2).await, ["127.0.0.1"; 2]);
    dns.addresses("app.internal.", &["127.0.0.2"]);
    host.wait_for_members("blue", &[&members[1].text]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_starts_before_its_names_are_known() {
    let dns = NameServer::start().await;
    let (port, members) = at_one_port(&["127.0.0.1"]).await;
    let mut host = host(&dns, &format!("app.internal:{port}")).await;
    assert_eq!((host.members("blue").await.len(), host.bodies(1).await), (0, vec!["503".to_owned()]));
    dns.addresses("app.internal.", &["127.0.0.1"]);
    host.wait_for_members("blue", &[&members[0].text]).await;
    assert_eq!(host.bodies(1).await, ["127.0.0.1"]);
    host.restart().await;
    assert_eq!(host.bodies(1).await, ["127.0.0.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_its_places_by_their_weights() {
    let dns = NameServer::start().await;
    let (one, two) = (Member::named("one").await, Member::named("two").await);
    dns.addresses("here.internal.", &["127.0.0.1"]);
    let service = "_http._tcp.app.internal.";
    dns.places(service, &[(3, one.address.port(), "here.internal."), (1, two.address.port(), "here.internal.")]);
    let host = host(&dns, "srv:_http._tcp.app.internal").await;
    host.wait_for_members("blue", &[&one.address.to_string(), &two.address.to_string()]).await;
    let bodies = host.bodies(80).await;
    // Each worker has turns of its own.
    let ones = bodies.iter().filter(|body| *body == "one").count();
    assert!((58..=62).contains(&ones), "{ones} of 80");
    // The greatest there are, beside one that has none, and the member's own.
    dns.places(service, &[(u16::MAX, one.address.port(), "here.internal."), (0, two.address.port(), "here.internal.")]);
    host.edit("\"srv:_http._tcp.app.internal\"", "{ at = \"srv:_http._tcp.app.internal\", weight = 1000 }");
    until("the edit serves", || host.current() == 2).await;
    dns.places(service, &[(u16::MAX, one.address.port(), "here.internal."), (0, two.address.port(), "here.internal.")]);
    asked_again(&dns).await;
    assert_eq!(host.bodies(20).await, ["one"; 20]);
    // Still looked after.
    dns.places(service, &[(1, two.address.port(), "here.internal.")]);
    host.wait_for_members("blue", &[&two.address.to_string()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nobody_knows_holds_up_no_other_pool() {
    let (dns, green) = (NameServer::start().await, Patient::well("green").await);
    let blue = Member::named("blue").await;
    dns.is_silent(true);
    let lost = "[pools.lost]\nmembers = [\"nobody.internal:80\"]";
    let setup = Host::with().pool("blue", &[&blue]).pool_at("green", &[], CHECK).vip("web", "pool = \"blue\"");
    let host = setup.config(&dns.keys()).config(lost).start().await;
    let began = Instant::now();
    for weight in 1..=3 {
        let path = format!("/v1/pools/green/members/{}", green.address());
        let (status, answer) = host.control("PUT", &path, format!(r#"{{"weight":{weight}}}"#)).await;
        assert_eq!(status, 200, "{answer}");
    }
    let (status, answer) = host.control("PUT", "/v1/vips/web", r#"{"pool":"green"}"#).await;
    assert_eq!((status.as_u16(), host.bodies(1).await), (200, vec!["green".to_owned()]), "{answer}");
    // Each of the four would wait for three seconds.
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(green.untimely(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_found_is_probed_before_it_is_asked() {
    let (dns, one) = (NameServer::start().await, Patient::well("one").await);
    let two = Patient::sick("two").await;
    dns.addresses("here.internal.", &["127.0.0.1"]);
    dns.places("_http._tcp.app.internal.", &[(1, one.address().port(), "here.internal.")]);
    let pool = format!("[pools.blue]\nmembers = [\"srv:_http._tcp.app.internal\"]\n{CHECK}");
    let host = Host::with().vip("web", "pool = \"blue\"").config(&dns.keys()).config(&pool).start().await;
    host.wait_for_state("blue", one.address(), "fit").await;
    let both = [(1, one.address().port(), "here.internal."), (1, two.address().port(), "here.internal.")];
    dns.places("_http._tcp.app.internal.", &both);
    while host.members("blue").await.len() < 2 {
        assert_eq!(host.bodies(2).await, ["one"; 2]);
    }
    host.wait_for_state("blue", two.address(), "sick").await;
    assert_eq!((host.bodies(4).await, two.requests()), (vec!["one".to_owned(); 4], 0));
    two.gets_well();
    host.wait_for_body("two").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_members_is_followed_and_a_bad_edit_changes_nothing() {
    let (one, two) = (Member::named("one").await, Member::named("two").await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("members");
    let write = |text: &str| {
        std::fs::write(folder.path().join("new"), text).unwrap();
        std::fs::rename(folder.path().join("new"), &file).unwrap();
    };
    write(&format!("{}\n", one.address));
    let pool = format!("[pools.blue]\nmembers_file = \"{}\"", file.display());
    let host = Host::with().vip("web", "pool = \"blue\"").config(&pool).start().await;
    assert_eq!(host.bodies(2).await, ["one"; 2]);
    let (first, second) = (one.address.to_string(), two.address.to_string());
    write(&format!("{first} weight=3 zone=a\n{second} # new\n"));
    host.wait_for_members("blue", &[&first, &second]).await;
    host.wait_for_event("found", &format!("2 members at {}", file.display())).await;
    let mut members = host.members("blue").await;
    members.retain(|member| member["address"] == first);
    assert_eq!((&members[0]["weight"], &members[0]["zone"]), (&3.into(), &"a".into()));
    let ones = host.bodies(80).await.iter().filter(|body| *body == "one").count();
    assert!((58..=62).contains(&ones), "{ones} of 80");
    write(&format!("{second}\n"));
    host.wait_for_members("blue", &[&second]).await;
    write("nonsense\n");
    // Another release with the same file finds it as it was.
    host.edit("[pools.blue]", "[pools.blue]\nconnect_timeout = \"1s\"");
    until("the edit serves", || host.current() == 2).await;
    std::fs::remove_file(&file).unwrap();
    host.edit("connect_timeout = \"1s\"", "connect_timeout = \"2s\"");
    until("the edit serves", || host.current() == 3).await;
    assert_eq!(host.bodies(2).await, ["two"; 2]);
    write(&first);
    host.wait_for_members("blue", &[&first]).await;
}
