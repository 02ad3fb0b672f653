//! How many connections each guest has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Which guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    /// By its address.
    Ip(IpAddr),
    /// By its context identifier.
    Cid(u32),
}

/// Counts connections of guests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peers(Arc<Mutex<HashMap<Peer, usize>>>);

/// One connection of one guest; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    peers: Peers,
    peer: Peer,
}

impl Peers {
    /// A further place for a guest that has fewer than `max`.
    pub(crate) fn take(&self, peer: Peer, max: usize) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(peer).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Place {
            peers: self.clone(),
            peer,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guest_has_its_own_bound_and_nobody_gone_is_remembered() {
        let peers = Peers::default();
        let first = peers.take(Peer::Cid(3), 1).unwrap();
        assert!(peers.take(Peer::Cid(3), 1).is_none());
        let other = peers.take(Peer::Cid(4), 1).unwrap();
        drop(first);
        drop((peers.take(Peer::Cid(3), 1).unwrap(), other));
        assert!(peers.0.lock().unwrap().is_empty());
    }
}
