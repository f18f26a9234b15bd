//! Crash bundles: everything that is needed to see why a policy failed, and to have it fail again.
//!
//! Kept in the state folder, the last few, and only its owner may read them: a request's cookies and tokens are part of
//! what the policy decided by.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::fail_back::Fall;
use crate::digest::Digest;
use crate::policy::{Fault, Limits};
use crate::proxy::scene::Taken;
use crate::store::Store;

/// Bytes of one bundle.
const BYTES_MAX: usize = 64 * 1024;

/// Bytes that one text of it is cut to first, where it does not fit; halved until it does.
const TEXT_MAX: usize = 16 * 1024;

/// When a bundle was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Occasion {
    /// At the first failure of a series.
    FirstFall,
    /// When the host went back because of them.
    WentBack,
}

/// A policy's failure, with all that is known of it.
#[derive(Clone, Debug, Serialize)]
pub struct Crash {
    /// What a list says of it.
    #[serde(flatten)]
    pub line: CrashLine,
    /// What it was told when it was configured.
    pub config: String,
    /// The pools that it was told of then.
    pub pools: Vec<String>,
    /// The pools that it chooses from; loads name them by position.
    pub manifest: Vec<String>,
    /// What it may use.
    pub limits: Limits,
    /// The guest's functions, innermost first.
    pub backtrace: Vec<String>,
    /// What it decided by; none where its instance could not even be made.
    #[serde(flatten)]
    pub scene: Option<Taken>,
    /// Whether something is cut, to fit.
    pub is_cut: bool,
}

/// A bundle in a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CrashLine {
    /// Names it.
    pub id: String,
    /// Wall time, RFC 3339.
    pub at: String,
    /// When it was made.
    pub occasion: Occasion,
    /// The release.
    pub release: u64,
    /// The vip.
    pub vip: String,
    /// The policy.
    pub policy: String,
    /// Its build.
    pub digest: Digest,
    /// What was wrong.
    pub fault: String,
}

impl Crash {
    /// Of a fall that is not of a policy left alone.
    pub(super) fn of(fall: &Fall, occasion: Occasion) -> Self {
        let build = &fall.policy.build;
        let backtrace = match &fall.fault {
            Fault::Trapped { backtrace, .. } => backtrace.clone(),
            _ => Vec::new(),
        };
        let line = CrashLine {
            id: next_id(),
            at: crate::time::rfc3339_now(),
            occasion,
            release: fall.release,
            vip: fall.vip.to_string(),
            policy: build.name.to_string(),
            digest: build.digest,
            fault: fall.fault.to_string(),
        };
        Self {
            line,
            config: build.config.clone(),
            pools: build.pools.clone(),
            manifest: fall.policy.manifest.pools.clone(),
            limits: build.limits.clone(),
            backtrace,
            scene: fall.scene.as_deref().cloned(),
            is_cut: fall.scene.as_ref().is_some_and(|scene| scene.request.is_cut),
        }
    }

    /// Keeps it, away from whoever waits. A disk that does not take it costs the bundle, and nothing else.
    pub(super) fn keep(self, store: &Store) {
        let store = store.clone();
        tokio::task::spawn_blocking(move || {
            let id = self.line.id.clone();
            if let Err(error) = store.keep_crash(&id, &self.into_json()) {
                tracing::warn!(crash = id, %error, "a crash bundle was not kept");
            }
        });
    }

    fn into_json(mut self) -> Vec<u8> {
        let mut text_max = TEXT_MAX;
        loop {
            let json = serde_json::to_vec_pretty(&self).expect("a crash is plain data");
            if json.len() <= BYTES_MAX || text_max == 0 {
                return json;
            }
            self.cut(text_max);
            text_max /= 2;
        }
    }

    /// Cuts each text, and each list to as many.
    fn cut(&mut self, max: usize) {
        self.is_cut = true;
        let text = |text: &mut String| text.truncate(text.floor_char_boundary(max));
        let texts = |texts: &mut Vec<String>| {
            texts.truncate(max / 64);
            texts.iter_mut().for_each(text);
        };
        text(&mut self.config);
        text(&mut self.line.fault);
        [&mut self.pools, &mut self.manifest, &mut self.backtrace].into_iter().for_each(texts);
        let Some(scene) = &mut self.scene else { return };
        texts(&mut scene.log);
        scene.loads.truncate(max / 64);
        let request = &mut scene.request;
        [&mut request.path, &mut request.authority, &mut request.method].into_iter().for_each(text);
        request.query.iter_mut().for_each(text);
        if let Some(certificate) = &mut request.certificate {
            text(&mut certificate.subject);
            texts(&mut certificate.names);
        }
        request.fields.truncate(max / 64);
        for field in &mut request.fields {
            text(&mut field.name);
            [&mut field.value, &mut field.base64].into_iter().flatten().for_each(text);
        }
    }
}

/// Sorts by time, also beside those of a process before.
fn next_id() -> String {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let millis = crate::time::wall_nanos() / 1_000_000;
    format!("{millis:014}-{:06}", MADE.fetch_add(1, Ordering::Relaxed) + 1)
}
