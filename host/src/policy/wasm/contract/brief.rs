//! The contract's interface `brief`: lookups and answers that cross without an allocation on either side.
//!
//! A list that is returned to a guest costs a second call into it, for the room; what is returned here is written into
//! the room that the guest has made. Names are read where they lie in the guest's memory.

use std::borrow::Cow;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType, WasmStr, bindgen};

use self::switchback::policy::brief::{Attribute, Short};
use super::Guest;
use crate::proxy::head::Head;

bindgen!({
    path: "../wit",
    world: "brief-policy",
    with: {
        "switchback:policy/types": crate::policy::wasm::contract::switchback::policy::types,
        "switchback:policy/host": crate::policy::wasm::contract::switchback::policy::host,
    },
});

/// Bytes of a value that is returned at once: a UUID and some more.
const SHORT_BYTES_MAX: usize = 40;

/// Bytes of a name whose value is expected: the host keeps it for as long as the instance is there.
const EXPECTED_NAME_BYTES_MAX: usize = 256;

/// Links the interface by hand: what is generated would copy every name into a `String`.
pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut brief = linker.instance("switchback:policy/brief@0.1.0")?;
    // The same type under another name, said again: what is left unsaid becomes a type of its own where WASI is imported.
    brief.resource("request", ResourceType::host::<Head>(), |_, _| Ok(()))?;
    brief.func_wrap("expect", |mut store: StoreContextMut<'_, Guest>, (attribute, name): (Attribute, WasmStr)| {
        let name = name.to_str(&store)?.into();
        store.data_mut().expected.add(attribute, name)
    })?;
    brief.func_wrap("look-up", |store: StoreContextMut<'_, Guest>, (attribute, name): (Attribute, WasmStr)| {
        let Some(head) = &store.data().head else { return Err(not_deciding()) };
        Ok((look_up(head, attribute, &name.to_str(&store)?),))
    })?;
    brief.func_wrap("whole-request", |mut store: StoreContextMut<'_, Guest>, (): ()| {
        let guest = store.data_mut();
        if guest.head.is_none() {
            return Err(not_deciding());
        }
        // Each handle takes room in a table of the host's, for as long as the guest keeps it.
        if std::mem::replace(&mut guest.told.whole_request, true) {
            return Err(wasmtime::Error::msg("asked for the whole request twice"));
        }
        Ok((Resource::<Head>::new_own(0),))
    })?;
    brief.func_wrap("because", |mut store: StoreContextMut<'_, Guest>, (reason,): (String,)| {
        store.data_mut().told.reason = Some(reason);
        Ok(())
    })?;
    brief.func_wrap("answer", |mut store: StoreContextMut<'_, Guest>, (answer,): (Decision,)| {
        store.data_mut().told.answer = Some(answer);
        Ok(())
    })
}

/// Lookups whose answers come with the call, in their order.
#[derive(Default)]
pub(in crate::policy::wasm) struct Expected([Option<(Attribute, Box<str>)>; 2]);

impl Expected {
    fn add(&mut self, attribute: Attribute, name: Box<str>) -> wasmtime::Result<()> {
        if name.len() > EXPECTED_NAME_BYTES_MAX {
            return Err(wasmtime::Error::msg("expects a name of more than 256 bytes"));
        }
        let Some(free) = self.0.iter_mut().find(|place| place.is_none()) else {
            return Err(wasmtime::Error::msg("expects a third lookup"));
        };
        *free = Some((attribute, name));
        Ok(())
    }

    /// What they find in this request.
    pub(in crate::policy::wasm) fn of(&self, head: &Head) -> [Found; 2] {
        self.0.each_ref().map(|place| match place {
            Some((attribute, name)) => look_up(head, *attribute, name),
            None => Found::None,
        })
    }
}

fn look_up(head: &Head, attribute: Attribute, name: &str) -> Found {
    match attribute {
        Attribute::Header => found(head.header(name)),
        Attribute::Cookie => found(head.cookie(name)),
        Attribute::QueryParameter => found(head.query_parameter(name).as_deref().map(str::as_bytes)),
        Attribute::Method => found(Some(head.method().as_bytes())),
        Attribute::Scheme => found(Some(head.origin_scheme().as_str().as_bytes())),
        Attribute::Authority => found(Some(head.authority().as_bytes())),
        Attribute::Path => found(Some(head.path().as_bytes())),
        Attribute::Query => found(head.query().map(str::as_bytes)),
        Attribute::ClientAddress => found(Some(client_address(head).as_bytes())),
        Attribute::Version => found(Some(head.version().as_bytes())),
        Attribute::Vip => found(Some(head.vip().as_bytes())),
    }
}

/// The client's address as text.
pub(super) fn client_address(head: &Head) -> Cow<'static, str> {
    head.client().map_or(Cow::Borrowed("unknown"), |address| Cow::Owned(address.to_string()))
}

fn not_deciding() -> wasmtime::Error {
    wasmtime::Error::msg("asked about a request while none is decided")
}

fn found(value: Option<&[u8]>) -> Found {
    let Some(value) = value else { return Found::None };
    let mut bytes = [0; SHORT_BYTES_MAX];
    let Some(room) = bytes.get_mut(..value.len()) else { return Found::Long };
    room.copy_from_slice(value);
    let (words, _) = bytes.as_chunks::<8>();
    let word = |at: usize| u64::from_le_bytes(words[at]);
    Found::Short(Short {
        length: u32::try_from(value.len()).expect("it is at most 40"),
        words: (word(0), word(1), word(2), word(3), word(4)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_value_is_eight_bytes_in_each_word_and_zeros() {
        let Found::Short(short) = found(Some(b"\x01\x02345678\xff")) else { panic!("nine bytes are short") };
        assert_eq!((short.length, short.words), (9, (0x3837_3635_3433_0201, 0xff, 0, 0, 0)));
    }

    #[test]
    fn what_is_longer_than_forty_bytes_is_only_said_to_be_there() {
        assert!(matches!(found(None), Found::None));
        assert!(matches!(found(Some(b"")), Found::Short(Short { length: 0, words: (0, 0, 0, 0, 0) })));
        assert!(matches!(found(Some(&[7; 40])), Found::Short(Short { length: 40, .. })));
        assert!(matches!(found(Some(&[7; 41])), Found::Long));
    }
}
