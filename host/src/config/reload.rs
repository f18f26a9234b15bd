//! Reads the configuration file again when it changes: a change like any other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{Config, ConfigError};
use crate::causes::with_causes;
use crate::digest::Digest;
use crate::store::journal::{Door, Seen};
use crate::switch::change::{Change, Desired};
use crate::switch::receipt::Origin;
use crate::switch::standing::CONFIG_FILE;
use crate::switch::{Refusal, Switch};
use crate::watch::Watch;

/// How long the file must be still: editors write in several steps.
const SETTLE: Duration = Duration::from_millis(50);

/// How long to wait for that at most: it may never be still.
const SETTLE_MAX: Duration = Duration::from_millis(500);

/// How often the file is looked at without being told to: events can be lost.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The file, and what it said when it was last read.
pub struct ConfigFile {
    path: PathBuf,
    switch: Arc<Switch>,
    /// What serves was started with it; some of it cannot be changed while running.
    started_with: Config,
    text: Option<Digest>,
    /// When the file was written that was refused for its members' health: touched, it is taken in again.
    sick: Option<SystemTime>,
    desired: Option<Desired>,
}

impl ConfigFile {
    /// The file that the host was started with, and what was last taken in from it.
    pub fn new(started_with: Config, switch: Arc<Switch>, last_read: Option<(Digest, Desired)>) -> Self {
        let (text, desired) = last_read.unzip();
        Self { path: started_with.file.clone(), switch, started_with, text, sick: None, desired }
    }

    /// Remembers that the host started with the file as it is; answers what the journal is told of it.
    pub fn taken_in(&mut self, config: &Config) -> Option<Seen> {
        let text = std::fs::read(&self.path).ok()?;
        let digest = Digest::of(&text);
        self.text = Some(digest);
        self.desired = Some(config.desired.clone());
        Some(seen(digest, &config.desired))
    }

    /// Watches the file for ever. Reads it at once, whether or not it has changed, for whoever asks; told when it is done.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub fn watch(mut self, mut asked: mpsc::Receiver<oneshot::Sender<()>>) -> notify::Result<impl Future<Output = ()>> {
        // The folder: an editor puts a new file in the old one's place, and a watch would stay with the old.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut watch = Watch::folder(folder)?;
        Ok(async move {
            loop {
                self.take_in().await;
                tokio::select! {
                    Some(done) = asked.recv() => {
                        self.take_in_anew().await;
                        let _ = done.send(());
                    }
                    _ = tokio::time::timeout(LOOK_AGAIN, watch.next()) => while watch.try_next().is_some() {}
                }
            }
        })
    }

    /// Somebody asks for it: what was refused before is refused again, and they are told of a file that cannot be read.
    async fn take_in_anew(&mut self) {
        self.text = None;
        if let Err(error) = std::fs::read_to_string(&self.path) {
            let error = ConfigError::Read(self.path.clone(), error);
            self.switch.refuse(&self.origin("read again"), &with_causes(&error));
        }
        self.take_in().await;
    }

    async fn take_in(&mut self) {
        self.settled().await;
        // Before it is read: what is written in between is seen as touched, and read again.
        let written = std::fs::metadata(&self.path).and_then(|file| file.modified()).ok();
        let Ok(text) = std::fs::read_to_string(&self.path) else { return };
        let digest = Digest::of(text.as_bytes());
        let is_touched = self.sick.is_some() && self.sick != written;
        if self.text.replace(digest) == Some(digest) && !is_touched {
            return;
        }
        self.sick = None;
        self.switch.shows(Door::File, CONFIG_FILE, digest);
        let origin = self.origin("changed");
        if let Some(refusal) = self.switch.refused(digest) {
            return self.switch.refuse(&origin, &with_causes(&refusal));
        }
        let config = match Config::parse(&text, &self.path) {
            Ok(config) => config,
            Err(error) => return self.switch.refuse(&origin, &with_causes(&error)),
        };
        if !self.started_with.differs_only_in_release(&config) {
            tracing::warn!(
                file = %self.path.display(),
                "state, policy_folder, workers, requests_max, drain, grace, take_over_timeout, release_header_from, zone, control, dns, journal, access_log, tracing and fail_back are read at start only: restart to change them"
            );
        }
        let seen = seen(digest, &config.desired);
        let change = Change::File { before: self.desired.clone(), now: config.desired.clone() };
        match self.switch.activate(change, &origin, vec![seen]).await {
            Ok(_) => self.desired = Some(config.desired),
            // Not the file's fault: as if it had not been seen.
            Err(refusal) if refusal.is_passing() => self.text = None,
            Err(Refusal::Sick { .. }) => self.sick = written,
            Err(_) => {}
        }
    }

    /// Waits until the file is no longer being written: one that was emptied first says something else until it is whole.
    async fn settled(&self) {
        let latest = Instant::now() + SETTLE_MAX;
        let mut before = None;
        while Instant::now() < latest {
            let Ok(file) = std::fs::metadata(&self.path) else { return };
            let state = (file.len(), file.modified().ok());
            // A time that has not come yet, by a clock that was set back, says nothing.
            let age = state.1.and_then(|written| written.elapsed().ok());
            if age.is_some_and(|age| age >= SETTLE) || before.replace(state) == Some(state) {
                return;
            }
            tokio::time::sleep(SETTLE).await;
        }
    }

    fn origin(&self, what: &str) -> Origin {
        let why = format!("{} {what}", self.path.display());
        Origin::through(Door::File, "configuration file", why)
    }
}

/// What the journal is told of a file that was taken in.
pub fn seen(text: Digest, desired: &Desired) -> Seen {
    let content = serde_json::to_string(&(text, desired)).expect("a configuration is plain data");
    Seen { door: Door::File, name: CONFIG_FILE.into(), content }
}

/// The reverse of [`seen`].
pub fn last_seen(content: &str) -> Option<(Digest, Desired)> {
    serde_json::from_str(content).ok()
}

impl Config {
    /// Whether two configurations differ in nothing but what a release is made of.
    fn differs_only_in_release(&self, other: &Self) -> bool {
        let release_of_other = Self { desired: self.desired.clone(), ..other.clone() };
        *self == release_of_other
    }
}
