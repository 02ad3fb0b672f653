//! Who is connected: bounded in all and per peer, and strangers give way to guests.
//!
//! When every place is taken, the connection that has been open longest without showing an attested session is closed
//! for the new one. Whoever holds connections open to keep others out loses them, and guests keep theirs.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;

use crate::rate::Peer;

/// What is known of one open connection.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    attested: AtomicBool,
    gives_way: Notify,
}

impl Standing {
    /// An attested session was used on it.
    pub(crate) fn prove(&self) {
        self.attested.store(true, Relaxed);
    }

    /// Ready when the place is needed by another.
    pub(crate) async fn gives_way(&self) {
        self.gives_way.notified().await;
    }
}

/// All open connections.
pub(crate) struct Connections {
    most: usize,
    most_per_peer: usize,
    gauge: Gauge,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    /// In the order in which they were opened.
    by_age: BTreeMap<u64, (Peer, Arc<Standing>)>,
    by_peer: HashMap<Peer, usize>,
}

/// A place, given back when dropped.
pub(crate) struct Place {
    of: Arc<Connections>,
    number: u64,
    pub(crate) standing: Arc<Standing>,
}

impl Connections {
    /// `gauge` shows how many there are.
    pub(crate) fn new(most: usize, most_per_peer: usize, gauge: Gauge) -> Arc<Self> {
        Arc::new(Self {
            most,
            most_per_peer,
            gauge,
            open: Mutex::default(),
        })
    }

    /// A place for a new connection; `None` if its peer has all of its own, or all places are with guests.
    pub(crate) fn take(self: &Arc<Self>, peer: Peer) -> Option<Place> {
        let mut open = self.lock();
        if open.by_peer.get(&peer).is_some_and(|n| *n >= self.most_per_peer) {
            return None;
        }
        if open.by_age.len() >= self.most {
            let oldest = open.by_age.iter().find(|(_, (_, s))| !s.attested.load(Relaxed));
            let (number, standing) = oldest.map(|(n, (_, standing))| (*n, Arc::clone(standing)))?;
            open.remove(number);
            standing.gives_way.notify_one();
        }
        let number = open.next;
        open.next += 1;
        let standing = Arc::new(Standing::default());
        open.by_age.insert(number, (peer, Arc::clone(&standing)));
        *open.by_peer.entry(peer).or_default() += 1;
        self.show(&open);
        Some(Place {
            of: Arc::clone(self),
            number,
            standing,
        })
    }

    fn show(&self, open: &Open) {
        self.gauge.set(i64::try_from(open.by_age.len()).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Once: a connection that gave way is gone already when its place is dropped.
    fn remove(&mut self, number: u64) {
        let Some((peer, _)) = self.by_age.remove(&number) else {
            return;
        };
        if let Some(n) = self.by_peer.get_mut(&peer) {
            *n = n.saturating_sub(1);
            if *n == 0 {
                self.by_peer.remove(&peer);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.of.lock();
        open.remove(self.number);
        self.of.show(&open);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn peer(last: u8) -> Peer {
        Peer::of(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn one_peer_cannot_take_every_place() {
        let all = Connections::new(4, 2, Gauge::default());
        let first = [all.take(peer(1)), all.take(peer(1))];
        assert!(first.iter().all(Option::is_some));
        assert!(all.take(peer(1)).is_none());
        assert!(all.take(peer(2)).is_some());
        drop(first);
        assert_eq!(all.gauge.get(), 0);
        assert!(all.take(peer(1)).is_some());
    }

    #[tokio::test]
    async fn strangers_give_way_and_guests_do_not() {
        let all = Connections::new(2, 2, Gauge::default());
        let guest = all.take(peer(1)).unwrap();
        guest.standing.prove();
        let stranger = all.take(peer(2)).unwrap();
        let newcomer = all.take(peer(3)).unwrap();
        stranger.standing.gives_way().await;
        assert_eq!(all.gauge.get(), 2);
        newcomer.standing.prove();
        assert!(all.take(peer(4)).is_none(), "guests alone are there");
        drop(stranger);
        assert_eq!(all.gauge.get(), 2, "a place is given back once");
        drop((guest, newcomer));
        assert!(all.lock().by_peer.is_empty());
    }
}
