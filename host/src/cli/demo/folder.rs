//! The demo's folder: its configuration, policies to try, the policy folder and the state folder.
//!
//! ```text
//! switchback         our own program, so that `./switchback back` in this folder means this host
//! switchback.toml    the configuration
//! policies/          the policy folder
//! samples/           policies to copy there
//! state/             the state folder
//! ```

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use switchback_plugins as plugins;
use tempfile::TempDir;

use super::members::Deployment;

/// The demo's only vip, and the policy that decides for it.
pub(super) const VIP: &str = "shop";

/// A file in `samples/`.
pub(super) struct Sample {
    /// What it is called.
    pub(super) file: &'static str,
    bytes: &'static [u8],
}

/// Sends a fifth of the clients to green.
pub(super) const CANARY: Sample = Sample { file: "canary.wasm", bytes: plugins::CANARY };

/// Panics after a few decisions.
pub(super) const TRAP: Sample = Sample { file: "trap.wasm", bytes: plugins::faulty::TRAP };

/// Is no policy.
pub(super) const GARBAGE: Sample = Sample { file: "garbage.wasm", bytes: plugins::faulty::GARBAGE };

/// The folder. Removed when it is dropped, whatever happened.
pub(super) struct Folder(TempDir);

impl Folder {
    /// Makes it, with samples in it.
    pub(super) fn make() -> anyhow::Result<Self> {
        let root = tempfile::Builder::new().prefix("switchback-demo-").tempdir();
        let folder = Self(root.context("cannot make a temporary folder")?);
        for inner in ["policies", "samples"] {
            fs::create_dir(folder.path().join(inner))?;
        }
        for Sample { file, bytes } in [CANARY, TRAP, GARBAGE] {
            fs::write(folder.path().join("samples").join(file), bytes)?;
        }
        // Next to `switchback.toml`, which is where commands look unless told otherwise.
        std::os::unix::fs::symlink(std::env::current_exe()?, folder.path().join("switchback"))?;
        Ok(folder)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The configuration file.
    pub(super) fn config(&self) -> PathBuf {
        self.path().join("switchback.toml")
    }

    /// The state folder.
    pub(super) fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// Writes the configuration file.
    pub(super) fn write_config(
        &self,
        proxy: SocketAddr,
        control: SocketAddr,
        deployments: &[Deployment],
    ) -> anyhow::Result<()> {
        let pools = deployments
            .iter()
            .map(|Deployment { pool, members, .. }| {
                let members: Vec<_> = members.iter().map(|member| format!("\"{member}\"")).collect();
                format!("\n[pools.{pool}]\nmembers = [{}]\n", members.join(", "))
            })
            .collect::<String>();
        let text = format!(
            r#"# What `switchback demo` runs with. The host reads it again when it changes.
state = "state"
policy_folder = "policies"
# Short: nobody wants to wait for the end of a demo.
drain = "3s"

[control]
listen = "{control}"

# Decided by policies/{VIP}.wasm; until there is one, everybody is sent to the fallback pool.
[vips.{VIP}]
listen = "{proxy}"
policy = "{VIP}"
fallback = "blue"

# What the policy is told: with samples/canary.wasm, the share of clients that are sent to green.
[policies.{VIP}]
config = {{ percent = 20 }}
{pools}"#
        );
        fs::write(self.config(), text).context("cannot write the configuration")
    }

    /// Does what [`copy_command`] says: copies a sample into the policy folder.
    pub(super) fn drop_in(&self, sample: &Sample) -> std::io::Result<()> {
        let policy = self.path().join("policies").join(VIP).with_extension("wasm");
        fs::copy(self.path().join("samples").join(sample.file), policy).map(drop)
    }

    /// Removes it, and says where it cannot.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        let path = self.path().to_owned();
        self.0.close().with_context(|| format!("cannot remove {}", path.display()))
    }
}

/// How a person in the folder makes a sample the vip's policy.
pub(super) fn copy_command(sample: &Sample) -> String {
    format!("cp samples/{} policies/{VIP}.wasm", sample.file)
}
