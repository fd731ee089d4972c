//! What happens to frames on their way from one host to another. Each direction has rules of its own.

use std::collections::HashMap;
use std::sync::RwLock;
use std::time::Duration;

use super::Port;

/// One direction between two hosts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// Nothing comes through while this is not 0: how many faults cut it at the same time.
    pub cuts: u32,
    /// How long every frame is held back.
    pub delay: Duration,
    /// Up to how much longer, drawn anew for each frame. Frames of a link keep their order.
    pub jitter: Duration,
    /// How many of a thousand frames are lost.
    pub loss_in_thousand: u32,
}

/// The rules of all links; those that are not named let everything through at once.
#[derive(Debug, Default)]
pub struct Rules {
    links: RwLock<HashMap<(Port, Port), Link>>,
}

impl Rules {
    /// Changes the rules from one host to another; faults of different kinds on one link add up.
    pub fn change(&self, from: Port, to: Port, change: impl FnOnce(&mut Link)) {
        let mut links = self.links.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let link = links.entry((from, to)).or_default();
        change(link);
        if *link == Link::default() {
            links.remove(&(from, to));
        }
    }

    /// Everything comes through again.
    pub fn heal(&self) {
        self.links.write().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }

    /// The rules from one host to another.
    pub fn link(&self, from: Port, to: Port) -> Link {
        let links = self.links.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        links.get(&(from, to)).copied().unwrap_or_default()
    }
}
