//! What the deterministic simulation puts in the place of the machine: randomness from a seed, a disk in memory, calls
//! between replicas in one process, and no threads. Built only with the feature `sim`, and even then idle on every
//! thread that did not call [`enter`]; programs that are shipped do not have it.

mod runtime;
mod server;

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::time::Duration;

pub use crate::disk::memory::{Memory, Room};
pub use crate::network::{Messages, Transport};
pub use runtime::Runtime;
pub use server::Server;

thread_local! {
    static RANDOM: RefCell<Option<SplitMix>> = const { RefCell::new(None) };
    static APPLY_PAUSE_MS: Cell<u64> = const { Cell::new(0) };
}

/// Makes this thread a simulation whose randomness comes from `seed`.
pub fn enter(seed: u64) {
    RANDOM.with_borrow_mut(|random| *random = Some(SplitMix(seed)));
}

/// Whether this thread is a simulation.
pub fn is_active() -> bool {
    RANDOM.with_borrow(Option::is_some)
}

/// The next random number of the simulation on this thread.
pub fn random() -> u64 {
    RANDOM.with_borrow_mut(|random| random.as_mut().map_or(0, SplitMix::next))
}

/// A number within a range; its first one when it is empty.
pub fn random_in(range: Range<u64>) -> u64 {
    range.start + random() % range.end.saturating_sub(range.start).max(1)
}

/// How long applying entries may be put off, at most.
pub fn set_apply_pause_ms(max: u64) {
    APPLY_PAUSE_MS.set(max);
}

/// Lets a replica lag behind what it knows to be committed.
pub(crate) async fn pause_before_apply() {
    let max = APPLY_PAUSE_MS.get();
    if is_active() && max > 0 && random_in(0..4) == 0 {
        tokio::time::sleep(Duration::from_millis(random_in(0..max))).await;
    }
}

/// A small generator whose whole state is the seed.
#[derive(Clone, Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
