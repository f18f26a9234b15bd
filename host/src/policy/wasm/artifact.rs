//! A compiled policy, linked: what instances are made from.

use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceType};

use super::Engine;
use super::contract::{self, Guest, PolicyPre};
use crate::proxy::head::Head;

/// Native code of one policy, type-checked against the contract.
#[derive(Clone)]
pub struct Artifact {
    pre: PolicyPre<Guest>,
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
        let pre = PolicyPre::new(pre).map_err(|error| LinkError::WrongWorld(format!("{error:#}")))?;
        Ok(Self { pre })
    }

    pub(super) fn engine(&self) -> &wasmtime::Engine {
        self.pre.engine()
    }

    pub(super) fn instantiate(&self, store: &mut Store<Guest>) -> wasmtime::Result<contract::Policy> {
        self.pre.instantiate(store)
    }
}
