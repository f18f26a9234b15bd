//! HTTP/2 frame by frame: what a client may say, what it may not, and what must come of either.
//!
//! Each case is played at a host on a connection of its own, with a member behind that records what reaches it. An
//! outcome is read off evidence: an error, an answer, or a PING answered after everything before it was taken in. Two
//! requests on new connections follow each case and must get their own answers. Clauses are those of the RFCs;
//! where RFC 9113 leaves open what RFC 7540 asked for, the older and stricter answer is expected.

mod wire;
mod blocks;
mod recorder;
mod peer;
mod ledger;
mod window;
mod answer;
mod case;
mod outcome;

mod basics;
mod preface;
mod framing;
mod states;
mod streams;
mod kinds;
mod settings;
mod windows;
mod compression;
mod heads;
mod fields;
mod content;
mod tunnels;
mod answers;
mod floods;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use self::case::Case;
use self::peer::{Dial, Peer, Wire};
use self::recorder::Recorder;
use self::wire::{WHOLE, headers};
use crate::certificates::Authority;
use crate::support::Host;

/// What a case may take, and each request beside or after it. A host that says nothing fails by this.
const LIMIT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn every_sequence_of_frames_comes_to_an_allowed_end() {
    let member = Recorder::start().await;
    let host = Host::with().pool_at("blue", &[member.address], "").vip("web", "pool = \"blue\"").start().await;
    let address = host.address();
    judge(&plain(address), &member, &cases()).await;
}

#[tokio::test]
async fn every_sequence_of_frames_comes_to_the_same_end_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (cert, key) = authority.issue(folder.path(), "shop", &["www.example.com"]);
    let member = Recorder::start().await;
    let listener = format!(
        "[listeners.secure]\naddress = \"127.0.0.1:0\"\ncertificates = [{{ cert = \"{}\", key = \"{}\" }}]\n\
         [vips.web]\nlisten = \"secure\"\npool = \"blue\"\n",
        cert.display(),
        key.display()
    );
    let host = Host::with().pool_at("blue", &[member.address], "").config(&listener).start().await;
    let roots = authority.ca_path(folder.path());
    judge(&secure(host.address(), &roots), &member, &cases()).await;
}

/// Connections over TLS, on which HTTP/2 is agreed on.
fn secure(address: SocketAddr, ca: &Path) -> Box<Dial> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    Box::new(move || {
        let connector = connector.clone();
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from("www.example.com").unwrap();
            Ok(Box::new(connector.connect(name, stream).await?) as Box<dyn Wire>)
        })
    })
}

/// Connections over TCP, on which HTTP/2 is known beforehand.
fn plain(address: SocketAddr) -> Box<Dial> {
    Box::new(move || {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Wire>)
        })
    })
}

/// Every table.
pub(crate) fn cases() -> Vec<Case> {
    [
        basics::cases(),
        preface::cases(),
        framing::cases(),
        states::cases(),
        streams::cases(),
        kinds::cases(),
        settings::cases(),
        windows::cases(),
        compression::cases(),
        heads::cases(),
        fields::cases(),
        content::cases(),
        tunnels::cases(),
        answers::cases(),
        floods::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Plays the cases one after the other and reports every failure at once. Whom it is played at is whatever `dial`
/// reaches: HTTP/2 over anything, with `member` as the only member behind.
pub(crate) async fn judge(dial: &Dial, member: &Recorder, cases: &[Case]) {
    let spoken = timeout(LIMIT, own_answer(dial, "/")).await.unwrap_or_else(|_| Err("is not answered in time".into()));
    assert_eq!(spoken, Ok(()), "HTTP/2 is not spoken there at all");
    member.take();
    let mut failures = String::new();
    let mut failed = 0;
    for (number, case) in cases.iter().enumerate() {
        let mut found = judge_one(dial, member, case, number).await;
        // What the member saw may have come late from a case before; then it does not come again.
        if let [Finding::AtMember(_)] = found[..] {
            found = judge_one(dial, member, case, number).await;
        }
        if !found.is_empty() {
            failed += 1;
            let _ = writeln!(failures, "{} ({})\n  expected {}", case.name, case.clause, case.expected());
            found.iter().for_each(|found| failures += &format!("  {found}\n"));
        }
    }
    assert!(failed == 0, "{failed} of {} cases failed:\n{failures}", cases.len());
}

/// Something that was not as it must be.
#[derive(Debug, thiserror::Error)]
enum Finding {
    #[error("seen {0}")]
    AtClient(String),
    #[error("broken by the host: RFC 9113, {0}")]
    Rule(String),
    #[error("others: {0}")]
    AtOthers(String),
    #[error("the member {0}")]
    AtMember(String),
    #[error("the member got what is not HTTP/1.1: {0}")]
    NotHttp(String),
}

/// Plays one case, and judges it at the client, at the member and at others.
async fn judge_one(dial: &Dial, member: &Recorder, case: &Case, number: usize) -> Vec<Finding> {
    let mut found = Vec::new();
    let paths = ["beside", "first", "second"].map(|turn| format!("/{number}/{turn}"));
    let played = timeout(2 * LIMIT, async {
        let mut peer = case.open(dial).await;
        // Somebody else asks while the case is played.
        let (played, beside) = tokio::join!(timeout(LIMIT, case.play(&mut peer)), own_answer(dial, &paths[0]));
        (played.unwrap_or_else(|_| Err("nothing more".into())), beside, peer)
    });
    match played.await {
        Err(_) => found.push(Finding::AtClient("no settings, or no answer to others, in time".into())),
        Ok((played, beside, peer)) => {
            found.extend(played.err().map(|why| Finding::AtClient(format!("{why}: {}", peer.seen))));
            found.extend(peer.seen.wrong.iter().take(3).cloned().map(Finding::Rule));
            found.extend(beside.err().map(Finding::AtOthers));
        }
    }
    for path in &paths[1..] {
        let fresh = timeout(LIMIT, own_answer(dial, path)).await;
        found.extend(
            fresh.unwrap_or_else(|_| Err(format!("{path} is not answered in time"))).err().map(Finding::AtOthers),
        );
    }
    let (wrong, records): (Vec<_>, Vec<_>) = member.take().into_iter().partition(|record| record.wrong.is_some());
    found.extend(wrong.into_iter().filter_map(|record| record.wrong).map(Finding::NotHttp));
    let records: Vec<_> = records.into_iter().filter(|record| !paths.contains(&record.target)).collect();
    found.extend(case.judge(&records).err().map(Finding::AtMember));
    found
}

/// One request on a connection of its own gets the answer that is meant for it.
async fn own_answer(dial: &Dial, path: &str) -> Result<(), String> {
    let mut peer = Peer::greeted(dial, &[]).await;
    let fields = blocks::but(&blocks::GET, &[(":path", path)]);
    peer.send(&headers(1, WHOLE, &blocks::block(&fields))).await;
    peer.until(|seen| seen.answer(1).ended).await;
    let answer = peer.seen.answer(1);
    let expected = format!("GET {path} 0\n");
    if answer.status == Some(200) && answer.body == expected.as_bytes() && peer.seen.wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("{path} gets {} {:?}", peer.seen, peer.seen.wrong))
    }
}
