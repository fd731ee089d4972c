//! The process's source of randomness, made predictable: hash maps and the runtime's choice among ready branches draw
//! from it, and a run is to be the same each time.

#![allow(unsafe_code)] // The system's own function is replaced, which has this signature.

use std::sync::atomic::{AtomicU64, Ordering};

static STATE: AtomicU64 = AtomicU64::new(0x006d_6573_6f6e);

/// Stands in front of the C library's function of this name, in this test program only.
///
/// # Safety
/// As for the C function: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    // SAFETY: the caller promises that the buffer has this length.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
    for byte in bytes {
        let state = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        *byte = (mixed >> 56) as u8;
    }
    length as isize
}
