//! Who may come in: bounds on connections and their rate, for all clients together and for each.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::config::Limits;
use crate::metrics::Refused;
use crate::socket::Peer;

/// Clients that are remembered at a time, so that a flood from many addresses takes no more memory than this.
const CLIENTS_MAX: usize = 1 << 18;
const SHARDS: usize = 16;

/// Whom connections are counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    V4(u32),
    /// The first 64 bits: a host owns all addresses below them.
    V6(u64),
    Vsock(u32),
}

impl From<Peer> for Client {
    fn from(peer: Peer) -> Self {
        match peer {
            Peer::Vsock(cid) => Self::Vsock(cid),
            Peer::Ip(at) => match at.ip().to_canonical() {
                IpAddr::V4(ip) => Self::V4(ip.to_bits()),
                IpAddr::V6(ip) => Self::V6((ip.to_bits() >> 64) as u64),
            },
        }
    }
}

impl Client {
    /// The same number on every proxy and after every restart.
    pub(crate) fn key(&self) -> u64 {
        let (kind, value) = match self {
            Self::V4(v) => (1, u64::from(*v)),
            Self::V6(v) => (2, *v),
            Self::Vsock(v) => (3, u64::from(*v)),
        };
        mixed(value ^ mixed(kind))
    }
}

/// The finaliser of SplitMix64: every bit of the input moves every bit of the output. Not a hash against adversaries.
pub(crate) fn mixed(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[derive(Debug, Default)]
struct Row {
    open: u32,
    /// When the next connection would be on time (GCRA), in nanoseconds after the start.
    next_ns: u64,
}

/// Counts connections. One for all workers.
#[derive(Debug)]
pub(crate) struct Admission {
    start: Instant,
    open: AtomicUsize,
    next_ns: AtomicU64,
    hasher: RandomState,
    shards: [Mutex<HashMap<Client, Row>>; SHARDS],
}

/// A place among the connections, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    of: Arc<Admission>,
    client: Option<Client>,
}

impl Admission {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            open: AtomicUsize::new(0),
            next_ns: AtomicU64::new(0),
            hasher: RandomState::new(),
            shards: Default::default(),
        })
    }

    /// A place among all connections.
    pub(crate) fn enter(self: &Arc<Self>, limits: &Limits) -> Result<Place, Refused> {
        let one_more = |open: usize| (open < limits.connections_max).then_some(open + 1);
        if self
            .open
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more)
            .is_err()
        {
            return Err(Refused::Connections);
        }
        let place = Place {
            of: self.clone(),
            client: None,
        };
        let now = self.now_ns();
        let on_time = |next: u64| gcra(next, now, limits.connections_per_s);
        match self.next_ns.fetch_update(Ordering::AcqRel, Ordering::Acquire, on_time) {
            Ok(_) => Ok(place),
            Err(_) => Err(Refused::Rate),
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn shard(&self, client: &Client) -> Option<&Mutex<HashMap<Client, Row>>> {
        self.shards.get(self.hasher.hash_one(client) as usize % SHARDS)
    }
}

impl Place {
    /// A place among this client's connections as well.
    pub(crate) fn enter_as(&mut self, client: Client, limits: &Limits) -> Result<(), Refused> {
        let Some(shard) = self.of.shard(&client) else {
            return Err(Refused::Clients);
        };
        let now = self.of.now_ns();
        let mut rows = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.len() >= CLIENTS_MAX / SHARDS && !rows.contains_key(&client) {
            rows.retain(|_, row| row.open > 0 || row.next_ns > now);
            if rows.len() >= CLIENTS_MAX / SHARDS {
                return Err(Refused::Clients);
            }
        }
        let row = rows.entry(client).or_default();
        if row.open >= limits.client_connections_max {
            return Err(Refused::ClientConnections);
        }
        row.next_ns = gcra(row.next_ns, now, limits.client_connections_per_s).ok_or(Refused::ClientRate)?;
        row.open += 1;
        self.client = Some(client);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(client) = self.client
            && let Some(shard) = self.of.shard(&client)
        {
            let now = self.of.now_ns();
            let mut rows = shard.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(row) = rows.get_mut(&client) {
                row.open = row.open.saturating_sub(1);
                if row.open == 0 && row.next_ns <= now {
                    rows.remove(&client);
                }
            }
        }
        self.of.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The generic cell rate algorithm: `per_s` in a second, all of them at once after a quiet second.
fn gcra(next: u64, now: u64, per_s: u32) -> Option<u64> {
    const SECOND: u64 = 1_000_000_000;
    let step = SECOND / u64::from(per_s.max(1));
    let next = next.max(now);
    (next - now <= SECOND - step).then_some(next + step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn limits() -> Limits {
        let long = Duration::from_secs(60);
        Limits {
            connections_max: 3,
            connections_per_s: 1_000_000,
            client_connections_max: 2,
            client_connections_per_s: 1_000_000,
            first_bytes: long,
            idle: long,
            stall: long,
            half_closed: long,
        }
    }

    fn client(text: &str) -> Client {
        Client::from(Peer::Ip(format!("{text}:1").parse().unwrap()))
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network_of_64_bits() {
        assert_eq!(client("[2001:db8:0:1::1]"), client("[2001:db8:0:1:ffff::2]"));
        assert_ne!(client("[2001:db8:0:1::1]"), client("[2001:db8:0:2::1]"));
        assert_eq!(client("192.0.2.1"), client("[::ffff:192.0.2.1]"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
    }

    #[test]
    fn the_last_place_is_given_and_none_after_it() {
        let all = Admission::new();
        let mut kept: Vec<_> = (0..3).map(|_| all.enter(&limits()).unwrap()).collect();
        assert_eq!(all.enter(&limits()).unwrap_err(), Refused::Connections);
        kept.pop();
        kept.push(all.enter(&limits()).unwrap());
        assert_eq!(all.open.load(Ordering::Acquire), 3);
        let (one, other) = (client("192.0.2.1"), client("192.0.2.2"));
        assert!(kept[0].enter_as(one, &limits()).is_ok() && kept[1].enter_as(one, &limits()).is_ok());
        assert_eq!(
            kept[2].enter_as(one, &limits()).unwrap_err(),
            Refused::ClientConnections
        );
        assert!(kept[2].enter_as(other, &limits()).is_ok(), "another client has its own");
    }

    #[test]
    fn a_rate_allows_one_second_s_worth_at_once_and_then_one_per_step() {
        let mut next = 0;
        for _ in 0..10 {
            next = gcra(next, 5_000_000_000, 10).expect("within the burst");
        }
        assert_eq!(gcra(next, 5_000_000_000, 10), None, "the eleventh");
        assert_eq!(gcra(next, 5_099_999_999, 10), None, "just before a tenth has passed");
        assert!(gcra(next, 5_100_000_000, 10).is_some());
    }

    #[test]
    fn a_client_that_is_gone_and_quiet_takes_no_row() {
        let all = Admission::new();
        let mut place = all.enter(&limits()).unwrap();
        place.enter_as(client("192.0.2.1"), &limits()).unwrap();
        let rows = || all.shards.iter().map(|s| s.lock().unwrap().len()).sum::<usize>();
        assert_eq!(rows(), 1);
        std::thread::sleep(Duration::from_millis(1));
        drop(place);
        assert_eq!((rows(), all.open.load(Ordering::Acquire)), (0, 0));
    }
}
