//! The policy's allocator: it begins in memory that each instance has, and asks the host only for what goes beyond.
//!
//! That of the standard library asks for a page before it gives anything. The host then has to open the page, and to
//! close it when the instance ends: two system calls, and 5 of the 12 us that a fresh instance takes.

#![allow(unsafe_code, reason = "memory is handed to the allocator here, in three places, each with why it may be")]

use core::alloc::Layout;
use core::arch::wasm32::memory_grow;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use talc::base::Talc;
use talc::base::binning::Binning;
use talc::cell::TalcSyncCell;
use talc::source::Source;
use talc::wasm::WasmBinning;

/// More than the policies in `plugins/` need to be configured and to decide. What is not written to takes neither room in
/// the component nor memory of the host.
const FIRST_BYTES: usize = 32 * 1024;

/// WebAssembly's unit of memory.
const PAGE_BYTES: usize = 64 * 1024;

/// The allocator's own part of what it is handed is less than this.
const OVERHEAD_BYTES: usize = 1024;

#[global_allocator]
static ALLOCATOR: TalcSyncCell<Handed, WasmBinning> = TalcSyncCell::new_wasm(Handed::Nothing);

static mut FIRST: [MaybeUninit<u8>; FIRST_BYTES] = [MaybeUninit::uninit(); FIRST_BYTES];

/// What the allocator was handed so far.
#[derive(Clone, Copy, Debug)]
enum Handed {
    Nothing,
    /// [`FIRST`].
    First,
    /// That, and pages of which the last ends here.
    PagesTo(Option<NonNull<u8>>),
}

// SAFETY: nothing here allocates, or reaches the allocator otherwise than by `talc`.
unsafe impl Source for Handed {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        if let Self::Nothing = talc.source {
            // SAFETY: nothing else names the array, and this is done once.
            unsafe { talc.claim((&raw mut FIRST).cast(), FIRST_BYTES) };
            talc.source = Self::First;
            return Ok(());
        }
        let bytes = (layout.size() + layout.align() + OVERHEAD_BYTES).next_multiple_of(PAGE_BYTES);
        let pages_before = memory_grow::<0>(bytes / PAGE_BYTES);
        if pages_before == usize::MAX {
            return Err(());
        }
        let base = (pages_before * PAGE_BYTES) as *mut u8;
        talc.source = Self::PagesTo(match talc.source {
            // Joined to the pages before, so that what is large finds room across both.
            // SAFETY: the host just made these pages, and they begin where the others end.
            Self::PagesTo(Some(end)) if end.as_ptr() == base => {
                Some(unsafe { talc.extend(end, base.wrapping_add(bytes)) })
            }
            // SAFETY: the host just made these pages.
            _ => unsafe { talc.claim(base, bytes) },
        });
        Ok(())
    }
}
