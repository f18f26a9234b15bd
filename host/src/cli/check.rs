//! `switchback check`

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;

use super::Place;
use crate::causes::with_causes;
use crate::config::Config;
use crate::policy::compile::Compiler;
use crate::policy::intake::folder::policy_name;
use crate::policy::stage::stage;
use crate::policy::validate::{Candidate, validate};
use crate::policy::wasm::Engine;
use crate::proxy::descriptors::Descriptors;
use crate::proxy::member::Members;
use crate::release::{Ground, Release};
use crate::store::Store;
use crate::switch::change::Change;
use crate::telemetry::Counts;

/// Check the configuration and the policies in its folder, without starting anything
///
/// Does with each what `run` would do, up to the probe requests, in a temporary state folder.
///
/// Example: switchback --config new.toml check
#[derive(Args)]
pub(super) struct Check {}

impl Check {
    #[allow(clippy::unused_self, reason = "all commands are called alike")]
    pub(super) fn run(self, place: &Place) -> anyhow::Result<()> {
        let config = Config::read(&place.config)?;
        super::run::runtime()?.block_on(check(&config, place.json))
    }
}

async fn check(config: &Config, json: bool) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let engine = Engine::new(1).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    engine.tick();
    let compiler = Compiler::new(engine, super::run::own_program()?, Store::open(scratch.path())?);

    let pools: Vec<String> = config.desired.pools.keys().cloned().collect();
    let mut policies = BTreeMap::new();
    let mut builds = Vec::new();
    let mut wrong = Vec::new();
    for (name, bytes) in policy_files(config)? {
        let candidate = Candidate { name: name.clone(), bytes: bytes.into() };
        let settings = config.desired.policies.get(&name).cloned().unwrap_or_default();
        let staged = async {
            let compiled = compiler.compile(validate(candidate).map_err(|error| with_causes(&error))?).await;
            let compiled = compiled.map_err(|error| with_causes(&error))?;
            stage(&compiled, &settings.config, &pools, &settings.limits).map_err(|error| with_causes(&error))
        };
        match staged.await {
            Ok(policy) => {
                builds.push((name.clone(), policy.build.digest));
                policies.insert(name.as_str().into(), Arc::new(policy));
            }
            Err(error) => wrong.push(format!("policy `{name}` {error}")),
        }
    }
    let described: Vec<_> = policies
        .values()
        .map(|policy| serde_json::json!({
            "name": &*policy.build.name, "digest": policy.build.digest, "description": policy.manifest.description, "pools": policy.manifest.pools,
        }))
        .collect();
    let ground = Ground {
        workers: 1,
        members: Members::default(),
        certificates: Arc::default(),
        counts: Counts::new(1),
        descriptors: Arc::new(Descriptors::of_process(1)),
        requests_max: 1,
        last_request: std::time::Duration::ZERO,
    };
    let release = Change::First { file: config.desired.clone(), builds }.apply(crate::spec::Spec::default());
    let release = release.and_then(|spec| Ok(Release::new(1, spec.into(), policies, &BTreeMap::new(), &ground)?));
    wrong.extend(release.err().map(|error| with_causes(&error)));

    if json {
        say!("{}", serde_json::json!({ "ok": wrong.is_empty(), "wrong": wrong, "policies": described }));
    } else {
        for policy in &described {
            say!(
                "policy {} ({:.12}): {}",
                policy["name"].as_str().unwrap_or_default(),
                policy["digest"].as_str().unwrap_or_default(),
                policy["description"].as_str().unwrap_or_default()
            );
        }
        if wrong.is_empty() {
            say!(
                "{}: ok, {} vips, {} pools",
                config.file.display(),
                config.desired.vips.len(),
                config.desired.pools.len()
            );
        }
    }
    match wrong.split_first() {
        None => Ok(()),
        Some((first, [])) => anyhow::bail!("{first}"),
        Some(_) => anyhow::bail!("{}", wrong.join("\nerror: ")),
    }
}

fn policy_files(config: &Config) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let Ok(entries) = std::fs::read_dir(&config.policy_folder) else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if let Some(name) = policy_name(&path).filter(|_| path.is_file()) {
            files.push((name.to_owned(), std::fs::read(&path)?));
        }
    }
    files.sort();
    Ok(files)
}
