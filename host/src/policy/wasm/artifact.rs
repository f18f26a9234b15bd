//! A compiled policy, linked: what instances are made from.

use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, Resource, ResourceType};

use super::Engine;
use super::contract::{self, BriefPolicy, BriefPolicyPre, Decision, Guest, PolicyPre, Route};
use crate::proxy::head::Head;

/// Native code of one policy, type-checked against the contract.
#[derive(Clone)]
pub struct Artifact {
    world: World,
}

/// Which of the contract's worlds it is of.
#[derive(Clone)]
enum World {
    Policy(PolicyPre<Guest>),
    Brief(BriefPolicyPre<Guest>),
}

/// Why compiled code is not a policy.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It was compiled by another engine, or the file is damaged.
    #[error("the compiled code cannot be loaded: {0}")]
    NotLoadable(String),
    /// It wants an import we do not grant.
    #[error("imports `{0}`, which policies may not use")]
    ImportNotGranted(String),
    /// It does not export what the world asks for, or with other types.
    #[error("is not of world `switchback:policy/policy@0.1.0`: {0}")]
    WrongWorld(String),
}

impl Artifact {
    /// Takes in code that this host's own compiler wrote.
    ///
    /// # Errors
    /// When the code is of another engine, or what it imports and exports is not the contract.
    pub fn load(engine: &Engine, code: &[u8]) -> Result<Self, LinkError> {
        // The one audited place: deserialising runs whatever native code it is given. `code` comes from our own child
        // process, or from the compiled cache, which only we write and whose checksum was compared when it was read.
        #[allow(unsafe_code, reason = "there is no safe way to load compiled code")]
        let component = unsafe { Component::deserialize(engine.inner(), code) };
        let component = component.map_err(|error| LinkError::NotLoadable(format!("{error:#}")))?;

        let mut linker = Linker::new(engine.inner());
        contract::link(&mut linker).expect("the contract's own names do not collide");
        let imports: Vec<String> = component
            .component_type()
            .imports(engine.inner())
            // The world names some of the contract's types at its top; a type is no capability.
            .filter(|(_, import)| !matches!(import.ty, ComponentItem::Type(_) | ComponentItem::Resource(_)))
            .map(|(name, _)| name.to_owned())
            .collect();
        if let Some(import) =
            imports.iter().find(|name| !name.starts_with("switchback:policy/") && !name.starts_with("wasi:"))
        {
            return Err(LinkError::ImportNotGranted(import.clone()));
        }
        // Of WASI only what an empty world needs is linked. A guest that calls the rest (sockets, say) traps there.
        if imports.iter().any(|name| name.starts_with("wasi:")) {
            // The world's own `request` is not unknown, only linked elsewhere; it must not become another type here.
            let request = ResourceType::host::<Head>();
            linker.root().resource("request", request, |_, _| Ok(())).expect("the root is empty so far");
            linker
                .define_unknown_imports_as_traps(&component)
                .map_err(|error| LinkError::WrongWorld(format!("{error:#}")))?;
        }
        let pre = linker.instantiate_pre(&component).map_err(|error| LinkError::WrongWorld(format!("{error:#}")))?;
        let world = match component.get_export_index(None, "decide-briefly") {
            Some(_) => BriefPolicyPre::new(pre).map(World::Brief),
            None => PolicyPre::new(pre).map(World::Policy),
        };
        Ok(Self { world: world.map_err(|error| LinkError::WrongWorld(format!("{error:#}")))? })
    }

    pub(super) fn engine(&self) -> &wasmtime::Engine {
        match &self.world {
            World::Policy(pre) => pre.engine(),
            World::Brief(pre) => pre.engine(),
        }
    }

    pub(super) fn instantiate(&self, store: &mut Store<Guest>) -> wasmtime::Result<Exports> {
        match &self.world {
            World::Policy(pre) => pre.instantiate(store).map(Exports::Policy),
            World::Brief(pre) => pre.instantiate(store).map(Exports::Brief),
        }
    }
}

/// What one instance exports.
pub(super) enum Exports {
    Policy(contract::Policy),
    Brief(BriefPolicy),
}

impl Exports {
    pub(super) fn configure(
        &self,
        store: &mut Store<Guest>,
        config: &str,
        pools: &[String],
    ) -> wasmtime::Result<Result<contract::Manifest, String>> {
        match self {
            Self::Policy(exports) => exports.call_configure(store, config, pools),
            Self::Brief(exports) => exports.call_configure(store, config, pools),
        }
    }

    /// Decides on the request that the store's guest holds.
    pub(super) fn decide(&self, store: &mut Store<Guest>) -> wasmtime::Result<Decision> {
        let exports = match self {
            Self::Policy(exports) => return exports.call_decide(store, Resource::new_borrow(0)),
            Self::Brief(exports) => exports,
        };
        let guest = store.data();
        let [first, second] = guest.expected.of(guest.asked());
        let pool = exports.call_decide_briefly(&mut *store, first, second)?;
        let told = &mut store.data_mut().told;
        Ok(told.answer.take().unwrap_or_else(|| {
            Decision::Route(Route {
                pool,
                affinity: None,
                set_request_headers: Vec::new(),
                remove_request_headers: Vec::new(),
                add_response_headers: Vec::new(),
                reason: told.reason.take(),
            })
        }))
    }
}
